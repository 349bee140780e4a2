import { describe, expect, it } from 'vitest'
import { Parcel } from '../../src/core/parcel.ts'
import { DEFAULT_RETRY } from '../../src/transports/backoff.ts'
import { DEFAULT_BREAKER } from '../../src/transports/circuit-breaker.ts'
import { RequestConnection } from '../../src/transports/request-connection.ts'
import { FAILS, GONE, OK, REFUSES, ScriptedReceiver } from './scripted-receiver.ts'

const PATIENT = { failures: 1000 }

describe('attempts and waits', () => {
  it('tries four times, 50, 100 and 200 ms apart where the jitter is a half, then gives up and says so', async () => {
    const url = new ScriptedReceiver()
    url.open()
    url.answers = [FAILS, FAILS, FAILS, { kind: 'retry', why: 'status 502' }]
    const sent = url.send('a', { id: 'one', correlationId: 'trace-1' })
    await url.run(349)
    expect(url.tries).toEqual([
      ['a', 0],
      ['a', 50],
      ['a', 150],
    ])
    expect(sent.result).toBeUndefined()
    expect(url.metrics).toMatchObject({ count: 0, active: 1, retries: 3 })
    await url.run(1)
    expect(url.tries.at(-1)).toEqual(['a', 350])
    expect(sent).toEqual({ result: 'SEND_FAILED', at: 350 })
    const about = { id: 'url', messageId: 'one', topic: undefined, correlationId: 'trace-1' }
    expect(url.told).toEqual([
      { at: 0, event: 'retry', about: { ...about, attempts: 1, why: 'status 503', waitMs: 50 } },
      { at: 50, event: 'retry', about: { ...about, attempts: 2, why: 'status 503', waitMs: 100 } },
      { at: 150, event: 'retry', about: { ...about, attempts: 3, why: 'status 503', waitMs: 200 } },
      { at: 350, event: 'undelivered', about: { ...about, attempts: 4, why: 'status 502' } },
    ])
    await url.run(20_000)
    expect(url.made).toHaveLength(4)
    expect(url.metrics).toMatchObject({ count: 1, active: 0, retries: 3, errors: { SEND_FAILED: 1 } })
  })

  it('draws each wait anew, from nothing to all of 100, 200 and 400 ms', async () => {
    const random = [0, 0.25, 1]
    const url = new ScriptedReceiver({ random: () => random.shift()! })
    url.open()
    url.answers = [FAILS, FAILS, FAILS, OK]
    const sent = url.send('a')
    await url.run(450)
    expect(url.made.map(({ at }) => at)).toEqual([0, 0, 50, 450])
    expect(sent).toEqual({ result: 'ok', at: 450 })
    expect(url.metrics).toMatchObject({ count: 1, active: 0, retries: 3, errors: {} })
  })

  it('never waits longer than 5 s by itself', async () => {
    const url = new ScriptedReceiver({ random: () => 1, retry: { retries: 8 }, breaker: PATIENT })
    url.open()
    url.otherwise = FAILS
    url.send('a', { timeoutMs: 60_000 })
    await url.run(30_000)
    const at = url.made.map(made => made.at)
    expect(at.slice(1).map((each, i) => each - at[i]!)).toEqual([100, 200, 400, 800, 1600, 3200, 5000, 5000])
  })

  it('waits as long as the receiver asks, if that is longer, be it longer than 5 s', async () => {
    const url = new ScriptedReceiver()
    url.open()
    url.answers = [
      { kind: 'retry', why: 'status 429', afterMs: 7000 },
      { kind: 'retry', why: 'status 429', afterMs: 20 },
      OK,
    ]
    const sent = url.send('a')
    await url.run(8000)
    expect(url.made.map(({ at }) => at)).toEqual([0, 7000, 7100])
    expect(url.of('retry')).toMatchObject([{ waitMs: 7000 }, { waitMs: 100 }])
    expect(sent.result).toBe('ok')
  })

  it('does not try again what was refused', async () => {
    const url = new ScriptedReceiver()
    url.open()
    url.answers = [REFUSES]
    const sent = url.send('a')
    url.publish('b')
    await url.run(1000)
    expect(url.tries).toEqual([
      ['a', 0],
      ['b', 0],
    ])
    expect(sent).toEqual({ result: 'SEND_FAILED', at: 0 })
    expect(url.of('undelivered')).toMatchObject([{ attempts: 1, why: 'status 400' }])
    expect(url.metrics).toMatchObject({ count: 2, active: 0, retries: 0, errors: { SEND_FAILED: 1 } })
  })

  it('calls it a timeout where the last attempt had no answer in time, and a failure where it had one', async () => {
    const url = new ScriptedReceiver({ retry: { retries: 1 } })
    url.open()
    const late = { kind: 'retry', why: 'no answer', timedOut: true } as const
    url.answers = [FAILS, late, late, FAILS]
    const sends = [url.send('a'), url.send('b')]
    await url.run(200)
    expect(sends.map(({ result }) => result)).toEqual(['SEND_TIMEOUT', 'SEND_FAILED'])
    expect(url.metrics.errors).toEqual({ SEND_TIMEOUT: 1, SEND_FAILED: 1 })
  })

  it('a message of a topic that is given up is counted as failed, told as a gap, and the next goes on', async () => {
    const url = new ScriptedReceiver({ breaker: PATIENT })
    url.open()
    url.answers = [FAILS, FAILS, FAILS, FAILS]
    for (const text of ['a', 'b']) url.publish(text)
    await url.run(400)
    expect(url.tries.slice(3)).toEqual([
      ['a', 350],
      ['b', 350],
      ['gap', 350],
    ])
    const gap = url.made.at(-1)!.envelope
    expect(gap).toMatchObject({ kind: 'gap', topic: 'news', contentType: 'application/json' })
    expect(JSON.parse(Buffer.from(gap.payload).toString())).toEqual({
      ...{ topic: 'news', from: 1, to: 1, count: 1, reason: 'failed' },
    })
    const [news] = url.hub.getClient('url').subscriptions
    expect(news).toMatchObject({ published: 2, delivered: 1, dropped: 1, pending: 0 })
    expect(url.hub.getConnectionStats().drops).toEqual([{ policy: 'buffered', reason: 'failed', count: 1 }])
    expect(url.of('gap')).toHaveLength(1)
  })

  it('410 ends the client and its subscriptions; what waits for it is stale, or gone with it', async () => {
    const url = new ScriptedReceiver({ topics: [{ name: 'news' }, { name: 'sport' }] })
    url.open()
    url.answers = [FAILS, GONE]
    const why = url.hub.send('url', 'a').catch(error => error.message)
    const sends = [url.send('b'), url.send('c')]
    url.publish('d')
    url.publish('e', 'sport')
    await url.run(50)
    expect(await why).toBe('client: receiver.test has gone (status 410) and was removed')
    expect(url.tries).toEqual([
      ['a', 0],
      ['a', 50],
    ])
    expect(sends).toEqual([
      { result: 'CONNECTION_STALE', at: 50 },
      { result: 'CONNECTION_STALE', at: 50 },
    ])
    expect(url.of('unregister')).toMatchObject([{ id: 'url', protocol: 'scripted', reason: 'peer' }])
    expect([...url.hub.getClientsForTopic('news'), ...url.hub.getClientsForTopic('sport')]).toEqual([])
    expect(url.hub.getConnectionStats()).toMatchObject({ clients: 0, subscriptions: 0, pending: 0, queuedBytes: 0 })
    expect(url.hub.getConnectionStats().drops).toEqual([{ policy: 'buffered', reason: 'closed', count: 2 }])
    expect(url.metrics).toMatchObject({ count: 1, active: 0, errors: { CONNECTION_STALE: 1 } })
    const late = url.send('f')
    await url.run()
    expect(late.result).toBe('CONNECTION_NOT_FOUND')
  })
})

