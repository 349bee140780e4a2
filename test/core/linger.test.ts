import { describe, expect, it } from 'vitest'
import { createHub } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { dropSlow } from '../../src/policies/drop-slow.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'

const LINGER_MS = 25

function setUp() {
  const scheduler = new ManualScheduler()
  const lingering = { lingerMs: LINGER_MS, maxMessageBytes: 1024 * 1024 }
  const hub = createHub({ scheduler, topics: openTopics({}, { radio: lingering, other: lingering }) })
  const connection = new FakeConnection()
  connection.client = hub.registerClient('one', connection)
  for (const topic of ['radio', 'other', 'prompt']) hub.subscribe('one', topic)
  const publish = (topic: string, bytes = 1) => hub.routeData(topic, new Uint8Array(bytes))
  return { scheduler, hub, connection, publish }
}

describe('a topic that lets its messages linger', () => {
  it('gathers for as long as it says, from the first message on, and writes once', () => {
    const { scheduler, connection, publish } = setUp()
    publish('radio')
    scheduler.advance(LINGER_MS - 1)
    publish('radio')
    expect(connection.received).toEqual([])
    scheduler.advance(1)
    expect(connection.seqs('radio')).toEqual([1, 2])
    expect(connection.writes).toBe(1)
  })

  it('begins anew with the next message: none waits longer', () => {
    const { scheduler, connection, publish } = setUp()
    publish('radio')
    scheduler.advance(LINGER_MS + 10)
    publish('radio')
    scheduler.advance(LINGER_MS - 1)
    expect(connection.seqs('radio')).toEqual([1])
    scheduler.advance(1)
    expect(connection.seqs('radio')).toEqual([1, 2])
  })

  it('holds up no other topic, and two that are due together share a write', () => {
    const { scheduler, connection, publish } = setUp()
    publish('radio')
    publish('other')
    publish('prompt')
    scheduler.settle()
    expect(connection.received.map(each => each.kind === 'message' && each.topic)).toEqual(['prompt'])
    scheduler.sweepOnly(LINGER_MS + 1)
    scheduler.settle()
    expect(connection.seqs('radio')).toEqual([1])
    expect(connection.seqs('other')).toEqual([1])
    expect(connection.writes).toBe(2)
  })

  it('goes at once when a lot of bytes has gathered, so that memory stays bounded', () => {
    const { scheduler, connection, publish } = setUp()
    publish('radio', 200 * 1024)
    scheduler.settle()
    expect(connection.received).toEqual([])
    publish('radio', 100 * 1024)
    expect(connection.seqs('radio')).toEqual([1, 2])
    // What ended it early has left no timer: the next message has its whole time.
    publish('radio')
    scheduler.advance(LINGER_MS - 1)
    expect(connection.seqs('radio')).toEqual([1, 2])
  })

  it('a newcomer does not get what was published before it came, and a leaver does (I2)', () => {
    const { scheduler, hub, connection, publish } = setUp()
    publish('radio')
    const late = new FakeConnection()
    late.client = hub.registerClient('late', late)
    hub.subscribe('late', 'radio')
    publish('radio')
    hub.unsubscribe('one', 'radio')
    scheduler.advance(LINGER_MS)
    expect(connection.seqs('radio')).toEqual([1, 2])
    expect(late.seqs('radio')).toEqual([2])
  })

  it('the close of the hub waits for nothing and loses nothing', async () => {
    const { hub, connection, publish, scheduler } = setUp()
    publish('radio')
    await hub.close()
    expect(connection.seqs('radio')).toEqual([1])
    expect(scheduler.timers).toBe(0)
  })

  it('time in which the topic keeps a message waiting is not the client’s', () => {
    const scheduler = new ManualScheduler()
    const topics = openTopics({
      lingerMs: 100,
      policy: dropSlow({ timeoutMs: 250, floorRate: Number.POSITIVE_INFINITY }),
    })
    const hub = createHub({ scheduler, topics })
    const connection = new FakeConnection({ window: 10 })
    connection.client = hub.registerClient('slow', connection)
    hub.subscribe('slow', 'radio')
    const publish = () => hub.routeData('radio', new Uint8Array(1))
    publish()
    scheduler.advance(101)
    // Routed now, due in 100 ms, and written when the client has read the one before.
    publish()
    scheduler.advance(239)
    connection.read(Number.POSITIVE_INFINITY)
    scheduler.settle()
    expect(connection.writes).toBe(2)
    scheduler.advance(100)
    expect(connection.closedFor).toBeUndefined()
    scheduler.advance(100)
    expect(connection.closedFor).toBe('slow')
  })

  it('what was sealed early waits from then on, and not from a time that is still to come', () => {
    const { scheduler, hub, publish } = setUp()
    const full = new FakeConnection({ window: 0 })
    full.client = hub.registerClient('full', full)
    hub.subscribe('full', 'radio')
    publish('radio')
    hub.registerClient('late', new FakeConnection())
    hub.subscribe('late', 'radio')
    scheduler.settle()
    expect(hub.getClient('full')).toMatchObject({ writable: false, waitedMs: 0 })
    scheduler.advance(10)
    expect(hub.getClient('full').waitedMs).toBe(10)
  })
})
