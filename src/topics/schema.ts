import { callable, checkValue, fieldOf } from '../core/options.ts'
import type { TopicSpec } from '../core/topics.ts'
import { decodeUtf8, isJson } from '../wire/content-type.ts'
import { MAX_JSON_DEPTH, parseJson } from '../wire/json.ts'
import { compileJsonSchema, type JsonSchema } from './json-schema.ts'
import { placeOf, printable } from './place.ts'

/** What zod, valibot, arktype and others have in common (standardschema.dev), as far as it is used here. */
export interface StandardSchema {
  readonly '~standard': {
    readonly validate: (value: unknown) => StandardResult | Promise<StandardResult>
  }
}

interface StandardResult {
  readonly issues?: readonly StandardIssue[] | undefined
}

interface StandardIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

export type TopicSchema = JsonSchema | StandardSchema

/** What is wrong with a value: `/items/0/price: must be number`. */
export type ValueCheck = (value: unknown) => string | undefined

export function isStandardSchema(schema: TopicSchema): schema is StandardSchema {
  // arktype's are functions.
  return ((typeof schema === 'object' && schema !== null) || typeof schema === 'function') && '~standard' in schema
}

/** Checks payloads by a schema. Throws REQUEST_INVALID where that is none. */
export function checkOf(schema: TopicSchema): NonNullable<TopicSpec['check']> {
  const check = isStandardSchema(schema) ? standardCheck(schema) : compileJsonSchema(schema)
  return (payload, contentType) => {
    if (!isJson(contentType)) return `content-type: messages of this topic are JSON, not ${printable(contentType)}`
    const text = decodeUtf8(payload)
    if (text === null) return 'payload: it is not UTF-8'
    const value = parseJson(text)
    if (value === undefined) return `payload: it is not JSON, or nests deeper than ${MAX_JSON_DEPTH} levels`
    return check(value)
  }
}

function standardCheck(schema: StandardSchema): ValueCheck {
  const field = 'schema: ~standard.validate'
  const standard = fieldOf(schema, '~standard', field, 'REQUEST_INVALID')
  checkValue((standard as StandardSchema['~standard'] | undefined | null)?.validate, callable, field)
  return value => {
    const result = schema['~standard'].validate(value)
    if (result instanceof Promise) {
      // Nothing waits for it, and an unhandled rejection would end the process.
      result.catch(() => undefined)
      throw new TypeError('the schema of a topic must answer at once, and this one answers with a promise')
    }
    const [issue] = result.issues ?? []
    if (issue === undefined) return undefined
    const keys = (issue.path ?? []).map(part => (typeof part === 'object' ? part.key : part))
    return `${placeOf(keys)}: ${printable(issue.message)}`
  }
}
