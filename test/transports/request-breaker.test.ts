import { describe, expect, it } from 'vitest'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { FAILS, GONE, OK, REFUSES, ScriptedReceiver } from './scripted-receiver.ts'

const COOL_DOWN_MS = 10_000

/** Fails until it is told otherwise; `a` is given up at 350, and what follows opens the circuit there. */
function failing(options = {}): ScriptedReceiver {
  const url = new ScriptedReceiver(options)
  url.open()
  url.otherwise = FAILS
  return url
}

describe('the circuit of a client that is a URL', () => {
  it('opens with the fifth failure in a row, over messages, and says why', async () => {
    const url = failing()
    url.publish('a')
    url.publish('b')
    await url.run(349)
    expect(url.circuits).toEqual([])
    expect(url.metrics.circuits).toEqual({ closed: 1, open: 0, 'half-open': 0 })
    await url.run(1)
    expect(url.tries.slice(-2)).toEqual([
      ['a', 350],
      ['b', 350],
    ])
    expect(url.told.filter(({ event }) => event === 'circuit')).toEqual([
      { at: 350, event: 'circuit', about: expect.objectContaining({ id: 'url', circuit: 'open', why: 'status 503' }) },
    ])
    expect(url.metrics.circuits).toEqual({ closed: 0, open: 1, 'half-open': 0 })
    expect(url.hub.getClient('url').circuit).toBe('open')
  })

  it('opens for a receiver that hangs, also where every sender gives up before the attempt does', async () => {
    const url = failing()
    url.otherwise = 'never'
    for (let i = 0; i < 5; i++) {
      const sent = url.send(`s${i}`, { timeoutMs: 1000 })
      await url.run(1000)
      expect(sent.result).toBe('SEND_TIMEOUT')
    }
    expect(url.circuits).toEqual([['open', 5000]])
    expect(url.of('circuit')).toMatchObject([{ why: 'no answer within 1000 ms' }])
  })

  it('takes a sender that cannot wait for no failure of the receiver', async () => {
    const url = failing()
    url.otherwise = 'never'
    for (let i = 0; i < 20; i++) {
      url.send(`s${i}`, { timeoutMs: 999 })
      await url.run(999)
    }
    expect(url.circuits).toEqual([])
  })

  it('a success between failures begins the count anew', async () => {
    const url = failing()
    url.answers = [FAILS, FAILS, FAILS, FAILS, OK, FAILS, FAILS, FAILS, FAILS]
    url.otherwise = OK
    for (const text of ['a', 'b', 'c']) url.publish(text)
    await url.run(2000)
    expect(url.circuits).toEqual([])
  })

  it('an answer that says no is an answer: it closes, and never opens', async () => {
    const url = failing()
    url.answers = [FAILS, FAILS, FAILS, FAILS, REFUSES, FAILS, FAILS, FAILS, FAILS]
    url.otherwise = OK
    for (const text of ['a', 'b', 'c']) url.publish(text)
    await url.run(2000)
    expect(url.circuits).toEqual([])
  })

  it('a message of a topic waits for it, is the one probe after 10 s, and then everything goes on in order', async () => {
    const url = failing()
    for (const text of ['a', 'b', 'c']) url.publish(text)
    await url.run(350)
    url.otherwise = { kind: 'later', ms: 70, outcome: OK }
    await url.run(COOL_DOWN_MS - 1)
    url.publish('d')
    expect(url.made).toHaveLength(5)
    await url.run(1)
    expect(url.tries.at(-1)).toEqual(['b', 10_350])
    expect(url.metrics.circuits).toEqual({ closed: 0, open: 0, 'half-open': 1 })
    await url.run(69)
    expect(url.made).toHaveLength(6)
    await url.run(1000)
    expect(url.circuits).toEqual([
      ['open', 350],
      ['half-open', 10_350],
      ['closed', 10_420],
    ])
    expect(url.tries.slice(5)).toEqual([
      ['b', 10_350],
      ['c', 10_420],
      ['gap', 10_490],
      ['d', 10_560],
    ])
    // Its attempts were counted anew from the probe on, and it was not given up.
    expect(url.of('undelivered')).toMatchObject([{ attempts: 4 }])
    expect(url.metrics).toMatchObject({ active: 0, retries: 3, queues: { pending: 0, unconfirmed: 0 } })
  })

  it('a probe that fails opens it again for another 10 s, as often as it takes', async () => {
    const url = failing()
    for (const text of ['a', 'b']) url.publish(text)
    await url.run(350 + 3 * COOL_DOWN_MS + 10)
    expect(url.tries.slice(5)).toEqual([
      ['b', 10_350],
      ['b', 20_350],
      ['b', 30_350],
    ])
    expect(url.circuits).toEqual([
      ['open', 350],
      ...[10_350, 20_350, 30_350].flatMap(at => [
        ['half-open', at],
        ['open', at],
      ]),
    ])
    expect(url.of('undelivered')).toHaveLength(1)
    expect(url.metrics).toMatchObject({ active: 1, retries: 3, queues: { pending: 1 } })
  })

  it('once it is closed counts failures anew, and a message has all its attempts', async () => {
    const url = failing()
    for (const text of ['a', 'b', 'c']) url.publish(text)
    await url.run(350)
    url.answers = [OK, FAILS, FAILS, FAILS, FAILS]
    url.otherwise = OK
    await url.run(COOL_DOWN_MS + 1000)
    expect(url.circuits.map(([circuit]) => circuit)).toEqual(['open', 'half-open', 'closed'])
    expect(url.tries.filter(([text]) => text === 'c')).toHaveLength(4)
    expect(url.of('circuit')).toMatchObject([{ why: 'status 503' }, { why: undefined }, { why: undefined }])
  })

  it('a probe that is refused gives its message up, with all the attempts that it had', async () => {
    const url = failing()
    for (const text of ['a', 'b']) url.publish(text)
    await url.run(360 + COOL_DOWN_MS)
    url.answers = [REFUSES]
    url.otherwise = OK
    await url.run(COOL_DOWN_MS)
    expect(url.of('undelivered')).toMatchObject([{ attempts: 4 }, { attempts: 3, why: 'status 400' }])
    expect(url.circuits.at(-1)).toEqual(['closed', 20_350])
  })

  it('a probe that is told 410 ends the client', async () => {
    const url = failing()
    for (const text of ['a', 'b']) url.publish(text)
    await url.run(360)
    url.otherwise = GONE
    await url.run(COOL_DOWN_MS)
    expect(url.of('unregister')).toMatchObject([{ reason: 'peer' }])
    expect(url.hub.getMetrics().circuits).toEqual({ closed: 0, open: 0, 'half-open': 0 })
  })

  it('keeps closed longer to a receiver that asked for more than 10 s', async () => {
    const url = failing({ breaker: { failures: 2 } })
    url.answers = [FAILS, { kind: 'retry', why: 'status 429', afterMs: 30_000 }]
    url.otherwise = OK
    url.publish('a')
    await url.run(40_000)
    expect(url.tries).toEqual([
      ['a', 0],
      ['a', 50],
      ['a', 30_050],
    ])
  })
})

