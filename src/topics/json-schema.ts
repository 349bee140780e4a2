import { createRequire } from 'node:module'
import type { ErrorObject, Options, ValidateFunction } from 'ajv'
import { HubError } from '../core/errors.ts'
import { checkValue } from '../core/options.ts'
import { plainJson } from './json-bounds.ts'
import { placeOf, printable } from './place.ts'
import type { ValueCheck } from './schema.ts'
import { findCircle } from './schema-circle.ts'
import { limitTime, mayExplode } from './schema-time.ts'

export type JsonSchema = boolean | Readonly<Record<string, unknown>>

const DRAFTS = {
  'https://json-schema.org/draft/2020-12/schema': '2020',
  'http://json-schema.org/draft-07/schema': 'ajv',
} as const
const [DEFAULT_DRAFT] = Object.keys(DRAFTS) as [keyof typeof DRAFTS]

const OPTIONS: Options = {
  strictSchema: true,
  strictNumbers: true,
  // These are ajv's own taste: JSON Schemas as people have them must compile.
  strictTypes: false,
  strictTuples: false,
  strictRequired: false,
  allowUnionTypes: true,
  // At the first mistake: a message that has thousands is no dearer than one that has one.
  allErrors: false,
  // `required: [toString]` is about the message, and not about every object's prototype.
  ownProperties: true,
  // Schemas of several topics may have the same `$id`, and go with their rules.
  addUsedSchema: false,
  logger: false,
}

/** Without an id of its own, ajv does not find the root of a schema that it does not keep: `{"$ref": "#"}`. */
const ROOT_ID = 'hubline:schema'

interface Compiler {
  compile(schema: JsonSchema): ValidateFunction
  removeSchema(schema: JsonSchema): unknown
}

const compilers = new Map<string, Compiler>()

/**
 * Nothing is ever fetched: a `$ref` leads to a place of the same schema, or does not compile. Throws REQUEST_INVALID,
 * which says where.
 */
export function compileJsonSchema(schema: JsonSchema): ValueCheck {
  if (typeof schema !== 'boolean' && (typeof schema !== 'object' || schema === null || Array.isArray(schema))) {
    throw new HubError('REQUEST_INVALID', 'schema: it is a JSON Schema, which is an object')
  }
  const circle = findCircle(schema)
  if (circle) {
    const fault = 'the reference leads back to itself without a step into the message'
    throw new HubError('REQUEST_INVALID', `schema: ${placeOf(circle)}: ${fault}`)
  }
  const compiler = compilerOf(typeof schema === 'boolean' ? undefined : schema.$schema)
  const rooted = typeof schema === 'boolean' || schema.$id !== undefined ? schema : { ...schema, $id: ROOT_ID }
  let validate: ValidateFunction
  try {
    validate = compiler.compile(rooted)
  } catch (error) {
    throw new HubError('REQUEST_INVALID', `schema: ${explain(error, schema)}`)
  } finally {
    // Or it would be there for as long as the process.
    if (typeof rooted === 'object') compiler.removeSchema(rooted)
  }
  // ajv takes a Map, and a Date, for an object without properties: a schema that checks nothing.
  checkValue(schema, plainJson, 'schema: it')
  const check: ValueCheck = value => (validate(value) ? undefined : describe(validate.errors![0]!))
  return mayExplode(schema) ? limitTime(check) : check
}

/** ajv is loaded with the first schema: it costs as much to load as all the rest of the hub. */
function compilerOf(draft: unknown = DEFAULT_DRAFT): Compiler {
  const uri = typeof draft === 'string' ? draft.replace(/#$/, '') : ''
  if (!Object.hasOwn(DRAFTS, uri)) {
    const known = Object.keys(DRAFTS).join(' and ')
    throw new HubError('REQUEST_INVALID', `schema: $schema: there are ${known}, not ${printable(String(draft))}`)
  }
  const known = compilers.get(uri)
  if (known) return known
  const require = createRequire(import.meta.url)
  const { default: formats } = require('ajv-formats') as typeof import('ajv-formats')
  const Ajv =
    DRAFTS[uri as keyof typeof DRAFTS] === '2020'
      ? (require('ajv/dist/2020.js') as typeof import('ajv/dist/2020.js')).default
      : (require('ajv') as typeof import('ajv')).default
  const compiler = new Ajv(OPTIONS)
  formats.default(compiler)
  compilers.set(uri, compiler)
  return compiler
}

function describe({ instancePath, message = 'does not fit', params, keyword }: ErrorObject): string {
  const place = instancePath === '' ? 'payload' : printable(instancePath)
  return `${place}: ${printable(message)}${detail(keyword, params)}`
}

/** What ajv's sentence leaves out. */
function detail(keyword: string, params: Record<string, unknown>): string {
  const name = params.additionalProperty ?? params.unevaluatedProperty ?? params.propertyName
  if (name !== undefined) return ` (${printable(JSON.stringify(name))})`
  if (keyword === 'enum') return ` (${printable(JSON.stringify(params.allowedValues))})`
  return keyword === 'const' ? ` (${printable(JSON.stringify(params.allowedValue))})` : ''
}

/** What did not compile, and where. */
function explain(error: unknown, schema: JsonSchema): string {
  const { message } = error as Error
  const [, word] = /^strict mode: unknown keyword: "(.*)"$/s.exec(message) ?? []
  if (word !== undefined) return `${placeOf(pathTo(schema, key => key === word))}: there is no such keyword`
  const [, expression, fault] = /^Invalid regular expression: \/(.*)\/u?: (.*)$/s.exec(message) ?? []
  if (expression !== undefined) {
    const path = pathTo(schema, (key, value) => key === expression || (key === 'pattern' && value === expression))
    return `${placeOf(path)}: ${printable(fault!)}`
  }
  if ('missingRef' in (error as object)) {
    const missing = String((error as { missingRef: unknown }).missingRef).replace(/^hubline:(schema)?/, '')
    return `$ref: ${printable(missing)} is not in the schema, and nothing is fetched`
  }
  if (error instanceof RangeError) return 'it nests too deep'
  return printable(message.replace(/^schema is invalid: data/, '').split(', data')[0]!)
}

/** The first that is meant, breadth first: schemas may nest deeper than the stack. */
function pathTo(schema: unknown, isMeant: (key: string, value: unknown) => boolean): string[] {
  const waiting: { value: unknown; path: string[] }[] = [{ value: schema, path: [] }]
  for (const { value, path } of waiting) {
    if (typeof value !== 'object' || value === null) continue
    for (const [key, inner] of Object.entries(value)) {
      if (isMeant(key, inner)) return [...path, key]
      waiting.push({ value: inner, path: [...path, key] })
    }
  }
  return []
}
