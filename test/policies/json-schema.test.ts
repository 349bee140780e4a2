import Ajv from 'ajv/dist/2020.js'
import { expect, it } from 'vitest'
import { parsePolicy, policyJsonSchema } from '../../src/policies/catalog.ts'

const fits = new Ajv.default().compile(policyJsonSchema())
const isTaken = (policy: unknown): boolean => {
  try {
    parsePolicy(policy as Parameters<typeof parsePolicy>[0])
    return true
  } catch {
    return false
  }
}

it.each([
  [{ name: 'rate-limit', messages: 1, inner: { name: 'latest', v: [] } }, false],
  [{ name: 'priority', inner: { name: 'buffered', bytes: 0 } }, false],
  [{ name: 'priority', inner: { name: 'priority' } }, false],
  [{ name: 'priority', inner: { name: 'buffered', bytes: 1 } }, true],
  [{ name: 'rate-limit', messages: 1, inner: { name: 'drop-slow', floorRate: 'none' } }, true],
  [{ name: 'rate-limit', messages: 1, inner: 'latest' }, true],
])('the published schema of policies says of %j what the parser says: %s', (policy, taken) => {
  expect([fits(policy), isTaken(policy)]).toEqual([taken, taken])
})
