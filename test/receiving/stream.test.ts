import { describe, expect, it, vi } from 'vitest'
import { HubError } from '../../src/core/errors.ts'
import type { Gap } from '../../src/core/message.ts'
import { createHub, type HubOptions } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { latest } from '../../src/policies/latest.ts'
import { reliable } from '../../src/policies/reliable.ts'
import type { ReceivedMessage } from '../../src/receiving/received-message.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'

const DONE = { value: undefined, done: true }

function setUp(options: Omit<HubOptions, 'scheduler'> = {}) {
  const clock = new ManualScheduler()
  const hub = createHub({ scheduler: clock, ...options })
  const fault = vi.fn()
  hub.events.on('fault', fault)
  const publish = (...texts: string[]) => {
    for (const each of texts) hub.routeData('a', Buffer.from(each))
    clock.settle()
  }
  return { hub, clock, fault, publish }
}

const text = ({ value }: IteratorResult<ReceivedMessage, undefined>) => value?.text()

/** All microtasks that are due, and what they cause. */
const microtasks = () => new Promise<void>(resolve => setImmediate(resolve))

describe('hub.stream', () => {
  it('brings what is published after the call, in order, with all that a message has', async () => {
    const { hub, clock } = setUp({ topics: openTopics({ publisher: true }) })
    hub.routeData('a', Buffer.from('before'))
    const stream = hub.stream('/a')
    expect([stream.position?.seq, stream.recovered]).toEqual([1, false])
    hub.routeData('a', Buffer.from('{"n":1}'), {
      ...{ contentType: 'application/json', key: 'k', correlationId: 'c' },
      publisher: { client: 'phone', session: { user: 'ann' } },
    })
    hub.routeData('a', Buffer.of(0xff))
    clock.settle()
    const { value: first } = await stream.next()
    expect(first).toMatchObject({
      ...{ topic: 'a', position: { seq: 2 }, contentType: 'application/json', key: 'k', correlationId: 'c' },
      publisher: { client: 'phone', user: 'ann' },
    })
    expect([first?.text(), first?.json(), Buffer.from(first!.data).toString()]).toEqual([
      '{"n":1}',
      { n: 1 },
      '{"n":1}',
    ])
    expect(Object.isFrozen(first)).toBe(true)
    const { value: second } = await stream.next()
    expect(() => second?.text()).toThrow(expect.objectContaining({ code: 'INVALID_MESSAGE' }))
    expect(() => second?.json()).toThrow(expect.objectContaining({ code: 'INVALID_MESSAGE' }))
  })

  it('waits for what has not come yet, and answers several that wait in their order', async () => {
    const { hub, clock, publish } = setUp()
    const stream = hub.stream('a')
    const waiting = [stream.next(), stream.next(), stream.next()]
    publish('1', '2')
    publish('3')
    await microtasks()
    clock.settle()
    expect((await Promise.all(waiting)).map(text)).toEqual(['1', '2', '3'])
    const first = stream.next()
    await microtasks()
    publish('4', '5')
    // What has come belongs to the one that waits, who has had no turn yet.
    const second = stream.next()
    expect((await Promise.all([first, second])).map(text)).toEqual(['4', '5'])
  })

  it('is a client: in the counters and the limits, but not in presence, nor in a broadcast to a filter', async () => {
    const topics = openTopics({ presence: true })
    const { hub, publish } = setUp({ topics, limits: { maxClients: 2 } })
    const stream = hub.stream('a')
    hub.registerClient('one', new FakeConnection())
    hub.subscribe('one', 'a')
    publish('x')
    expect(hub.getConnectionStats()).toMatchObject({ clients: 2 })
    expect([...hub.getActiveClients()].map(({ protocol }) => protocol)).toEqual(['in-process', 'fake'])
    expect(() => hub.stream('a')).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }))
    expect(hub.presence('a').map(({ client }) => client)).toEqual(['one'])
    expect(hub.presenceStats('a')).toEqual({ clients: 1, users: 0 })
    expect(hub.selectClients({ all: true })).toEqual(['one'])
    await stream.return()
    expect(hub.getConnectionStats()).toMatchObject({ clients: 1, subscriptions: 1 })
  })

  it('takes patterns, and topics that are open to nobody: it is the program itself', async () => {
    const { hub, publish } = setUp({ topics: openTopics({ subscribe: 'nobody' }) })
    const byPattern = hub.stream('**')
    const byName = hub.stream('a')
    expect([byPattern.position, byName.position]).toEqual([undefined, expect.objectContaining({ seq: 0 })])
    publish('x')
    expect([text(await byPattern.next()), text(await byName.next())]).toEqual(['x', 'x'])
    hub.refreshTopics()
    publish('y')
    expect([text(await byPattern.next()), text(await byName.next())]).toEqual(['y', 'y'])
  })

  it('goes on after a position, and says whether everything was there', async () => {
    const { hub, clock, publish } = setUp({ topics: openTopics({ history: { messages: 2, bytes: 100, ageMs: 1000 } }) })
    publish('1', '2', '3', '4')
    const { epoch } = hub.getTopic('a')!.position
    const found = hub.stream('a', { after: { epoch, seq: 2 } })
    expect(found.recovered).toBe(true)
    clock.settle()
    expect([text(await found.next()), text(await found.next())]).toEqual(['3', '4'])
    const gaps: Gap[] = []
    const lost = hub.stream('a', { after: { epoch, seq: 0 }, onGap: gap => gaps.push(gap) })
    expect(lost.recovered).toBe(false)
    clock.settle()
    expect(text(await lost.next())).toBe('3')
    expect(gaps).toEqual([{ topic: 'a', from: 1, to: 2, count: 2, reason: 'trimmed' }])
  })

  it('throws at the call, and leaves nothing behind', () => {
    const { hub } = setUp()
    expect(() => hub.stream('a//b')).toThrow(expect.objectContaining({ code: 'TOPIC_INVALID' }))
    expect(() => hub.stream('a', { signal: {} as AbortSignal })).toThrow(
      expect.objectContaining({ code: 'REQUEST_INVALID' }),
    )
    expect(() => hub.listen('a', undefined as unknown as () => void)).toThrow(
      expect.objectContaining({ code: 'REQUEST_INVALID', message: 'handler must be a function, got undefined' }),
    )
    expect(hub.getConnectionStats()).toMatchObject({ clients: 0, subscriptions: 0 })
  })
})

