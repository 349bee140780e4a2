import { describe, expect, it } from 'vitest'
import type { HubEvents } from '../../src/core/events.ts'
import type { DeliveryPolicy } from '../../src/core/policy.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { dropSlow } from '../../src/policies/drop-slow.ts'
import { latest } from '../../src/policies/latest.ts'
import { rateLimit } from '../../src/policies/rate-limit.ts'
import { reliable } from '../../src/policies/reliable.ts'
import { type Answer, FAILS, OK, REFUSES, ScriptedReceiver } from './scripted-receiver.ts'

const SLOWLY: Answer = { kind: 'later', ms: 100, outcome: OK }

function open(policy: DeliveryPolicy, options = {}): ScriptedReceiver {
  const url = new ScriptedReceiver({ topics: [{ name: 'news', policy }], ...options })
  url.open()
  return url
}

const subscription = (url: ScriptedReceiver) => url.hub.getSubscription('url', 'news')
const texts = (url: ScriptedReceiver): string[] => url.made.map(({ text }) => text)
const gaps = (url: ScriptedReceiver): unknown[] =>
  url.made
    .filter(({ text }) => text === 'gap')
    .map(({ envelope }) => JSON.parse(Buffer.from(envelope.payload).toString()))

async function publish(url: ScriptedReceiver, ...all: string[]): Promise<void> {
  for (const text of all) {
    url.publish(text)
    await url.run(1)
  }
}

describe('while a request is under way', () => {
  it('best-effort drops, and the receiver is told what', async () => {
    const url = open(bestEffort())
    url.otherwise = SLOWLY
    await publish(url, 'a', 'b', 'c')
    expect(subscription(url)).toMatchObject({ published: 3, delivered: 0, dropped: 2, pending: 1, unconfirmed: 1 })
    await url.run(100)
    await publish(url, 'd')
    await url.run(300)
    // `d` came while the notice was under way.
    expect(texts(url)).toEqual(['a', 'gap', 'gap'])
    expect(gaps(url)).toEqual([
      { topic: 'news', from: 2, to: 3, count: 2, reason: 'behind' },
      { topic: 'news', from: 4, to: 4, count: 1, reason: 'behind' },
    ])
    expect(subscription(url)).toMatchObject({ published: 4, delivered: 1, dropped: 3, pending: 0 })
  })

  it('a loss is one event, however often its notice is refused; a later loss is another one', async () => {
    const url = open(bestEffort())
    url.answers = [SLOWLY, REFUSES, REFUSES, OK]
    const events = () => (url.of('gap') as HubEvents['gap'][0][]).map(({ gap }) => `${gap.from}-${gap.to} ${gap.count}`)
    await publish(url, 'a', 'b', 'c')
    await url.run(40_000)
    expect(gaps(url)).toMatchObject([{ count: 2 }, { count: 2 }])
    expect(events()).toEqual(['2-3 2'])
    url.answers = [SLOWLY, OK]
    await publish(url, 'd', 'e')
    await url.run(30_000)
    expect(gaps(url).slice(2)).toMatchObject([
      { from: 2, to: 3, count: 2 },
      { from: 5, to: 5, count: 1 },
    ])
    expect(events()).toEqual(['2-3 2', '5-5 1'])
  })

  it('buffered keeps', async () => {
    const url = open(buffered({ messages: 3 }))
    url.otherwise = SLOWLY
    await publish(url, 'a', 'b', 'c', 'd')
    expect(subscription(url)).toMatchObject({ pending: 4, unconfirmed: 1, state: 'behind' })
    await url.run(1000)
    expect(url.tries).toEqual([
      ['a', 0],
      ['b', 100],
      ['c', 200],
      ['d', 300],
    ])
    expect(subscription(url)).toMatchObject({ published: 4, delivered: 4, pending: 0, state: 'live' })
  })

  it('buffered closes as slow with the first that is too many, and cancels the request', async () => {
    const url = open(buffered({ messages: 3 }))
    url.answers = ['never']
    await publish(url, 'a', 'b', 'c', 'd')
    expect(url.of('unregister')).toEqual([])
    await publish(url, 'e')
    await url.run(25)
    expect(url.of('unregister')).toMatchObject([{ id: 'url', reason: 'slow' }])
    expect(url.made[0]!.signal.aborted).toBe(true)
    expect(url.hub.getConnectionStats()).toMatchObject({ delivered: 0, dropped: 5, pending: 0 })
  })

  it.each(['drop-oldest', 'drop-newest'] as const)('buffered with %s drops those and tells', async overflow => {
    const url = open(buffered({ messages: 2, overflow }))
    url.otherwise = SLOWLY
    await publish(url, 'a', 'b', 'c', 'd')
    await url.run(1000)
    const kept = overflow === 'drop-oldest' ? ['c', 'd'] : ['b', 'c']
    expect(texts(url).filter(text => text !== 'gap')).toEqual(['a', ...kept])
    expect(gaps(url)).toMatchObject([{ count: 1, reason: 'overflow' }])
    expect(subscription(url)).toMatchObject({ published: 4, delivered: 3, dropped: 1, pending: 0 })
  })

  it('drop-slow closes when one request, with its retries, has taken longer than 250 ms', async () => {
    const url = open(dropSlow({ floorRate: Number.POSITIVE_INFINITY }))
    url.otherwise = FAILS
    url.publish('a')
    await url.run(250)
    expect(url.tries).toEqual([
      ['a', 0],
      ['a', 50],
      ['a', 150],
    ])
    expect(url.of('unregister')).toEqual([])
    // Late at the sweep of 275 ms, and at the next one still.
    await url.run(50)
    expect(url.told.at(-1)).toMatchObject({ at: 300, event: 'unregister', about: { reason: 'slow' } })
    await url.run(1000)
    expect(url.made).toHaveLength(3)
    expect(url.metrics).toMatchObject({ active: 0, queues: { pending: 0 } })
  })

  it('drop-slow keeps a client whose requests are answered in time, however many there are', async () => {
    const url = open(dropSlow())
    url.otherwise = { kind: 'later', ms: 200, outcome: OK }
    for (let i = 0; i < 10; i++) {
      url.publish(`${i}`)
      await url.run(200)
    }
    expect(url.of('unregister')).toEqual([])
    expect(subscription(url)).toMatchObject({ published: 10, delivered: 10, dropped: 0 })
  })

  it('latest gives the newest of each key when there is room again', async () => {
    const url = open(latest())
    url.otherwise = SLOWLY
    await publish(url, 'a')
    for (const [text, key] of [
      ['b', 'x'],
      ['c', 'y'],
      ['d', 'x'],
      ['e', 'x'],
    ] as const)
      url.publish(text, 'news', key)
    await url.run(500)
    expect(texts(url).filter(text => text !== 'gap')).toEqual(['a', 'c', 'e'])
    expect(subscription(url)).toMatchObject({ published: 5, delivered: 3, dropped: 2, pending: 0 })
  })

  it('a rate holds requests back, and what it lets go is not tried sooner', async () => {
    const url = open(rateLimit({ messages: 10, burst: 0.1 }, buffered()))
    await publish(url, 'a', 'b', 'c')
    await url.run(500)
    expect(texts(url)).toEqual(['a', 'b', 'c'])
    const at = url.made.map(made => made.at)
    expect(at[1]! - at[0]!).toBeGreaterThanOrEqual(100)
    expect(at[2]! - at[1]!).toBeGreaterThanOrEqual(100)
  })
})

