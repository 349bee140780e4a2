import { describe, expect, it, vi } from 'vitest'
import type { Broker, RouteResult, Sink } from '../../src/core/broker.ts'
import type { Codec } from '../../src/core/message.ts'
import { createHub } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'

const TEXT = 'text/plain; charset=utf-8'
const OCTETS = 'application/octet-stream'

function broker(publish: (sink: Sink, publication: Parameters<Broker['publish']>[0]) => ReturnType<Broker['publish']>) {
  let sink: Sink
  return {
    name: 'test',
    start: given => {
      sink = given
    },
    publish: publication => publish(sink, publication),
    join() {},
    leave() {},
    close() {},
  } satisfies Broker
}

describe('hub.publish', () => {
  it.each([
    ['a string', 'hello', 'hello', TEXT],
    ['a string that is JSON', '{"a":1}', '{"a":1}', 'application/json'],
    ['an object', { a: 1 }, '{"a":1}', 'application/json'],
    ['an array', [1, 'x'], '[1,"x"]', 'application/json'],
    ['null', null, 'null', 'application/json'],
    ['a number', 5, '5', 'application/json'],
    ['bytes that are JSON', Buffer.from('[1]'), '[1]', 'application/json'],
    ['bytes that are text', Buffer.from('one'), 'one', TEXT],
    ['bytes that are neither', Uint8Array.of(0xff, 0xfe), Buffer.of(0xff, 0xfe).toString('latin1'), OCTETS],
    ['no bytes', new Uint8Array(0), '', TEXT],
  ])('takes %s and guesses its type as over HTTP', async (_what, data, text, contentType) => {
    const hub = createHub()
    const { position } = await hub.publish('a', data)
    expect(position).toEqual({ epoch: expect.stringMatching(/./), seq: 1 })
    const [message] = hub.history('a').messages
    expect([Buffer.from(message!.payload).toString('latin1'), message?.contentType]).toEqual([text, contentType])
  })

  it('takes a buffer and any view of one as bytes', async () => {
    const hub = createHub()
    const { buffer } = new Uint8Array([255, 254, 253, 252])
    const stream = hub.stream('t')
    for (const data of [buffer, new DataView(buffer, 1, 2), new Uint16Array(buffer)]) await hub.publish('t', data)
    for (const bytes of [
      [255, 254, 253, 252],
      [254, 253],
      [255, 254, 253, 252],
    ]) {
      const { value } = await stream.next()
      expect([value?.contentType, [...(value?.data ?? [])]]).toEqual(['application/octet-stream', bytes])
    }
    await hub.close()
  })

  it('takes what the publisher says, and then what the rule of the topic says, before any guess', async () => {
    const hub = createHub({ topics: openTopics({}, { geo: { contentType: 'application/geo+json' } }) })
    await hub.publish('geo', { type: 'Point' })
    await hub.publish('geo', 'text')
    await hub.publish('geo', 'csv', { contentType: 'text/csv', key: 'k', correlationId: 'c' })
    expect(hub.history('geo').messages).toMatchObject([
      { contentType: 'application/geo+json' },
      { contentType: 'application/geo+json' },
      { contentType: 'text/csv', key: 'k', correlationId: 'c' },
    ])
  })

  it.each([
    ['TOPIC_INVALID', 'a//b', 'x'],
    ['INVALID_MESSAGE', 'a', undefined as unknown as string],
    ['INVALID_MESSAGE', 'a', () => {}],
    ['INVALID_MESSAGE', 'a', 10n as unknown as string],
    ['MESSAGE_TOO_LARGE', 'a', 'x'.repeat(1024 * 1024 + 1)],
  ])('rejects with %s and never throws', async (code, topic, data) => {
    const published = createHub().publish(topic, data)
    await expect(published).rejects.toMatchObject({ code })
  })

  it('rejects after the end of the hub: a timer that publishes on does not end the process', async () => {
    const hub = createHub()
    await hub.close()
    await expect(hub.publish('a', 'x')).rejects.toMatchObject({ code: 'SHUTTING_DOWN' })
  })

  it('routes in the order of the calls, in the same turn', async () => {
    const hub = createHub()
    const results = [1, 2, 3].map(each => hub.publish('a', each))
    hub.routeData('a', Buffer.from('4'))
    expect(hub.history('a').messages.map(({ payload }) => Buffer.from(payload).toString())).toEqual([
      '1',
      '2',
      '3',
      '4',
    ])
    expect((await Promise.all(results)).map(({ position }) => position.seq)).toEqual([1, 2, 3])
  })

  it.each<[string, () => RouteResult | undefined | Promise<RouteResult | undefined>]>([
    ['at once', () => undefined],
    ['later', async () => undefined],
  ])(
    'of a broker that accepts and does not tell the place (%s): the counts of this node, and no position',
    async (_, answer) => {
      const clock = new ManualScheduler()
      const hub = createHub({ scheduler: clock, broker: broker(answer) })
      hub.registerClient('one', new FakeConnection())
      hub.subscribe('one', 'a')
      expect(await hub.publish('a', 'x')).toEqual({
        position: { epoch: '', seq: 0 },
        ...{ matched: 1, behind: 0, unsupported: 0 },
      })
      expect(await hub.publish('unused', 'x')).toMatchObject({ position: { epoch: '', seq: 0 }, matched: 0, behind: 0 })
    },
  )

  it('rejects with what the broker throws or rejects with', async () => {
    for (const refuse of [
      () => {
        throw new RangeError('far away')
      },
      () => Promise.reject(new RangeError('far away')),
    ]) {
      await expect(createHub({ broker: broker(refuse) }).publish('a', 'x')).rejects.toThrow('far away')
    }
  })
})

