import { createContext, Script } from 'node:vm'
import type { JsonSchema } from './json-schema.ts'
import type { ValueCheck } from './schema.ts'

/** Longest check of one message against a schema whose cost the message's size does not bound, in ms. */
export const MAX_CHECK_MS = 50
/** So many references without a cycle repeat a part of the message 2^8 times at most. */
const MAX_REFERENCES = 16
/** Most times that one message is checked where the process did not run during the time limit. */
const MAX_TRIES = 3
/** A repetition of any other kind than `{n}`, which may backtrack. */
const REPETITION = /[*+?]|\{\d*,/

/**
 * Can a small message make this schema expensive to check? So can a repetition in a regular expression, uniqueItems,
 * and references that lead back to themselves or repeat each other. The answer may be yes for a schema that is
 * harmless.
 */
export function mayExplode(schema: JsonSchema): boolean {
  const references = new Map<string, unknown>()
  const waiting: unknown[] = [schema]
  let count = 0
  while (waiting.length > 0) {
    const value = waiting.pop()
    if (typeof value !== 'object' || value === null) continue
    const { pattern, patternProperties, uniqueItems, $ref, $dynamicRef, $recursiveRef } = value as Record<
      string,
      unknown
    >
    if (typeof pattern === 'string' && REPETITION.test(pattern)) return true
    if (
      typeof patternProperties === 'object' &&
      Object.keys(patternProperties ?? {}).some(key => REPETITION.test(key))
    ) {
      return true
    }
    if (uniqueItems === true || $dynamicRef !== undefined || $recursiveRef !== undefined) return true
    if (typeof $ref === 'string') {
      count++
      references.set($ref, targetOf($ref, schema))
    }
    for (const each of Object.values(value)) waiting.push(each)
  }
  return count > MAX_REFERENCES || hasCycle(references)
}

/** Does a target contain a reference that leads back to it? A reference that is no JSON pointer counts as one. */
function hasCycle(targets: ReadonlyMap<string, unknown>): boolean {
  const state = new Map<string, 'open' | 'done'>()
  const leadsBack = (reference: string): boolean => {
    if (state.get(reference) === 'open') return true
    if (state.get(reference) === 'done') return false
    const target = targets.get(reference)
    if (target === undefined) return true
    state.set(reference, 'open')
    const cycle = referencesIn(target).some(leadsBack)
    state.set(reference, 'done')
    return cycle
  }
  return [...targets.keys()].some(leadsBack)
}

function referencesIn(schema: unknown): string[] {
  const found: string[] = []
  const waiting: unknown[] = [schema]
  while (waiting.length > 0) {
    const value = waiting.pop()
    if (typeof value !== 'object' || value === null) continue
    const { $ref } = value as Record<string, unknown>
    if (typeof $ref === 'string') found.push($ref)
    for (const each of Object.values(value)) waiting.push(each)
  }
  return found
}

/**
 * Resolves a local JSON pointer (RFC 6901). Undefined for any other reference, and for one that is not valid
 * percent-encoding.
 */
export function targetOf(reference: string, root: JsonSchema): unknown {
  if (reference !== '#' && !reference.startsWith('#/')) return undefined
  const pointer = decoded(reference.slice(1))
  if (pointer === undefined) return undefined
  let target: unknown = root
  for (const token of pointer) {
    const key = token.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof target !== 'object' || target === null || !Object.hasOwn(target, key)) return undefined
    target = (target as Record<string, unknown>)[key]
  }
  return target
}

/** The tokens of a JSON pointer in a URI fragment. */
function decoded(fragment: string): string[] | undefined {
  try {
    return fragment.split('/').slice(1).map(decodeURIComponent)
  } catch {
    return undefined
  }
}

/** One context for all: what runs in it is a call, and nothing of the schema or the message. */
const context = createContext({ check: () => undefined as string | undefined })
const script = new Script('check()')

/**
 * The same check, which rejects a value after MAX_CHECK_MS. Where the process used less than half of that time as CPU
 * time, because it was stopped or the machine was busy, the check begins again, MAX_TRIES times in all. The limit costs
 * about 0.1 ms a call: V8 interrupts a running function, regular expressions included, only from another thread, which
 * Node starts for each call.
 */
export function limitTime(check: ValueCheck): ValueCheck {
  return value => {
    context.check = () => check(value)
    try {
      for (let tries = 1; ; tries++) {
        const before = process.cpuUsage()
        const answer = runCheck()
        if (answer !== TIMED_OUT) return answer
        const { user, system } = process.cpuUsage(before)
        const ranMs = (user + system) / 1000
        if (tries === MAX_TRIES || ranMs > MAX_CHECK_MS / 2) return TOO_LONG
      }
    } finally {
      context.check = () => undefined
    }
  }
}

const TIMED_OUT = Symbol('timed out')
const TOO_LONG = `payload: the check against the schema took longer than ${MAX_CHECK_MS} ms`

function runCheck(): string | undefined | typeof TIMED_OUT {
  try {
    return script.runInContext(context, { timeout: MAX_CHECK_MS }) as string | undefined
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') return TIMED_OUT
    throw error
  }
}