describe('a slow consumer', () => {
  it('under latest gets the newest, and is told what it will never get', async () => {
    const { hub, clock, publish } = setUp({ policy: latest() })
    const gaps: Gap[] = []
    const stream = hub.stream('a', { onGap: gap => gaps.push(gap) })
    publish('1')
    publish('2')
    publish('3')
    publish('4')
    expect(text(await stream.next())).toBe('1')
    clock.settle()
    expect(text(await stream.next())).toBe('4')
    expect(gaps).toEqual([{ topic: 'a', from: 2, to: 4, count: 2, reason: 'conflated' }])
  })

  it('under best-effort misses what comes while it is busy', async () => {
    const { hub, clock, publish } = setUp({ policy: bestEffort() })
    const gaps: Gap[] = []
    const stream = hub.stream('a', { onGap: gap => gaps.push(gap) })
    publish('1')
    publish('2')
    expect(text(await stream.next())).toBe('1')
    clock.settle()
    publish('3')
    expect(text(await stream.next())).toBe('3')
    expect(gaps).toMatchObject([{ from: 2, to: 2, count: 1, reason: 'behind' }])
  })

  it('under buffered that has too much waiting is ended: what it has comes, and then an error', async () => {
    const { hub, clock, publish } = setUp({ topics: openTopics({ history: { messages: 0, bytes: 0, ageMs: 0 } }) })
    const stream = hub.stream('a', { policy: buffered({ bytes: 10 }) })
    publish('1')
    publish('2'.repeat(20))
    publish('3')
    expect(hub.getConnectionStats().clients).toBe(0)
    expect(text(await stream.next())).toBe('1')
    await expect(stream.next()).rejects.toMatchObject({
      code: 'CONNECTION_STALE',
      message: expect.stringMatching(/slow/),
    })
    expect(await stream.next()).toEqual(DONE)
    clock.settle()
  })

  it('that is quick enough loses nothing, and holds nothing', async () => {
    const { hub, clock, publish } = setUp()
    const stream = hub.stream('a')
    for (let i = 0; i < 100; i++) {
      publish(`${i}`, `${i} again`)
      expect(text(await stream.next())).toBe(`${i}`)
      expect(text(await stream.next())).toBe(`${i} again`)
      clock.settle()
    }
    expect([...hub.getActiveClients()][0]).toMatchObject({ writable: true, queuedBytes: 0, drops: {} })
  })

  it('under reliable confirms a message when it comes for the next one', async () => {
    const { hub, publish } = setUp({ policy: reliable() })
    const stream = hub.stream('a')
    const { id } = [...hub.getActiveClients()][0]!
    publish('1', '2')
    await stream.next()
    expect(hub.getSubscription(id, 'a')).toMatchObject({ unconfirmed: 2, delivered: 0 })
    await stream.next()
    expect(hub.getSubscription(id, 'a')).toMatchObject({ unconfirmed: 1, delivered: 1 })
    void stream.next()
    expect(hub.getSubscription(id, 'a')).toMatchObject({ unconfirmed: 0, delivered: 2 })
  })

  const error = new Error('no')
  it.each([
    ['rejects', () => Promise.reject(error)],
    // biome-ignore lint/suspicious/noThenProperty: a promise of another library is the question
    ['rejects in another library', () => ({ then: (_: unknown, failed: (error: unknown) => void) => failed(error) })],
  ])('an onGap that %s is a fault, and not an unhandled rejection', async (_, onGap) => {
    const { hub, fault, publish } = setUp()
    publish('1')
    const stream = hub.stream('a', { after: { epoch: 'gone', seq: 1 }, onGap: onGap as () => void })
    publish('2')
    expect(text(await stream.next())).toBe('2')
    await microtasks()
    expect(fault).toHaveBeenCalledExactlyOnceWith({ error, where: 'onGap of a stream of a' })
  })

  it('an onGap that throws is a fault, and the messages come all the same', async () => {
    const { hub, clock, fault, publish } = setUp({ policy: latest() })
    const error = new Error('of the program')
    const stream = hub.stream('a', {
      onGap: () => {
        throw error
      },
    })
    publish('1')
    publish('2')
    publish('3')
    await stream.next()
    clock.settle()
    expect(text(await stream.next())).toBe('3')
    expect(fault).toHaveBeenCalledExactlyOnceWith({ error, where: 'onGap of a stream of a' })
  })
})

