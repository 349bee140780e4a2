import { atOnce } from './attempt.ts'
import { HubError } from './errors.ts'
import { type Fault, nameOf } from './guarded-codec.ts'
import { checkValue, json, object, shown, text } from './options.ts'
import type { Backlog, DeliveryPolicy, PolicyDescription } from './policy.ts'

/** What a policy says of itself, read once: a getter that throws must not do so in the middle of a tick. */
export interface Terms {
  readonly name: string
  readonly backlog: Backlog
  readonly measure: 'queue' | 'wire'
  readonly confirm: boolean
  readonly stepwise: boolean
  readonly fresh: boolean
}

const NOTHING: Backlog = { kind: 'none' }

const known = new WeakMap<DeliveryPolicy, Terms>()

/** Of a policy that throws: keeps nothing, and a fault is told. */
export function termsOf(policy: DeliveryPolicy, fault: Fault): Terms {
  const read = known.get(policy)
  if (read !== undefined) return read
  try {
    const { name, backlog, measure = 'queue', confirm = false, stepwise = false, fresh = false } = policy
    const terms = { name, backlog, measure, confirm, stepwise, fresh }
    known.set(policy, terms)
    return terms
  } catch (error) {
    const name = nameOf(policy)
    fault(`policy '${name}'`, error)
    return { name, backlog: NOTHING, measure: 'queue', confirm: false, stepwise: false, fresh: false }
  }
}

/** Throws POLICY_INVALID where `describe` throws, or answers no object with a name, or one that is no JSON. */
export function descriptionOf(policy: DeliveryPolicy): PolicyDescription {
  try {
    const description = atOnce(policy.describe(), 'describe')
    checkValue(description, object, 'description')
    checkValue(description.name, text, 'description.name')
    checkValue(description, json, 'description')
    return description
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : shown(cause)
    throw new HubError('POLICY_INVALID', `policy: '${nameOf(policy)}' cannot be described: ${why}`, { cause })
  }
}

/** The policies that each hub has reported, by its `fault`. */
const reported = new WeakMap<Fault, WeakSet<DeliveryPolicy>>()

/** For people to read. A policy that throws has only its name, and each hub reports it once as a fault. */
export function described(policy: DeliveryPolicy, fault: Fault): PolicyDescription {
  try {
    return descriptionOf(policy)
  } catch (error) {
    const name = nameOf(policy)
    const known = reported.get(fault) ?? new WeakSet()
    if (!known.has(policy)) fault(`policy '${name}'`, error)
    reported.set(fault, known.add(policy))
    return { name }
  }
}