describe('unsupported', () => {
  /** Carries what begins with a letter. */
  function picky(asked: string[] = []): Codec {
    const carried = (payload: Uint8Array) => /^[a-z]/.test(Buffer.from(payload).toString())
    return {
      name: 'picky',
      carries({ payload }) {
        asked.push(Buffer.from(payload).toString())
        return carried(payload)
      },
      encode: ({ payload }) => (carried(payload) ? payload : null),
      concat: frames => Buffer.concat(frames),
    }
  }

  function setUp(codec: Codec, clients = 3) {
    const clock = new ManualScheduler()
    const hub = createHub({ scheduler: clock })
    for (let i = 0; i < clients; i++) {
      hub.registerClient(`picky-${i}`, new FakeConnection({ codec }))
      hub.subscribe(`picky-${i}`, 'a')
    }
    hub.registerClient('any', new FakeConnection())
    hub.subscribe('any', 'a')
    const publish = (text: string) => hub.routeData('a', Buffer.from(text))
    return { hub, clock, publish }
  }

  it('counts the subscribers whose protocol cannot carry the message, with one question for each codec', () => {
    const asked: string[] = []
    const { hub, clock, publish } = setUp(picky(asked))
    expect(publish('1')).toMatchObject({ matched: 4, behind: 0, unsupported: 3 })
    expect(publish('a')).toMatchObject({ matched: 4, unsupported: 0 })
    clock.settle()
    expect(asked).toEqual(['1', 'a'])
    expect(hub.getConnectionStats().drops).toEqual([{ policy: 'buffered', reason: 'unsupported', count: 3 }])
    hub.unsubscribe('picky-0', 'a')
    hub.unregisterClient('picky-1')
    expect(publish('2')).toMatchObject({ matched: 2, unsupported: 1 })
    hub.unsubscribe('picky-2', 'a')
    expect(publish('3')).toMatchObject({ matched: 1, unsupported: 0 })
    expect(asked, 'nobody is asked where no such subscriber is').toEqual(['1', 'a', '2'])
  })

  it('counts clients that a pattern brought, and those that are behind', () => {
    const clock = new ManualScheduler()
    const hub = createHub({ scheduler: clock })
    const connection = new FakeConnection({ codec: picky() })
    hub.registerClient('p', connection)
    hub.subscribePattern('p', '*')
    expect(hub.routeData('a', Buffer.from('1'))).toMatchObject({ matched: 1, unsupported: 1 })
    clock.settle()
    expect(hub.getSubscription('p', 'a')).toMatchObject({ dropped: 1, delivered: 0 })
  })

  it('a codec whose carries throws cannot carry the message, the publisher is not harmed, and a fault names the codec', () => {
    const { hub, clock, publish } = setUp({
      ...picky(),
      carries: () => {
        throw new Error('broken')
      },
    })
    const faults: string[] = []
    hub.events.on('fault', ({ where }) => faults.push(where))
    expect(publish('a')).toMatchObject({ matched: 4, unsupported: 3 })
    clock.settle()
    expect(faults).toEqual(["carries of codec 'picky'"])
  })
})

describe('publisher', () => {
  const ann = { client: 'phone', session: { user: 'ann', info: { name: 'Ann' }, key: 'secret', tokenId: 't' } }

  it('is on messages of topics whose rule says so, and has nothing that is not public', async () => {
    const hub = createHub({ topics: openTopics({}, { told: { publisher: true } }) })
    await hub.publish('told', 'x', { publisher: ann })
    await hub.publish('told', 'x')
    await hub.publish('told', 'x', { publisher: { session: { backend: true, key: 'shop' } } })
    await hub.publish('silent', 'x', { publisher: ann })
    expect(hub.history('told').messages.map(({ publisher }) => publisher)).toEqual([
      { client: 'phone', user: 'ann', info: { name: 'Ann' } },
      undefined,
      undefined,
    ])
    expect(hub.history('silent').messages[0]?.publisher).toBeUndefined()
  })

  it('goes through the broker with the publication', async () => {
    const publish = vi.fn((sink: Sink, publication: Parameters<Sink>[0]) => sink(publication))
    const hub = createHub({ broker: broker(publish), topics: openTopics({ publisher: true }) })
    await hub.publish('a', 'x', { publisher: ann })
    expect(publish.mock.calls[0]?.[1].publisher).toEqual({ client: 'phone', user: 'ann', info: { name: 'Ann' } })
  })
})