describe('a connection that has been closed', () => {
  it('takes nothing more, and closes once', () => {
    const { scheduler, hub } = new ScriptedReceiver()
    const farewells: string[] = []
    const connection = new RequestConnection({
      ...{
        protocol: 'scripted',
        address: 'receiver.test',
        scheduler,
        events: hub.events,
        meter: hub.operations.callback,
      },
      ...{ retry: DEFAULT_RETRY, breaker: DEFAULT_BREAKER, random: Math.random },
      attempt: async () => expect.fail('an attempt after the end'),
      farewell: reason => farewells.push(reason),
    })
    connection.close('slow')
    connection.close('denied')
    const message = { id: 'one', payload: new Uint8Array(1), contentType: 'text/plain', correlationId: undefined }
    const results = [
      connection.write(new Uint8Array(0)),
      connection.send(new Parcel(message, undefined, { settled: () => {} })),
    ]
    expect([results, farewells]).toEqual([['gone', 'gone'], ['slow']])
  })
})

describe('order', () => {
  it('is kept while the first is tried again, over topics and sends, with one attempt at a time', async () => {
    const url = new ScriptedReceiver({ topics: [{ name: 'news' }, { name: 'sport' }] })
    url.open()
    url.answers = [FAILS, FAILS, OK, FAILS, OK]
    url.publish('a')
    const sent = url.send('b')
    url.publish('c', 'sport')
    await url.run(10)
    url.publish('d')
    url.publish('e', 'sport')
    const later = url.send('f')
    await url.run(1000)
    const first = [
      ['a', 0],
      ['a', 50],
      ['a', 150],
      ['b', 150],
      ['b', 200],
      ['c', 200],
    ]
    // What was sent to it alone is not held back by what its policies let wait.
    const then = [
      ['f', 200],
      ['d', 200],
      ['e', 200],
    ]
    expect(url.tries).toEqual([...first, ...then])
    expect([sent, later]).toEqual([
      { result: 'ok', at: 200 },
      { result: 'ok', at: 200 },
    ])
  })

  it('is kept where attempts take time: of the sends, and of each topic', async () => {
    const url = new ScriptedReceiver()
    url.open()
    url.otherwise = { kind: 'later', ms: 30, outcome: OK }
    const sends = []
    for (const text of ['a', 'b', 'c', 'd']) {
      sends.push(url.send(`to url: ${text}`))
      url.publish(text)
      await url.run(10)
    }
    await url.run(1000)
    expect(url.made.map(({ at }) => at)).toEqual([0, 30, 60, 90, 120, 150, 180, 210])
    const texts = url.made.map(({ text }) => text)
    expect(texts.filter(text => text.length === 1)).toEqual(['a', 'b', 'c', 'd'])
    expect(texts.filter(text => text.length > 1)).toEqual(['a', 'b', 'c', 'd'].map(text => `to url: ${text}`))
    expect(sends.map(({ result }) => result)).toEqual(['ok', 'ok', 'ok', 'ok'])
  })

  it('gives every attempt of a message the same id, and every message another', async () => {
    const url = new ScriptedReceiver()
    url.open()
    url.answers = [FAILS, FAILS, OK, FAILS, OK, FAILS, OK]
    for (const text of ['a', 'b']) url.publish(text)
    url.send('c')
    url.send('d', { id: 'mine' })
    await url.run(1000)
    expect(url.made).toHaveLength(8)
    for (const text of ['a', 'b', 'c', 'd']) {
      const ids = url.made.filter(made => made.text === text).map(({ envelope }) => envelope.id)
      expect(new Set(ids).size).toBe(1)
    }
    expect(new Set(url.made.map(({ envelope }) => envelope.id)).size).toBe(4)
    expect(url.made.find(({ text }) => text === 'd')!.envelope.id).toBe('mine')
  })

  it('gives two gaps of the same span different ids: the second is no repetition of the first', async () => {
    const ids: string[] = []
    for (let life = 0; life < 2; life++) {
      const url = new ScriptedReceiver()
      url.open()
      url.answers = [REFUSES]
      url.publish('a')
      await url.run(100)
      ids.push(url.made.at(-1)!.envelope.id)
      expect(url.made.at(-1)!.text).toBe('gap')
    }
    expect(new Set(ids).size).toBe(2)
  })
})
