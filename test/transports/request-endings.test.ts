import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Answer, FAILS, OK, REFUSES, ScriptedReceiver } from './scripted-receiver.ts'

const rejections: unknown[] = []
const note = (reason: unknown): void => void rejections.push(reason)
beforeEach(() => void process.on('unhandledRejection', note))
afterEach(() => {
  process.off('unhandledRejection', note)
  expect(rejections.splice(0)).toEqual([])
})

/** Nothing is left: no timer but the hub's own, no attempt, nothing in the books. */
async function expectRest(url: ScriptedReceiver): Promise<void> {
  await url.run()
  expect(url.underWay).toBe(0)
  expect(url.metrics).toMatchObject({ active: 0, queues: { pending: 0, unconfirmed: 0, bytes: 0 } })
  await url.hub.close()
  await url.run()
  expect(url.scheduler.timers).toBe(0)
}

describe('a send that nobody waits for any more', () => {
  it.each([
    ['its time is over', 'SEND_TIMEOUT', { timeoutMs: 20 }],
    ['its caller gives up', 'SEND_ABORTED', {}],
  ])('%s: its attempt is cancelled and the next message goes on', async (_, code, options) => {
    const url = new ScriptedReceiver()
    url.open()
    const caller = new AbortController()
    if (code === 'SEND_ABORTED') url.scheduler.after(20, () => caller.abort())
    url.answers = ['never', OK]
    const [first, second] = [url.send('a', { ...options, signal: caller.signal }), url.send('b')]
    await url.run(19)
    expect(url.made[0]!.signal.aborted).toBe(false)
    await url.run(1)
    expect(url.made[0]!.signal.aborted).toBe(true)
    expect([first, second]).toEqual([
      { result: code, at: 20 },
      { result: 'ok', at: 20 },
    ])
    expect(url.tries).toEqual([
      ['a', 0],
      ['b', 20],
    ])
    expect(url.of('undelivered')).toEqual([])
    expect(url.metrics).toMatchObject({ count: 2, errors: { SEND_ABORTED: 1 } })
    await expectRest(url)
  })

  it('is not followed by attempts at others that are given up in the same turn', async () => {
    const url = new ScriptedReceiver()
    url.open()
    url.answers = ['never']
    // Each of these timers is a callback of its own, with all promises heard in between, as in Node.
    const callers = Array.from({ length: 50 }, () => new AbortController())
    const sends = callers.map((caller, i) => url.send(`${i}`, { signal: caller.signal }))
    const last = url.send('last')
    await url.run(5)
    for (const caller of callers) {
      caller.abort()
      for (let i = 0; i < 20; i++) await undefined
    }
    await url.run()
    expect(new Set(sends.map(({ result }) => result))).toEqual(new Set(['SEND_ABORTED']))
    expect(last.result).toBe('ok')
    expect(url.tries.map(([text]) => text)).toEqual(['0', 'last'])
    await expectRest(url)
  })

  it('while it waits for its next attempt: there is none, and the next message goes on', async () => {
    const url = new ScriptedReceiver()
    url.open()
    url.answers = [{ kind: 'retry', why: 'status 429', afterMs: 20_000 }]
    const [first, second] = [url.send('a', { timeoutMs: 100 }), url.send('b')]
    await url.run(100)
    expect([first, second]).toEqual([
      { result: 'SEND_TIMEOUT', at: 100 },
      { result: 'ok', at: 100 },
    ])
    expect(url.tries).toEqual([
      ['a', 0],
      ['b', 100],
    ])
    await expectRest(url)
  })

  it('while it is in the connection’s hand, or still in the outbox: it is never tried', async () => {
    const url = new ScriptedReceiver()
    url.open()
    url.otherwise = { kind: 'later', ms: 100, outcome: OK }
    const inHand = [url.send('a'), url.send('b', { timeoutMs: 50 })]
    await url.run(10)
    const inOutbox = [url.send('c', { timeoutMs: 50 }), url.send('d')]
    await url.run(300)
    expect(url.tries).toEqual([
      ['a', 0],
      ['d', 100],
    ])
    expect(inHand).toEqual([
      { result: 'ok', at: 100 },
      { result: 'SEND_TIMEOUT', at: 50 },
    ])
    expect(inOutbox).toEqual([
      { result: 'SEND_TIMEOUT', at: 60 },
      { result: 'ok', at: 200 },
    ])
    await expectRest(url)
  })

  it('given up by a handler that hears of its retry: the next message need not wait', async () => {
    const url = new ScriptedReceiver()
    url.open()
    const caller = new AbortController()
    url.hub.events.on('retry', () => caller.abort())
    url.answers = [{ kind: 'retry', why: 'status 429', afterMs: 20_000 }]
    const [first, second] = [url.send('a', { signal: caller.signal }), url.send('b')]
    await url.run(1)
    expect([first.result, second]).toEqual(['SEND_ABORTED', { result: 'ok', at: 0 }])
    await expectRest(url)
  })
})