describe('the end', () => {
  it('by break: nobody is left, and a stream that has ended is done', async () => {
    const { hub, publish } = setUp()
    const stream = hub.stream('a')
    publish('1', '2')
    const seen: string[] = []
    for await (const message of stream) {
      seen.push(message.text())
      break
    }
    expect([seen, hub.getConnectionStats().clients, await stream.next()]).toEqual([['1'], 0, DONE])
  })

  it.each<[string, (end: { abort: AbortController; stop: () => void }) => void]>([
    ['by the signal', ({ abort }) => abort.abort()],
    ['by return', ({ stop }) => stop()],
  ])('%s, while it waits', async (_, end) => {
    const { hub } = setUp()
    const abort = new AbortController()
    const stream = hub.stream('a', { signal: abort.signal })
    const waiting = [stream.next(), stream.next()]
    await microtasks()
    end({ abort, stop: () => void stream.return() })
    expect(await Promise.all(waiting)).toEqual([DONE, DONE])
    expect(hub.getConnectionStats().clients).toBe(0)
  })

  it('by a signal that was aborted before: it never begins', async () => {
    const { hub } = setUp()
    const stream = hub.stream('a', { signal: AbortSignal.abort() })
    expect([await stream.next(), hub.getConnectionStats().clients]).toEqual([DONE, 0])
  })

  it('by one signal of many streams, which listen to it once and let go of it', async () => {
    const { hub } = setUp()
    const { signal, abort } = countedSignal()
    const streams = Array.from({ length: 20 }, () => hub.stream('a', { signal }))
    expect(signal.listeners).toBe(1)
    for (const stream of streams.slice(5)) await stream.return()
    expect([signal.listeners, hub.getConnectionStats().clients]).toEqual([1, 5])
    abort()
    expect([signal.listeners, hub.getConnectionStats().clients]).toEqual([0, 0])
  })

  it('by the end of the hub: what it has comes, and then the loop ends', async () => {
    const { hub, publish } = setUp()
    const stream = hub.stream('a')
    publish('1', '2')
    const waiting = hub.stream('b').next()
    await hub.close()
    expect([text(await stream.next()), text(await stream.next()), await stream.next()]).toEqual(['1', '2', DONE])
    expect(await waiting).toEqual(DONE)
    expect(() => hub.stream('a')).toThrow(expect.objectContaining({ code: 'SHUTTING_DOWN' }))
  })

  it('by an operator is told: it is not the end of the topic', async () => {
    const { hub } = setUp()
    const stream = hub.stream('a')
    const waiting = stream.next()
    hub.unregisterClient([...hub.getActiveClients()][0]!.id, 'ended')
    await expect(waiting).rejects.toMatchObject({ code: 'CONNECTION_STALE' })
  })
})