describe('sends and an open circuit', () => {
  it('those that wait and new ones fail at once; messages of topics are not touched', async () => {
    const url = failing()
    const first = url.send('a')
    await url.run(10)
    const waiting = [url.send('b'), url.send('c')]
    url.publish('d')
    await url.run(340)
    expect(first).toEqual({ result: 'SEND_FAILED', at: 350 })
    expect(waiting).toEqual([
      { result: 'CIRCUIT_OPEN', at: 350 },
      { result: 'CIRCUIT_OPEN', at: 350 },
    ])
    await url.run(100)
    const late = url.send('e')
    await url.run()
    expect(late).toEqual({ result: 'CIRCUIT_OPEN', at: 450 })
    url.otherwise = OK
    await url.run(COOL_DOWN_MS)
    // `b` opened it, `d` is the probe: nothing of what was told to have failed is sent any more.
    expect(url.tries.slice(4)).toEqual([
      ['b', 350],
      ['d', 10_350],
    ])
    const { operations } = url.hub.getMetrics()
    expect(operations.send).toMatchObject({ count: 4, active: 0, errors: { SEND_FAILED: 1, CIRCUIT_OPEN: 3 } })
    expect(operations.callback).toMatchObject({ count: 3, active: 0, errors: { SEND_FAILED: 1, CIRCUIT_OPEN: 1 } })
  })

  it('half-open comes with the clock alone: a client that is only sent to is not shut out for ever', async () => {
    const url = failing({ topics: [] })
    const sends = [url.send('a'), url.send('b')]
    await url.run(350 + COOL_DOWN_MS - 1)
    expect(sends.map(({ result }) => result)).toEqual(['SEND_FAILED', 'CIRCUIT_OPEN'])
    expect(url.hub.getClient('url').circuit).toBe('open')
    await url.run(1)
    expect(url.circuits).toEqual([
      ['open', 350],
      ['half-open', 10_350],
    ])
    url.otherwise = OK
    const probe = url.send('c')
    await url.run()
    expect(probe).toEqual({ result: 'ok', at: 10_350 })
    expect(url.circuits.at(-1)).toEqual(['closed', 10_350])
  })

  it('half-open lets one attempt through: the sends behind it wait for how it goes', async () => {
    const url = failing({ topics: [] })
    for (const text of ['a', 'b']) url.send(text)
    await url.run(350 + COOL_DOWN_MS)
    url.answers = [{ kind: 'later', ms: 100, outcome: FAILS }]
    const sends = ['c', 'd', 'e'].map(text => url.send(text))
    await url.run(99)
    expect(url.tries.slice(5)).toEqual([['c', 10_350]])
    await url.run(1)
    expect(sends).toEqual(['c', 'd', 'e'].map(() => ({ result: 'CIRCUIT_OPEN', at: 10_450 })))
    expect(url.tries.slice(5)).toEqual([['c', 10_350]])
    expect(url.circuits.slice(1)).toEqual([
      ['half-open', 10_350],
      ['open', 10_450],
    ])
  })

  it('a probe that nobody waits for any more decides nothing: the next message is the probe', async () => {
    const url = failing({ topics: [] })
    for (const text of ['a', 'b']) url.send(text)
    await url.run(350 + COOL_DOWN_MS)
    url.answers = ['never', OK]
    const sends = [url.send('c', { timeoutMs: 20 }), url.send('d')]
    await url.run(30)
    expect(sends).toEqual([
      { result: 'SEND_TIMEOUT', at: 10_370 },
      { result: 'ok', at: 10_370 },
    ])
    expect(url.circuits.slice(1)).toEqual([
      ['half-open', 10_350],
      ['closed', 10_370],
    ])
  })

  it('one client’s circuit is no other’s', async () => {
    const url = failing({ topics: [] })
    url.open('other')
    for (const text of ['a', 'b']) url.send(text)
    await url.run(350)
    url.otherwise = OK
    const sends = [url.send('c'), url.send('d', { to: 'other' })]
    await url.run()
    expect(sends.map(({ result }) => result)).toEqual(['CIRCUIT_OPEN', 'ok'])
    expect(url.metrics.circuits).toEqual({ closed: 1, open: 1, 'half-open': 0 })
  })

  it('broadcast goes on past it', async () => {
    const url = failing({ topics: [] })
    url.open('other')
    for (const text of ['a', 'b']) url.send(text)
    await url.run(350)
    url.otherwise = OK
    const broadcast = url.hub.broadcast(['url', 'other'], 'c')
    await url.run()
    const { results, error } = await broadcast
    expect(results).toMatchObject([
      { ok: false, error: { code: 'CIRCUIT_OPEN' } },
      { ok: true, confirmed: true },
    ])
    expect(error?.code).toBe('BROADCAST_PARTIAL_FAILURE')
  })

  it('while a best-effort topic waits for the probe, what is published meanwhile is lost and told', async () => {
    const url = failing({ breaker: { failures: 1 }, topics: [{ name: 'news', policy: bestEffort() }] })
    url.publish('a')
    await url.run(100)
    for (const text of ['b', 'c']) url.publish(text)
    await url.run(100)
    url.otherwise = OK
    await url.run(COOL_DOWN_MS)
    expect(url.tries).toEqual([
      ['a', 0],
      ['a', 10_000],
      ['gap', 10_000],
    ])
    const [news] = url.hub.getClient('url').subscriptions
    expect(news).toMatchObject({ published: 3, delivered: 1, dropped: 2, pending: 0 })
  })
})
