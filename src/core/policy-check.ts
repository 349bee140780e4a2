import { HubError } from './errors.ts'
import { having, number, oneOf, type Rule, shown } from './options.ts'
import type { DeliveryPolicy } from './policy.ts'

const amount = number(0, Number.POSITIVE_INFINITY)
const LOG = { messages: amount, bytes: amount, overflow: oneOf('drop-oldest', 'drop-newest', 'close') }
const methods = having('a policy', 'open', 'admit', 'describe')

/** Throws POLICY_INVALID where a value is no policy, and says how to make one. Calls nothing of it. */
export function checkPolicy(policy: unknown, field = 'policy'): asserts policy is DeliveryPolicy {
  let fault: string | undefined
  try {
    fault = faultOf(policy)
  } catch (cause) {
    throw new HubError('POLICY_INVALID', `${field} cannot be read: its getter throws`, { cause })
  }
  if (fault !== undefined) throw new HubError('POLICY_INVALID', `${field} must be a delivery policy, got ${fault}`)
}

/** Of an option that is a policy. */
export const policyRule: Rule = (value, field) => void checkPolicy(value, field)

function faultOf(policy: unknown): string | undefined {
  if (typeof policy === 'function') {
    const name = typeof policy.name === 'string' && policy.name !== '' ? policy.name : 'latest'
    return `a function: call it, as in ${name}()`
  }
  if (typeof policy === 'string')
    return `the name ${shown(policy)}: call its function, as in latest(), or give parsePolicy(name)`
  if (typeof policy !== 'object' || policy === null) return `${shown(policy)}: give one, such as latest()`
  if (methods(policy, '') === undefined) return partFault(policy as DeliveryPolicy)
  const { name } = policy as { readonly name?: unknown }
  if (typeof name === 'string') return `a description of ${shown(name)}: give parsePolicy(description)`
  return 'an object without open(), admit() and describe(): give one, such as latest()'
}

function partFault({ name, backlog, wake }: DeliveryPolicy): string | undefined {
  if (typeof name !== 'string') return `one whose name is ${shown(name)}: it must be a string`
  if (wake !== undefined && typeof wake !== 'function') return `one whose wake is ${shown(wake)}: it must be a function`
  const kinds: readonly unknown[] = ['none', 'newest', 'log']
  if (!kinds.includes(backlog?.kind)) return 'one whose backlog.kind is none of "none", "newest", "log"'
  if (backlog.kind !== 'log') return undefined
  for (const [part, rule] of Object.entries(LOG)) {
    const value = backlog[part as keyof typeof LOG]
    const wanted = rule(value, part)
    if (wanted !== undefined) return `one whose backlog.${part} is ${shown(value)}: it must be ${wanted}`
  }
  return undefined
}
