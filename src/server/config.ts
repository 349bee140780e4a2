import { readFileSync } from 'node:fs'
import { isIPv4 } from 'node:net'
import type { z } from 'zod'
import { parseYaml, type YAMLParseError } from '../bundled/yaml.ts'
import { HubError } from '../core/errors.ts'
import { shown } from '../core/options.ts'
import { parsePattern } from '../core/patterns.ts'
import { WHOLE_FIELDS } from './config/topics.ts'
import { configSchema, holdsSecret } from './config-schema.ts'
import { readEnvironment } from './environment.ts'
import { kindOf, sentence, UNKNOWN, wording, worst } from './issue-words.ts'

export type Config = z.infer<typeof configSchema>

export interface ConfigSources {
  /** JSON or YAML. Default: the one that HUBLINE_CONFIG names, if any. */
  readonly file?: string | undefined
  readonly env: Readonly<Record<string, string | undefined>>
  /** A command's own, in place of the schema's. */
  readonly defaults?: Readonly<Record<string, unknown>>
  /** Undefined values say nothing. */
  readonly flags: Readonly<Record<string, unknown>>
}

/** What one source says, unmerged. */
export interface Layer {
  /** Whose it is: `config hubline.yaml`, `environment`, `options`, `defaults`. */
  readonly from: string
  readonly values: Values
}

/** Flags win over the environment, it over the file, it over the defaults. Throws CONFIG_INVALID, BIND_REFUSED. */
export function loadConfig(sources: ConfigSources): Config {
  return mergeLayers(readLayers(sources))
}

/** Each source, checked by itself; the first is the one that all others win over. Throws CONFIG_INVALID. */
export function readLayers({ file, env, flags, defaults = {} }: ConfigSources): Layer[] {
  const path = file ?? (env.HUBLINE_CONFIG || undefined)
  const said = Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined))
  return [
    { from: 'defaults', values: defaults },
    ...(path === undefined ? [] : [{ from: `config ${path}`, values: check(readFile(path), `config ${path}`) }]),
    { from: 'environment', values: check(readEnvironment(env, configSchema), 'environment') },
    { from: 'options', values: check(said, 'options') },
  ]
}

/** Throws CONFIG_INVALID, BIND_REFUSED. */
export function mergeLayers(layers: readonly Layer[]): Config {
  const config = parse(
    layers.reduce<Values>((under, { values }) => merge(under, values), {}),
    'config',
  )
  // Two layers may say the same name in two forms.
  checkTopics(config, 'config')
  if (!config.insecure) checkGuarded(config)
  for (const [name, tenant] of Object.entries(config.tenants)) {
    if (tenant.maxMessageBytes !== undefined && tenant.maxMessageBytes > config.maxMessageBytes) {
      const most = `${config.maxMessageBytes}, the server's own, got ${tenant.maxMessageBytes}`
      throw new HubError('CONFIG_INVALID', `config: tenants.${name}.maxMessageBytes must be at most ${most}`)
    }
    if (!config.insecure) checkGuarded({ ...config, sessions: tenant.sessions }, `tenants.${name}.`)
  }
  return config
}

/** On an address that others can reach, clients need a login and operators need a key. */
function checkGuarded({ host, admin, sessions: { mode, apiKeys } }: Config, within = ''): void {
  const keys = Object.values(apiKeys).some(({ scopes }) => scopes.includes('admin'))
  const needsLogin = !isLoopback(host) && mode === 'open'
  // With a listener of its own the API is nowhere else.
  const [setting, where] = admin.port === undefined ? ['host', host] : ['admin.host', admin.host]
  const needsKeys = !isLoopback(where) && !keys
  if (!needsLogin && !needsKeys) return
  const missing = [
    ...(needsLogin ? [`clients need no login: set ${within}sessions.mode`] : []),
    ...(needsKeys ? [`the API has no key: set ${within}sessions.apiKeys, with one of the scope admin`] : []),
  ]
  const open = needsLogin ? `host: ${host}` : `${setting}: ${where}`
  throw new HubError(
    'BIND_REFUSED',
    `${open} is open to others, and ${missing.join('; ')}; or listen on 127.0.0.1, or accept that with --insecure`,
  )
}

