import { closest } from 'fastest-levenshtein'
import { z } from 'zod'
import { HubError } from '../core/errors.ts'
import type { DeliveryPolicy, PolicyDescription } from '../core/policy.ts'
import { bestEffort } from './best-effort.ts'
import { buffered } from './buffered.ts'
import { type DropSlowOptions, dropSlow } from './drop-slow.ts'
import { latest } from './latest.ts'
import { priority } from './priority.ts'
import { rateLimit } from './rate-limit.ts'
import { MAX_ACK_MS, reliable } from './reliable.ts'

const MAX_BYTES = 256 * 1024 * 1024
const bytes = z.int().min(1).max(MAX_BYTES)
const messages = z.int().min(1).max(1_000_000)
const rate = z.number().positive().max(1_000_000_000)

/** Options of each policy, as the API, the config and a subscriber's query give them. */
const SHAPES = {
  'best-effort': z.strictObject({ name: z.literal('best-effort') }),
  latest: z.strictObject({ name: z.literal('latest') }),
  buffered: z.strictObject({
    name: z.literal('buffered'),
    bytes: bytes.optional(),
    messages: messages.optional(),
    overflow: z.enum(['drop-oldest', 'drop-newest', 'close']).optional(),
  }),
  'drop-slow': z.strictObject({
    name: z.literal('drop-slow'),
    timeoutMs: z.int().min(1).max(3_600_000).optional(),
    bytes: bytes.optional(),
    /** none: the strict rule, the timeout whatever the size. */
    floorRate: z.union([z.number().min(1).max(1_000_000_000_000), z.literal('none')]).optional(),
    measure: z.enum(['queue', 'wire']).optional(),
  }),
  reliable: z.strictObject({
    name: z.literal('reliable'),
    window: z.int().min(1).max(100_000).optional(),
    ackMs: z.int().min(100).max(MAX_ACK_MS).optional(),
    tries: z.int().min(0).max(100).optional(),
    giveUp: z.enum(['close', 'skip']).optional(),
    bytes: bytes.optional(),
  }),
  priority: z.strictObject({
    name: z.literal('priority'),
    socketBytes: bytes.optional(),
    inner: z.unknown().optional(),
  }),
  'rate-limit': z
    .strictObject({
      name: z.literal('rate-limit'),
      messages: rate.optional(),
      bytes: rate.optional(),
      burst: z.number().positive().max(3600).optional(),
      inner: z.unknown().optional(),
    })
    .refine(limit => limit.messages !== undefined || limit.bytes !== undefined, {
      path: ['messages'],
      message: 'say how many messages or bytes a second',
    }),
} as const

type PolicyName = keyof typeof SHAPES
export const POLICY_NAMES = Object.keys(SHAPES) as PolicyName[]

/** A policy's description within a larger schema. An issue has the path of the field, as those of the schema around it have. */
export const policySchema = z.custom<string | PolicyDescription>().superRefine((value, context) => {
  try {
    parsePolicy(value)
  } catch (error) {
    const [, place, message] = /^policy(\S*): (.*)$/s.exec((error as Error).message)!
    context.addIssue({ code: 'custom', path: place!.split('.').slice(1), message: message! })
  }
})

/**
 * Makes a policy of its JSON form, the one that `describe()` gives, or of its name alone. Throws POLICY_INVALID with the field, its
 * limit, and the nearest name where one was misspelt.
 */
export function parsePolicy(input: unknown): DeliveryPolicy {
  return parse(typeof input === 'string' ? { name: input } : input, 'policy')
}

function parse(input: unknown, path: string): DeliveryPolicy {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw new HubError('POLICY_INVALID', `${path}: give a name, such as "latest", or an object with a name`)
  }
  const { name } = input as { name?: unknown }
  if (typeof name !== 'string' || !Object.hasOwn(SHAPES, name)) throw unknownName(name, path)
  switch (name as PolicyName) {
    case 'best-effort':
      check('best-effort', input, path)
      return bestEffort()
    case 'latest':
      check('latest', input, path)
      return latest()
    case 'buffered':
      return buffered(defined(check('buffered', input, path)))
    case 'drop-slow':
      return dropSlow(dropSlowOptions(check('drop-slow', input, path)))
    case 'reliable':
      return reliable(defined(check('reliable', input, path)))
    case 'priority': {
      const { inner, name: _, ...limits } = check('priority', input, path)
      return priority(
        defined(limits),
        inner === undefined ? undefined : parse(plain(inner, `${path}.inner`), `${path}.inner`),
      )
    }
    case 'rate-limit': {
      const { inner, name: _, ...limits } = check('rate-limit', input, path)
      return rateLimit(defined(limits), parse(limited(inner, `${path}.inner`), `${path}.inner`))
    }
  }
}

/** JSON has no Infinity. */
function dropSlowOptions({ floorRate, ...options }: z.infer<(typeof SHAPES)['drop-slow']>): DropSlowOptions {
  return defined({ ...options, floorRate: floorRate === 'none' ? Number.POSITIVE_INFINITY : floorRate })
}

/** Refuses a second decorator before it is looked into: what is nested a thousand times must not be walked. */
function limited(inner: unknown, path: string): unknown {
  if (inner === undefined) throw new HubError('POLICY_INVALID', `${path}: say what is limited, such as "latest"`)
  return plain(inner, path)
}

function plain(inner: unknown, path: string): unknown {
  const description = typeof inner === 'string' ? { name: inner } : inner
  const name = (description as { name?: unknown } | null)?.name
  if (name !== 'rate-limit' && name !== 'priority') return description
  throw new HubError('POLICY_INVALID', `${path}: ${name} cannot be inside of another policy`)
}

function check<N extends PolicyName>(name: N, input: object, path: string): z.infer<(typeof SHAPES)[N]> {
  const known = Object.keys(SHAPES[name].shape).filter(key => key !== 'name')
  // zod cannot see an own key of this name, and no policy has one.
  if (Object.hasOwn(input, '__proto__')) throw new HubError('POLICY_INVALID', `${path}: unknown option "__proto__"`)
  const result = SHAPES[name].safeParse(input)
  if (result.success) return result.data as z.infer<(typeof SHAPES)[N]>
  const issue = result.error.issues[0]!
  if (issue.code === 'unrecognized_keys') {
    const [key] = issue.keys as [string]
    const hint = known.length > 0 ? `did you mean "${closest(key, known)}"?` : 'it takes none'
    throw new HubError('POLICY_INVALID', `${path}: ${name} has no option "${key}": ${hint}`)
  }
  throw new HubError('POLICY_INVALID', `${[path, ...issue.path].join('.')}: ${issue.message}`)
}

function unknownName(name: unknown, path: string): HubError {
  const hint =
    typeof name === 'string' && name !== ''
      ? `unknown name ${JSON.stringify(name.slice(0, 60))}: did you mean "${closest(name.slice(0, 60), POLICY_NAMES)}"?`
      : `a name is missing; there are ${POLICY_NAMES.join(', ')}`
  return new HubError('POLICY_INVALID', `${path}: ${hint}`)
}

/** Without the keys that are undefined: `exactOptionalPropertyTypes` tells the two apart. */
function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([key, each]) => key !== 'name' && each !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>
  }
}
