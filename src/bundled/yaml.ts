export { parse as parseYaml, type YAMLParseError } from 'yaml'