describe('the end of a client', () => {
  /** Where it may be when its end comes. */
  const PLACES: [where: string, answers: Answer[], ms: number][] = [
    ['while an attempt is under way', ['never'], 10],
    ['while it waits for the next attempt', [FAILS], 10],
    ['while it waits for as long as it was asked to', [{ kind: 'retry', why: 'status 429', afterMs: 60_000 }], 10],
    ['while its circuit is open', [FAILS, FAILS, FAILS, FAILS, FAILS], 1000],
  ]

  it.each(PLACES)('%s: everything stops at once, and everybody hears why', async (_, answers, ms) => {
    const farewells: string[] = []
    const url = new ScriptedReceiver({ farewell: reason => farewells.push(reason) })
    url.open()
    url.answers = [...answers]
    url.publish('a')
    url.publish('b')
    await url.run(ms)
    const open = url.circuits.length > 0
    const sends = [url.send('c'), url.send('d')]
    await url.run(5)
    const tried = url.made.length
    url.hub.unregisterClient('url', 'denied')
    await url.run()
    expect(url.made.at(-1)!.signal.aborted).toBe(answers[0] === 'never')
    for (const { result } of sends) expect(result).toBe(open ? 'CIRCUIT_OPEN' : 'CONNECTION_STALE')
    expect(url.metrics).toMatchObject({ active: 0, errors: { CONNECTION_STALE: 1 } })
    expect(url.hub.getConnectionStats()).toMatchObject({ pending: 0, queuedBytes: 0 })
    expect(farewells).toEqual(['denied'])
    await url.run(100_000)
    expect(url.made).toHaveLength(tried)
    await expectRest(url)
  })

  it.each(PLACES)('%s, at a shutdown: it is told as such', async (_, answers, ms) => {
    const url = new ScriptedReceiver()
    url.open()
    url.answers = [...answers]
    url.send('a')
    url.publish('b')
    await url.run(ms)
    const send = url.send('c')
    await url.run(5)
    await url.hub.close()
    await url.run()
    expect(['SHUTTING_DOWN', 'CIRCUIT_OPEN']).toContain(send.result)
    expect(url.metrics.errors.CONNECTION_STALE).toBeUndefined()
    expect(url.metrics).toMatchObject({ active: 0 })
    expect(url.scheduler.timers).toBe(0)
  })

  it('another client of the same id begins anew: nothing of the older one’s reaches it', async () => {
    const url = new ScriptedReceiver()
    url.open()
    url.answers = ['never']
    const sends = [url.send('a'), url.send('b')]
    url.publish('c')
    await url.run(10)
    url.open()
    await url.run()
    expect(sends.map(({ result }) => result)).toEqual(['CONNECTION_STALE', 'CONNECTION_STALE'])
    expect(url.made[0]!.signal.aborted).toBe(true)
    url.publish('d')
    const later = url.send('e')
    await url.run(10)
    expect(url.tries).toEqual([
      ['a', 0],
      ['d', 10],
      ['e', 10],
    ])
    expect(later.result).toBe('ok')
    await expectRest(url)
  })

  it('what is answered after the end is not heard', async () => {
    const url = new ScriptedReceiver()
    url.open()
    url.answers = [{ kind: 'later', ms: 20, outcome: { kind: 'gone', why: 'status 410' } }]
    url.publish('a')
    await url.run(10)
    url.open()
    await url.run(100)
    expect(url.of('unregister')).toMatchObject([{ reason: 'replaced' }])
    expect(url.hub.getClient('url').circuit).toBe('closed')
  })

  it('410 says no farewell: there is nobody to say it to', async () => {
    const farewells: string[] = []
    const url = new ScriptedReceiver({ farewell: reason => farewells.push(reason) })
    url.open()
    url.answers = [{ kind: 'gone', why: 'status 410' }]
    url.publish('a')
    await url.run()
    expect(farewells).toEqual([])
  })
})