describe('reliable', () => {
  it('sends what was given up again, under the same id, a second later; nothing overtakes it', async () => {
    const url = open(reliable(), { breaker: { failures: 100 } })
    url.answers = [OK, FAILS, FAILS, FAILS, FAILS]
    for (const text of ['a', 'b', 'c', 'd']) url.publish(text)
    await url.run(500)
    expect(url.tries).toEqual([
      ['a', 0],
      ['b', 0],
      ['b', 50],
      ['b', 150],
      ['b', 350],
    ])
    // Given up at 350: what was in hand after it is forgotten, and all of it is owed still.
    expect(subscription(url)).toMatchObject({ published: 4, delivered: 1, dropped: 0, pending: 3, unconfirmed: 3 })
    expect(url.of('undelivered')).toHaveLength(1)
    await publish(url, 'e')
    await url.run(848)
    expect(texts(url)).toHaveLength(5)
    await url.run(100)
    expect(texts(url).slice(5)).toEqual(['b', 'c', 'd', 'e'])
    const [first, , , , again] = url.made.filter(({ text }) => text === 'b').map(({ envelope }) => envelope)
    expect([again!.id, again!.seq]).toEqual([first!.id, 2])
    expect(subscription(url)).toMatchObject({ published: 5, delivered: 5, dropped: 0, pending: 0 })
    expect(gaps(url)).toEqual([])
  })

  it('comes again after a second also where it was to be looked at much later, for what has been confirmed since', async () => {
    const url = open(reliable())
    url.answers = [REFUSES, REFUSES, REFUSES, OK]
    url.publish('a')
    await url.run(2000)
    expect(texts(url)).toEqual(['a', 'a'])
    const { epoch } = url.hub.getTopic('news')!.position
    expect(url.hub.acknowledge('url', 'news', { epoch, seq: 1 })).toBe(1)
    await publish(url, 'b')
    await url.run(1100)
    expect(texts(url)).toEqual(['a', 'a', 'b', 'b'])
    expect(subscription(url)).toMatchObject({ delivered: 2, pending: 0 })
  })

  it('waits twice as long at each further time, and closes after the last', async () => {
    const url = open(reliable({ ackMs: 1000, tries: 2 }))
    url.otherwise = REFUSES
    url.publish('a')
    await url.run(10_000)
    expect(url.tries).toEqual([
      ['a', 0],
      ['a', 1000],
      ['a', 3000],
    ])
    expect(url.told.at(-1)).toMatchObject({ event: 'unregister', about: { reason: 'slow' }, at: 7000 })
  })

  it('skip gives up that message alone: it is counted and told, and the rest arrives', async () => {
    const url = open(reliable({ ackMs: 1000, tries: 1, giveUp: 'skip' }))
    url.answers = [REFUSES, REFUSES]
    for (const text of ['a', 'b', 'c']) url.publish(text)
    await url.run(4000)
    expect(texts(url)).toEqual(['a', 'a', 'gap', 'b', 'c'])
    expect(gaps(url)).toMatchObject([{ from: 1, to: 1, reason: 'unconfirmed' }])
    expect(subscription(url)).toMatchObject({ published: 3, delivered: 2, dropped: 1, pending: 0 })
  })

  it('loses nothing to a receiver that is away for long: the circuit is what waits', async () => {
    const url = open(reliable({ ackMs: 1000 }))
    url.otherwise = FAILS
    for (const text of ['a', 'b', 'c']) url.publish(text)
    await url.run(35_000)
    url.publish('d')
    url.otherwise = OK
    await url.run(20_000)
    const delivered = texts(url).slice(-4)
    expect(delivered).toEqual(['a', 'b', 'c', 'd'])
    expect(subscription(url)).toMatchObject({ published: 4, delivered: 4, dropped: 0, pending: 0 })
    expect(url.of('unregister')).toEqual([])
  })

  it('holds up no other topic, and no send', async () => {
    const url = open(reliable({ ackMs: 2000 }), {
      topics: [{ name: 'news', policy: reliable({ ackMs: 2000 }) }, { name: 'sport' }],
    })
    url.answers = [REFUSES]
    url.publish('a')
    await url.run(10)
    url.publish('b', 'sport')
    const sent = url.send('c')
    await url.run(10)
    expect(texts(url)).toEqual(['a', 'b', 'c'])
    expect(sent.result).toBe('ok')
    await url.run(2000)
    expect(texts(url)).toEqual(['a', 'b', 'c', 'a'])
  })

  it('sends no more than its window before the first is confirmed', async () => {
    const url = open(reliable({ window: 2 }))
    url.otherwise = SLOWLY
    await publish(url, 'a', 'b', 'c', 'd')
    expect(subscription(url)!.unconfirmed).toBeLessThanOrEqual(2)
    await url.run(1000)
    expect(texts(url)).toEqual(['a', 'b', 'c', 'd'])
    expect(subscription(url)).toMatchObject({ delivered: 4, pending: 0 })
  })

  it('what was given up comes again at once where the client no longer waits for confirmations', async () => {
    const url = open(reliable({ ackMs: 1000 }))
    url.answers = [REFUSES]
    for (const text of ['a', 'b']) url.publish(text)
    await url.run(10)
    url.hub.subscribe('url', 'news', { policy: buffered() })
    url.publish('c')
    await url.run(5000)
    expect(texts(url)).toEqual(['a', 'a', 'b', 'c'])
    expect(subscription(url)).toMatchObject({ published: 3, delivered: 3, dropped: 0, pending: 0 })
  })

  it('nothing newer goes before what was given up, though some of it is confirmed by another way', async () => {
    const url = open(reliable({ ackMs: 1000 }))
    url.answers = [REFUSES]
    for (const text of ['a', 'b', 'c']) url.publish(text)
    await url.run(10)
    const { epoch } = url.hub.getTopic('news')!.position
    expect(url.hub.acknowledge('url', 'news', { epoch, seq: 1 })).toBe(1)
    await publish(url, 'd')
    await url.run(500)
    expect(texts(url)).toEqual(['a'])
    expect(url.hub.acknowledge('url', 'news', { epoch, seq: 3 })).toBe(2)
    await publish(url, 'e')
    expect(texts(url)).toEqual(['a', 'd', 'e'])
    expect(subscription(url)).toMatchObject({ published: 5, delivered: 5, dropped: 0, pending: 0 })
  })
})
