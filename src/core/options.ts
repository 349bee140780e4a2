import { closest, distance } from 'fastest-levenshtein'
import { type ErrorCode, HubError } from './errors.ts'

/**
 * Says what a value must be, as the words behind "must be"; undefined: it is that. `field` is for rules that throw an
 * error of their own.
 */
export interface Rule {
  (value: unknown, field: string): string | undefined
  /** The values that the rule accepts, as a JSON Schema. Absent: any. */
  readonly schema?: JsonSchema
}

type JsonSchema = Readonly<Record<string, unknown>>
type Value = Readonly<Record<string, unknown>> | null | undefined

/** One rule for each option that there is. */
export type Rules<T> = { readonly [Name in keyof Required<T>]: Rule }

/** The longest timer, in ms: a longer one of Node's would fire at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1
/** Of a limit of things that are kept: a Map of Node's cannot have twice as many. */
export const MAX_ENTRIES = 10_000_000
/** How much of a value an error repeats, in characters. */
const MAX_SHOWN = 60

/**
 * Checks the options of one call. Returns a plain copy of the options that are given, so nothing is read twice. `where`
 * is what the sentence about an unknown key begins with; where it ends with a dot or a colon and a space, every field
 * begins with it as well. Throws a HubError of this code for an unknown key, with the nearest known one or all of them,
 * for a value that breaks its rule, and for one of `needed` that is not there.
 */
export function readOptions<T extends object>(
  given: T,
  rules: Rules<T>,
  where: string,
  code: ErrorCode = 'REQUEST_INVALID',
  needed: readonly (keyof T & string)[] = [],
): T {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new HubError(code, `${placeOf(where)}: options must be an object, got ${shown(given)}`)
  }
  const keys = Object.keys(given)
  for (const key of keys) {
    if (Object.hasOwn(rules, key)) continue
    throw new HubError(code, `${placeOf(where)}: ${unknownOption(key, Object.keys(rules))}`)
  }
  const prefix = where.endsWith('.') || where.endsWith(': ') ? where : ''
  const read: Record<string, unknown> = {}
  // An object of a class may have options in its prototype.
  const isPlain = Object.getPrototypeOf(given) === Object.prototype
  for (const key of isPlain ? keys : Object.keys(rules)) {
    const value = fieldOf(given, key, prefix + key, code)
    if (value === undefined) continue
    checkValue(value, rules[key as keyof T], prefix + key, code)
    read[key] = value
  }
  for (const key of needed) if (read[key] === undefined) checkValue(undefined, rules[key], prefix + key, code)
  return read as T
}

function placeOf(where: string): string {
  return where.replace(/[.: ]+$/, '')
}

/** Throws a HubError of this code where a value breaks its rule. */
export function checkValue(value: unknown, rule: Rule, field: string, code: ErrorCode = 'REQUEST_INVALID'): void {
  let wanted: string | undefined
  try {
    wanted = rule(value, field)
  } catch (error) {
    if (value instanceof Promise) value.catch(() => {})
    throw error instanceof HubError ? error : unreadable(field, code, error)
  }
  if (wanted === undefined) return
  const choices = rule.schema?.enum as readonly string[] | undefined
  const near = typeof value === 'string' && choices ? nearest(value, choices) : undefined
  const hint = near === undefined ? '' : `; did you mean "${near}"?`
  throw new HubError(code, `${field} must be ${wanted}, got ${shown(value)}${hint}`)
}

/** The sentence about an unknown key. */
export function unknownOption(key: string, known: readonly string[]): string {
  return `unknown option ${quoted(key)}: ${known.length === 0 ? 'it takes none' : suggestion(key, known)}`
}

/** What stands behind an unknown name: the known one that it may be, or all of them. */
export function suggestion(typed: string, known: readonly string[]): string {
  const near = nearest(typed, known)
  return near === undefined ? `known names: ${known.join(', ')}` : `did you mean "${near}"?`
}

/** The known name that is nearest to the one given. Undefined: more than half of it would have to change. */
export function nearest(typed: string, known: readonly string[]): string | undefined {
  const start = typed.slice(0, MAX_SHOWN)
  const near = closest(start, [...known])
  return 2 * distance(start, near) > Math.max(start.length, near.length) ? undefined : near
}