describe('a handler that ends the client inside', () => {
  const HALF_OPEN = [FAILS, FAILS, FAILS, FAILS, FAILS]
  it.each<['retry' | 'undelivered' | 'circuit' | 'gap', string | undefined, Answer[], number]>([
    ['retry', undefined, [FAILS], 0],
    ['undelivered', undefined, [REFUSES], 0],
    ['circuit', 'open', HALF_OPEN, 350],
    ['circuit', 'half-open', HALF_OPEN, 10_350],
    ['circuit', 'closed', [...HALF_OPEN, OK], 10_350],
    // An answer that says no closes the circuit and is to be told as undelivered.
    ['circuit', 'closed', [...HALF_OPEN, REFUSES], 10_350],
    ['gap', undefined, [REFUSES, REFUSES], 0],
  ])('%s %s', async (event, circuit, answers, at) => {
    const url = new ScriptedReceiver()
    url.open()
    url.hub.events.on(event, (about: object) => {
      if (circuit === (about as { circuit?: string }).circuit) url.hub.unregisterClient('url', 'denied')
    })
    url.answers = [...answers]
    url.publish('a')
    url.publish('b')
    await url.run(20_000)
    expect(url.of('fault')).toEqual([])
    expect(url.told.find(({ event }) => event === 'unregister')).toMatchObject({ at, about: { reason: 'denied' } })
    expect(url.made.length).toBeLessThanOrEqual(answers.length)
    await expectRest(url)
  })

  it('does so when it hears of a retry, and no wait goes on for nobody', async () => {
    const url = new ScriptedReceiver()
    url.open()
    url.hub.events.on('retry', () => url.hub.unregisterClient('url', 'denied'))
    url.answers = [{ kind: 'retry', why: 'status 429', afterMs: 60_000 }]
    url.publish('a')
    await url.run(1)
    expect(url.metrics.active).toBe(0)
    await expectRest(url)
  })
})

describe('what must not happen, and does', () => {
  it('a handler that throws is told as a fault and changes nothing', async () => {
    const url = new ScriptedReceiver()
    url.open()
    for (const event of ['retry', 'undelivered', 'circuit'] as const) {
      url.hub.events.on(event, () => {
        throw new Error(event)
      })
    }
    url.otherwise = FAILS
    const sends = [url.send('a'), url.send('b')]
    await url.run(350)
    expect(sends.map(({ result }) => result)).toEqual(['SEND_FAILED', 'CIRCUIT_OPEN'])
    expect(url.of('fault')).toHaveLength(3 + 1 + 1)
    await expectRest(url)
  })

  it('an attempt that rejects counts as failed and is told as a fault', async () => {
    const url = new ScriptedReceiver()
    url.open()
    const fault = new TypeError('secret detail')
    url.answers = [fault, fault, OK]
    const sent = url.send('a')
    await url.run(1000)
    expect(url.made.map(({ at }) => at)).toEqual([0, 50, 150])
    expect(sent.result).toBe('ok')
    expect(url.of('fault')).toEqual([
      { error: fault, where: 'request to receiver.test' },
      { error: fault, where: 'request to receiver.test' },
    ])
    expect(url.of('retry')).toMatchObject([{ why: 'TypeError' }, { why: 'TypeError' }])
    await expectRest(url)
  })

  it('an attempt that never settles, cancelled or not, holds up its client no longer than the send lasts', async () => {
    const url = new ScriptedReceiver()
    url.open()
    url.answers = ['never', OK]
    const first = url.send('a', { timeoutMs: 1000 })
    url.publish('b')
    await url.run(1000)
    expect(first.result).toBe('SEND_TIMEOUT')
    expect(url.tries.at(-1)).toEqual(['b', 1000])
    await expectRest(url)
  })

  it('a ping that rejects says nothing against the client', async () => {
    const url = new ScriptedReceiver({ ping: () => Promise.reject(new Error('broken')) })
    url.open()
    const active = url.hub.isActive('url')
    await url.run()
    expect(await active).toBe(true)
    expect(url.of('fault')).toMatchObject([{ where: 'ping of receiver.test' }])
    await expectRest(url)
  })
})

