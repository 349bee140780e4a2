import { describe, expect, it } from 'vitest'
import { HubError } from '../../src/core/errors.ts'
import { Direct } from '../../src/core/parcel.ts'
import type { DeliveryPolicy } from '../../src/core/policy.ts'
import { createHub } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { latest } from '../../src/policies/latest.ts'
import { rateLimit } from '../../src/policies/rate-limit.ts'
import { reliable } from '../../src/policies/reliable.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { expectPositionsAlone } from '../positions-alone.ts'

const SIZE = 1000

/** As a worker's port does that is given the bytes: from now on they have no length here. */
function transfer({ buffer }: Uint8Array): void {
  structuredClone(buffer, { transfer: [buffer as ArrayBuffer] })
}

const noHistory = openTopics({ history: { messages: 0, bytes: 0, ageMs: 0 } })

function setUp(policy?: DeliveryPolicy, topics = openTopics()) {
  const scheduler = new ManualScheduler()
  const hub = createHub({ scheduler, topics, ...(policy && { policy }) })
  return { scheduler, hub, kept: () => hub.getConnectionStats().keptBytes }
}

describe('a payload whose buffer is transferred after it was published', () => {
  it.each<[string, DeliveryPolicy]>([
    ['the log', buffered()],
    ['a list of its own', buffered({ overflow: 'drop-newest' })],
    ['newest values', latest()],
    ['unconfirmed', reliable()],
    ['a list under a rate', rateLimit({ messages: 1 }, latest())],
  ])('is taken off the accounts as it was put on: %s', (_, policy) => {
    const { scheduler, hub, kept } = setUp(policy)
    const stalled = new FakeConnection({ window: 0 })
    stalled.client = hub.registerClient('c', stalled)
    hub.subscribe('c', 't')
    const payloads: Uint8Array[] = []
    for (let i = 0; i < 6; i++) {
      const payload = new Uint8Array(SIZE).fill(120)
      payloads.push(payload)
      hub.routeData('t', payload, { key: `${i % 2}` })
      if (i % 2 === 1) scheduler.settle()
      // Some before the tick has seen them.
      if (i === 2) transfer(payload)
    }
    const before = kept()
    for (const payload of payloads) if (payload.byteLength > 0) transfer(payload)
    expect(payloads.map(({ byteLength }) => byteLength)).toEqual([0, 0, 0, 0, 0, 0])
    expect(kept()).toBe(before)
    hub.routeData('t', new Uint8Array(10), { key: '0' })
    scheduler.settle()
    for (let i = 0; i < 20; i++) {
      stalled.read()
      scheduler.advance(100)
    }
    hub.unregisterClient('c')
    scheduler.advance(120_000)
    expectPositionsAlone(hub)
  })

  it('leaves the bounds of a history and of a backlog as they were', () => {
    const { scheduler, hub } = setUp(buffered({ bytes: 3 * SIZE, overflow: 'drop-oldest' }), noHistory)
    const stalled = new FakeConnection({ window: 0 })
    stalled.client = hub.registerClient('c', stalled)
    hub.subscribe('c', 't')
    for (let i = 0; i < 10; i++) {
      const payload = new Uint8Array(SIZE)
      hub.routeData('t', payload)
      scheduler.settle()
      transfer(payload)
    }
    const { pendingBytes, pending, dropped } = hub.getSubscription('c', 't')!
    expect({ pendingBytes, pending, dropped }).toMatchObject({ pendingBytes: pending * SIZE })
    expect(dropped).toBeGreaterThan(0)
  })

  it('a message to one client as well, cancelled or taken', () => {
    const { scheduler, hub, kept } = setUp()
    const stalled = new FakeConnection({ window: 0 })
    stalled.client = hub.registerClient('c', stalled)
    const posted = Array.from({ length: 3 }, (_, i) => {
      const payload = new Uint8Array(SIZE)
      const direct = new Direct({ id: `${i}`, payload, contentType: 'text/plain', correlationId: undefined })
      const { cancel } = hub.post('c', direct, () => {})
      scheduler.settle()
      transfer(payload)
      return cancel
    })
    posted[1]!(new HubError('SEND_ABORTED', 'x'))
    for (let i = 0; i < 3; i++) {
      stalled.read()
      scheduler.settle()
    }
    expect(kept()).toBe(0)
    expect(hub.getConnectionStats().queuedBytes).toBe(0)
  })

  it('by whoever receives it inside the program', async () => {
    const { scheduler, hub } = setUp()
    const stream = hub.stream('t')
    for (let i = 0; i < 4; i++) hub.routeData('t', new Uint8Array(SIZE))
    scheduler.settle()
    for (let i = 0; i < 4; i++) transfer((await stream.next()).value!.data)
    await stream.return()
    scheduler.advance(120_000)
    expectPositionsAlone(hub)
  })
})