/** One field of an object. Its getter may be the caller's and throw: then a HubError of this code. */
export function fieldOf(given: object, key: string, field: string, code: ErrorCode): unknown {
  try {
    return (given as Record<string, unknown>)[key]
  } catch (error) {
    throw unreadable(field, code, error)
  }
}

function unreadable(field: string, code: ErrorCode, cause: unknown): HubError {
  return new HubError(code, `${field} cannot be read: its getter throws`, { cause })
}

/** A value as an error repeats it. Calls nothing of the value's own. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return quoted(value)
  if (typeof value === 'function' || typeof value === 'symbol') return `a ${typeof value}`
  if (typeof value !== 'object' || value === null) return String(value)
  if (!(value instanceof Promise)) return Array.isArray(value) ? 'an array' : 'an object'
  // Nothing else reads a promise that is refused: its rejection would end the process.
  value.catch(() => {})
  return 'a promise'
}

function quoted(text: string): string {
  return JSON.stringify(text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}...` : text)
}

// ---- rules

/** A rule with its JSON Schema. */
export function withSchema(schema: JsonSchema | undefined, rule: Rule): Rule {
  return Object.assign(rule, { schema })
}

export const anything: Rule = () => undefined
export const text: Rule = value => (typeof value === 'string' ? undefined : 'a string')
export const flag: Rule = value => (typeof value === 'boolean' ? undefined : 'true or false')
export const callable: Rule = value => (typeof value === 'function' ? undefined : 'a function')

/** An object of named values: no list, no Map, no promise. */
export const object: Rule = value =>
  typeof value !== 'object' || value === null || Symbol.iterator in value || 'then' in value ? 'an object' : undefined

/** What `JSON.stringify` writes: readers of the HTTP API get it as JSON. */
export const json: Rule = value => {
  try {
    return JSON.stringify(value) === undefined ? JSON_VALUE : undefined
  } catch {
    return JSON_VALUE
  }
}
const JSON_VALUE = 'a value that JSON can express'

export const list: Rule = value => (Array.isArray(value) ? undefined : 'an array')
export const texts: Rule = value =>
  Array.isArray(value) && value.every(each => typeof each === 'string') ? undefined : 'an array of strings'

export function integer(from: number, to: number = Number.MAX_SAFE_INTEGER): Rule {
  const words = range('an integer', from, to)
  return withSchema({ type: 'integer', minimum: from, maximum: to }, value =>
    Number.isSafeInteger(value) && within(value, from, to) ? undefined : words,
  )
}

export function number(from: number, to: number = Number.MAX_VALUE): Rule {
  const words = range('a number', from, to)
  return withSchema({ type: 'number', minimum: from, maximum: to }, value =>
    within(value, from, to) ? undefined : words,
  )
}

/** A number over 0. */
export function positive(to: number = Number.MAX_VALUE): Rule {
  const words = to === Number.MAX_VALUE ? 'a number over 0' : `a number over 0 and at most ${to}`
  return withSchema({ type: 'number', exclusiveMinimum: 0, maximum: to }, value =>
    value !== 0 && within(value, 0, to) ? undefined : words,
  )
}

/** A length of time that a timer can have, in ms. */
export const period = positive(MAX_TIMER_MS)

export function oneOf(...values: readonly string[]): Rule {
  const words = `one of ${values.map(quoted).join(', ')}`
  return withSchema({ enum: values }, value => (values.includes(value as string) ? undefined : words))
}

/** An object with these methods. */
export function having(what: string, ...methods: readonly string[]): Rule {
  const words = `${what} with the methods ${methods.join(', ')}`
  return value => {
    for (const name of methods) if (typeof (value as Value)?.[name] !== 'function') return words
    return undefined
  }
}

function within(value: unknown, from: number, to: number): boolean {
  return typeof value === 'number' && value >= from && value <= to
}

function range(what: string, from: number, to: number): string {
  const isOpen = to === Number.MAX_SAFE_INTEGER || to >= Number.MAX_VALUE
  return isOpen ? `${what} of at least ${from}` : `${what} from ${from} to ${to}`
}

/** An object of options of its own. Throws a HubError of this code. */
export function nested<T extends object>(rules: Rules<T>, code: ErrorCode = 'REQUEST_INVALID'): Rule {
  return (value, field) => void readOptions(value as T, rules, `${field}.`, code)
}
