import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DeliveryPolicy, PolicyDescription } from '../../src/core/policy.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { dropSlow } from '../../src/policies/drop-slow.ts'
import { latest } from '../../src/policies/latest.ts'
import { priority } from '../../src/policies/priority.ts'
import { rateLimit } from '../../src/policies/rate-limit.ts'
import { reliable } from '../../src/policies/reliable.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { runs } from '../property-runs.ts'

const FRESH: readonly DeliveryPolicy[] = [
  latest(),
  bestEffort(),
  dropSlow(),
  rateLimit({ messages: 5 }, latest()),
  priority({}, bestEffort()),
]
const CUSHIONED: readonly DeliveryPolicy[] = [
  buffered(),
  reliable(),
  rateLimit({ messages: 5 }, buffered()),
  priority(),
]

function setUp(policy: DeliveryPolicy) {
  const scheduler = new ManualScheduler()
  const hub = createHub({ policy, scheduler })
  const connection = new FakeConnection()
  connection.client = hub.registerClient('c', connection)
  return { hub, scheduler, connection }
}

describe('what a connection’s buffers may take', () => {
  it.each(FRESH.map(policy => [policy.name, policy] as const))('is little under %s', (_, policy) => {
    const { hub, connection } = setUp(policy)
    expect(connection.holdsLittle).toBeUndefined()
    hub.subscribe('c', 't')
    expect(connection.holdsLittle).toBe(true)
  })

  it.each(CUSHIONED.map(policy => [policy.name, policy] as const))('is what they like under %s', (_, policy) => {
    const { hub, connection } = setUp(policy)
    hub.subscribe('c', 't')
    expect(connection.holdsLittle).toBe(false)
  })

  it('is what they like under a policy that does not say that it is fresh', () => {
    const { fresh: _, ...own } = latest()
    const { hub, connection } = setUp({ ...own, name: 'own' })
    hub.subscribe('c', 't')
    expect(connection.holdsLittle).toBe(false)
  })

  it('is what they like while one topic of the client is buffered', () => {
    const { hub, connection } = setUp(latest())
    hub.subscribe('c', 'pictures')
    hub.subscribe('c', 'log', { policy: buffered() })
    expect(connection.holdsLittle).toBe(false)
    hub.unsubscribe('c', 'log')
    expect(connection.holdsLittle).toBe(true)
  })

  it('follows the policy of the client, of the topic and of the subscription while they change', () => {
    const { hub, connection } = setUp(buffered())
    hub.subscribe('c', 't')
    hub.setDeliveryPolicy('t', latest())
    expect(connection.holdsLittle).toBe(true)
    hub.setClientPolicy('c', reliable())
    expect(connection.holdsLittle).toBe(false)
    hub.setClientPolicy('c', null)
    expect(connection.holdsLittle).toBe(true)
    hub.subscribe('c', 't', { policy: buffered() })
    expect(connection.holdsLittle).toBe(false)
    hub.subscribe('c', 't', { policy: dropSlow() })
    expect(connection.holdsLittle).toBe(true)
    hub.setDeliveryPolicy('t', buffered())
    expect(connection.holdsLittle).toBe(true)
  })

  it('follows a policy that changes while messages wait', async () => {
    const { hub, scheduler } = setUp(latest())
    const slow = new FakeConnection({ window: 10 })
    slow.client = hub.registerClient('slow', slow)
    hub.subscribe('slow', 't')
    for (let i = 0; i < 3; i++) {
      hub.routeData('t', new Uint8Array(20))
      scheduler.advance(1)
    }
    hub.setDeliveryPolicy('t', buffered())
    expect(slow.holdsLittle).toBe(false)
    hub.setDeliveryPolicy('t', latest())
    expect(slow.holdsLittle).toBe(true)
  })

  it('is the affair of a connection that throws alone', () => {
    const { hub, scheduler, connection } = setUp(latest())
    const faults: unknown[] = []
    hub.events.on('fault', fault => faults.push(fault))
    const broken = Object.assign(new FakeConnection(), {
      holdLittle() {
        throw new Error('no such option')
      },
    })
    broken.client = hub.registerClient('broken', broken)
    hub.subscribe('broken', 't')
    hub.subscribe('c', 't')
    hub.routeData('t', new Uint8Array(3))
    scheduler.advance(1)
    expect(faults).toMatchObject([{ where: 'holdLittle of fake', error: { message: 'no such option' } }])
    expect([broken.received.length, connection.received.length]).toEqual([1, 1])
  })

  it('is little if, and only if, all links are fresh, whatever happened before', () => {
    const policy = fc.constantFrom(...FRESH, ...CUSHIONED)
    const topic = fc.constantFrom('a', 'b', 'c/d')
    const pattern = fc.constantFrom('**', 'c/*')
    const steps = fc.oneof(
      fc.tuple(topic, fc.option(policy)).map(
        ([name, wish]): Step =>
          hub => {
            hub.subscribe('c', name, wish ? { policy: wish } : {})
          },
      ),
      topic.map(
        (name): Step =>
          hub =>
            hub.unsubscribe('c', name),
      ),
      fc.tuple(topic, fc.option(policy)).map(
        ([name, next]): Step =>
          hub =>
            hub.setDeliveryPolicy(name, next),
      ),
      fc.option(policy).map(
        (next): Step =>
          hub =>
            hub.setClientPolicy('c', next),
      ),
      fc.tuple(pattern, policy).map(
        ([name, wish]): Step =>
          hub => {
            hub.subscribePattern('c', name, { policy: wish })
          },
      ),
      pattern.map(
        (name): Step =>
          hub =>
            hub.unsubscribePattern('c', name),
      ),
      topic.map(
        (name): Step =>
          hub =>
            hub.routeData(name, new Uint8Array(1)),
      ),
    )
    fc.assert(
      fc.property(policy, fc.array(steps, { maxLength: 30 }), (first, all) => {
        const { hub, scheduler, connection } = setUp(first)
        for (const step of all) {
          step(hub)
          scheduler.advance(1)
          const kinds = hub.getClient('c').subscriptions.map(link => kindOf(link.policy))
          const expected = kinds.length > 0 && kinds.every(kind => FRESH_KINDS.includes(kind))
          expect(connection.holdsLittle ?? false, kinds.join()).toBe(expected)
        }
      }),
      runs(300),
    )
  })
})

type Step = (hub: Hub) => unknown

const FRESH_KINDS = ['latest', 'best-effort', 'drop-slow']

function kindOf({ name, inner }: PolicyDescription): string {
  return typeof inner === 'object' ? (inner as PolicyDescription).name : name
}