describe('hub.listen', () => {
  it('calls the handler for one message after the other, and waits for what it promises', async () => {
    const { hub, clock, publish } = setUp()
    const seen: string[] = []
    let go = (): void => {}
    using listener = hub.listen('a', async message => {
      seen.push(message.text())
      await new Promise<void>(resolve => {
        go = resolve
      })
    })
    expect(listener.position?.seq).toBe(0)
    publish('1', '2')
    await microtasks()
    expect(seen).toEqual(['1'])
    go()
    await microtasks()
    expect(seen).toEqual(['1', '2'])
    clock.settle()
  })

  it('a handler that throws or rejects is a fault, and harms nobody', async () => {
    const { hub, fault, publish } = setUp()
    const seen: string[] = []
    hub.listen('a', message => {
      throw new Error(message.text())
    })
    hub.listen('a', async message => {
      throw new Error(message.text())
    })
    hub.listen('a', message => seen.push(message.text()))
    publish('1')
    await microtasks()
    publish('2')
    await microtasks()
    expect(seen).toEqual(['1', '2'])
    expect(fault.mock.calls.map(([{ error, where }]) => `${where}: ${error.message}`).sort()).toEqual([
      ...['listener on a: 1', 'listener on a: 1', 'listener on a: 2', 'listener on a: 2'],
    ])
  })

  it('ends when it is disposed of, and says so', async () => {
    const { hub, publish } = setUp()
    const handler = vi.fn()
    const listener = hub.listen('a', handler)
    listener[Symbol.dispose]()
    publish('1')
    expect(await listener.ended).toBeUndefined()
    expect([handler.mock.calls, hub.getConnectionStats().clients]).toEqual([[], 0])
  })

  it('that the hub ends is a fault with its error', async () => {
    const { hub, fault } = setUp()
    const listener = hub.listen('a', () => {})
    hub.unregisterClient([...hub.getActiveClients()][0]!.id, 'ended')
    expect(await listener.ended).toBeInstanceOf(HubError)
    expect(fault).toHaveBeenCalledWith({ error: await listener.ended, where: 'listener on a' })
  })

  it('may publish and end itself from inside', async () => {
    const { hub, clock, publish } = setUp()
    const seen: string[] = []
    const listener = hub.listen('*', message => {
      seen.push(`${message.topic} ${message.text()}`)
      if (message.topic === 'a') hub.routeData('b', message.data)
      else listener[Symbol.dispose]()
    })
    publish('1')
    await microtasks()
    clock.settle()
    await listener.ended
    publish('2')
    expect(seen).toEqual(['a 1', 'b 1'])
  })
})

/** A signal that knows how many listeners it has. Node prints a warning from eleven. */
function countedSignal() {
  const controller = new AbortController()
  const { signal } = controller
  const counted = Object.assign(signal, { listeners: 0 })
  const { addEventListener, removeEventListener } = signal
  signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
    counted.listeners++
    addEventListener.apply(signal, args)
  }
  signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
    counted.listeners--
    removeEventListener.apply(signal, args)
  }
  return { signal: counted, abort: () => controller.abort() }
}