/** Looks at addresses, not at how a name begins: 127.example.org is the name of another machine. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'))
}

function readFile(path: string): unknown {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new HubError('CONFIG_INVALID', `config ${path}: cannot be read (${code})`)
  }
  try {
    // YAML is a superset of JSON, and knows where a mistake is.
    return parseYaml(text, { logLevel: 'error' }) ?? {}
  } catch (error) {
    const [where] = (error as YAMLParseError).linePos ?? []
    const place = where ? `:${where.line}:${where.col}` : ''
    const [what = ''] = (error as Error).message.split('\n')
    throw new HubError('CONFIG_INVALID', `config ${path}${place}: ${what.replace(/ at line \d+, column \d+:?$/, '')}`)
  }
}

/** One source alone, so that a mistake is told with the name of where it is. */
function check(value: unknown, where: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new HubError('CONFIG_INVALID', `${where}: settings must be an object, got ${shown(value)}`)
  }
  const { topics } = value as { topics?: object | null }
  // It has the form of a topic's name, but zod cannot see a key of this name, and merging would lose it.
  if (topics && Object.hasOwn(topics, '__proto__')) {
    throw new HubError('CONFIG_INVALID', `${where}: topics: "__proto__" cannot have settings of its own`)
  }
  checkTopics(parse(value, where), where)
  return value as Record<string, unknown>
}

function parse(value: unknown, where: string): Config {
  const error = (issue: z.core.$ZodRawIssue) => wording(issue, isSecret(issue.path ?? []) ? kindOf : shown)
  const result = configSchema.safeParse(value, { error })
  if (result.success) return result.data
  throw new HubError('CONFIG_INVALID', `${where}: ${describe(result.error.issues, value)}`)
}

function describe(issues: readonly z.core.$ZodIssue[], value: unknown): string {
  const { path, message } = worst(issues)
  const told = sentence(path.map(String).join('.'), message, 'settings')
  const given = path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key], value)
  // Messages that a schema has of its own say nothing of the value.
  const isOver = message.startsWith('must ') || message.startsWith(UNKNOWN) || message.includes(shown(given))
  return isOver || isSecret(path) || given === undefined || typeof given === 'object'
    ? told
    : `${told} (given: ${shown(given)})`
}

function isSecret(path: readonly PropertyKey[]): boolean {
  return holdsSecret(path.map(String).join('.'))
}

/** The names in `topics` are names or patterns, and each is there once. */
function checkTopics({ topics, tenants }: Config, where: string): void {
  checkNames(Object.keys(topics), `${where}: topics`)
  for (const [name, tenant] of Object.entries(tenants)) {
    checkNames(Object.keys(tenant.topics), `${where}: tenants.${name}.topics`)
  }
}

function checkNames(names: readonly string[], where: string): void {
  const seen = new Map<string, string>()
  for (const name of names) {
    const pattern = parseName(name, where)
    const twin = seen.get(pattern)
    if (twin !== undefined) throw new HubError('CONFIG_INVALID', `${where}: "${twin}" and "${name}" are the same`)
    seen.set(pattern, name)
  }
}

function parseName(name: string, where: string): string {
  try {
    return parsePattern(name)
  } catch (error) {
    throw new HubError('CONFIG_INVALID', `${where}: ${(error as Error).message.replace(/^topic: /, '')}`)
  }
}

type Values = Readonly<Record<string, unknown>>

function merge(under: Values, over: Values, path: readonly string[] = []): Values {
  const merged: Record<string, unknown> = { ...under }
  for (const [key, value] of Object.entries(over)) {
    const below = merged[key]
    const at = [...path, key]
    merged[key] = isRecord(value) && isRecord(below) && !isWhole(at) ? merge(below, value, at) : value
  }
  return merged
}

/** Is what stands there one value, though it is an object? */
function isWhole(path: readonly string[]): boolean {
  return path[0] === 'topics' ? path.length === 3 && WHOLE_FIELDS.includes(path[2]!) : path.at(-1) === 'policy'
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