describe('ping', () => {
  it.each([
    ['there', true, 0],
    ['unknown', true, 0],
    ['gone', false, 1],
  ] as const)('%s: isActive is %s', async (state, active, unregistered) => {
    const url = new ScriptedReceiver({ ping: async () => state })
    url.open()
    const asked = url.hub.isActive('url')
    await url.run()
    expect(await asked).toBe(active)
    expect(url.of('unregister')).toHaveLength(unregistered)
    await expectRest(url)
  })

  it('is cancelled with the client, which is then not there', async () => {
    let signal: AbortSignal | undefined
    const url = new ScriptedReceiver({
      ping: cancelled => {
        signal = cancelled
        return new Promise(resolve => cancelled.addEventListener('abort', () => resolve('unknown')))
      },
    })
    url.open()
    const asked = url.hub.isActive('url')
    await url.run(10)
    url.hub.unregisterClient('url')
    expect([signal?.aborted, await asked]).toEqual([true, false])
  })

  it('is not asked where the receiver cannot be: a registered client is active', async () => {
    const url = new ScriptedReceiver()
    url.open()
    expect([await url.hub.isActive('url'), await url.hub.isActive('nobody')]).toEqual([true, false])
  })
})

describe('a registration that fails after something was flushed to the client', () => {
  /** A loop that never ends asks the clock without end: the test fails, where it would hang. */
  function limitClock({ scheduler }: ScriptedReceiver): void {
    const now = scheduler.now.bind(scheduler)
    let calls = 0
    scheduler.now = () => {
      if (++calls > 10_000) throw new Error('the clock was asked 10,000 times: something loops without end')
      return now()
    }
  }

  const topics = [{ name: 'a' }, { name: 'b' }]

  it('fails with its error, posts nothing, and the process goes on', async () => {
    const url = new ScriptedReceiver({ topics, limits: { maxSubscriptionsPerClient: 1 } })
    limitClock(url)
    // So much that it is flushed inside of the registration.
    url.hub.events.on('subscribe', ({ topic }) => url.publish('x'.repeat(300 * 1024), topic))
    expect(() => url.open()).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }))
    await url.run(10)
    expect(url.made).toEqual([])
    expect(url.hub.getConnectionStats()).toMatchObject({ clients: 0, subscriptions: 0, pending: 0 })
    await expectRest(url)
  })

  it('fails what a handler has sent to it alone', async () => {
    const url = new ScriptedReceiver({ topics, limits: { maxSubscriptionsPerClient: 1 } })
    limitClock(url)
    let sent: ReturnType<ScriptedReceiver['send']> | undefined
    url.hub.events.on('subscribe', ({ topic }) => {
      sent = url.send('direct')
      url.publish('x'.repeat(300 * 1024), topic)
    })
    expect(() => url.open()).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }))
    await url.run(10)
    expect([url.made, sent]).toEqual([[], { result: 'CONNECTION_STALE', at: 0 }])
    await expectRest(url)
  })
})
