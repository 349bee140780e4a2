import { describe, expect, it, vi } from 'vitest'
import type { Scheduler } from '../../src/core/scheduler.ts'
import { openTopics } from '../../src/open-topics.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { reliable } from '../../src/policies/reliable.ts'
import { RunningTime } from '../../src/running-time.ts'
import type { ShutdownOptions, ShutdownReport } from '../../src/sending/shutdown.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { type Heard, heard, listen, type SendingWorld, sendingWorld } from './sending.ts'

const noHistory = openTopics({ history: { messages: 0, bytes: 0, ageMs: 0 } })
const CALM = { sends: { finished: 0, abandoned: 0 }, messages: { settled: 0, abandoned: 0 } }

function setUp() {
  const world = sendingWorld({ policy: buffered(), topics: noHistory })
  const { hub, scheduler } = world
  /** When each client was closed. */
  const closed = new Map<string, number>()
  hub.events.on('unregister', ({ id }) => closed.set(id, scheduler.now()))
  return { ...world, closed, end: (options?: ShutdownOptions) => heard(hub.shutdown(options)) }
}

/** Time passes, ms by ms, and whoever waits for a promise gets on. */
async function pass(world: SendingWorld, ms: number): Promise<void> {
  await listen()
  for (let i = 0; i < ms; i++) {
    world.scheduler.advance(1)
    await listen()
  }
}

/** Time passes until it is over; how much. */
async function until(world: SendingWorld, ending: Heard<ShutdownReport>, most = 5000): Promise<ShutdownReport> {
  for (let i = 0; i < most && ending.ends === 0; i++) await pass(world, 1)
  await listen()
  expect(ending.error).toBeUndefined()
  expect(ending.ends).toBe(1)
  return ending.result!
}

describe('shutdown', () => {
  it('of a hub at rest is done at once', async () => {
    const world = setUp()
    const ending = world.end()
    await listen()
    expect(ending.result).toEqual({ outcome: 'drained', ms: 0, ...CALM, clients: { closed: 0, behind: 0 } })
    expect(world.scheduler.timers).toBe(0)
  })

  it('refuses new work at once, and what is under way goes on', async () => {
    const world = setUp()
    const { hub, send } = world
    const one = world.connect('one', { window: 0 })
    // What is over is not in the report.
    for (let i = 0; i < 3; i++) send('nobody')
    hub.subscribe('one', 't')
    world.publish('t', 'published before')
    const before = send('one', 'sent before')
    const ending = world.end()
    const codes: string[] = []
    for (const work of [
      () => hub.publishBytes('t', new Uint8Array(1)),
      () => hub.routeData('t', new Uint8Array(1)),
      () => hub.subscribe('one', 'u'),
      () => world.connect('two'),
    ]) {
      try {
        work()
      } catch (error) {
        codes.push((error as { code: string }).code)
      }
    }
    const [after, cast] = [send('one'), heard(hub.broadcast(['one'], 'x'))]
    await listen()
    expect([...codes, after.error!.code, cast.error!.code]).toEqual(Array(6).fill('SHUTTING_DOWN'))
    await pass(world, 100)
    expect([ending.ends, before.ends, one.closedFor]).toEqual([0, 0, undefined])
    one.read()
    const report = await until(world, ending)
    expect(before).toMatchObject({ ends: 1, error: undefined })
    expect(one.received.map(each => (each.kind === 'gap' ? '' : each.text))).toEqual([
      'published before',
      'sent before',
    ])
    expect(report).toEqual({
      outcome: 'drained',
      ms: 120,
      sends: { finished: 1, abandoned: 0 },
      messages: { settled: 1, abandoned: 0 },
      clients: { closed: 1, behind: 0 },
    })
    expect(one.closedFor).toBe('shutdown')
    expect(world.scheduler.timers).toBe(0)
  })

  it('waits for confirmations, of links and of requests', async () => {
    const world = setUp()
    const { hub, publish } = world
    hub.setDeliveryPolicy('t', reliable())
    const one = world.connect('one')
    hub.subscribe('one', 't')
    const receiver = world.receiver('receiver')
    publish('t')
    const sent = world.send('receiver')
    const ending = world.end()
    await pass(world, 50)
    expect(ending.ends).toBe(0)
    receiver.open[0]!.settle()
    await pass(world, 50)
    expect([sent.ends, ending.ends]).toEqual([1, 0])
    one.client!.confirmed('t', 1)
    const report = await until(world, ending)
    expect(report).toMatchObject({
      outcome: 'drained',
      sends: { finished: 1, abandoned: 0 },
      messages: { settled: 1, abandoned: 0 },
      clients: { closed: 2, behind: 0 },
    })
  })

  it('waits for a broadcast, with all that this has not begun', async () => {
    const world = setUp()
    const ids = ['a', 'b', 'c', 'd']
    const clients = ids.map(id => world.receiver(id))
    const cast = heard(world.hub.broadcast(ids, 'x', { concurrency: 1 }))
    const ending = world.end()
    for (const client of clients) {
      await pass(world, 30)
      expect(ending.ends).toBe(0)
      client.open[0]!.settle()
    }
    const report = await until(world, ending)
    expect(cast.result).toMatchObject({ sent: 4, failed: 0 })
    expect(report).toMatchObject({ outcome: 'drained', sends: { finished: 4, abandoned: 0 } })
  })

  it('also while a broadcast gives the event loop its turn and nothing is under way', async () => {
    const world = setUp()
    const nobody = Array.from({ length: 100 }, (_, i) => `nobody-${i}`)
    const last = world.receiver('last')
    const cast = heard(world.hub.broadcast([...nobody, 'last'], 'x'))
    const ending = world.end()
    await listen()
    expect([ending.ends, last.closedFor]).toEqual([0, undefined])
    await pass(world, 5)
    last.open[0]!.settle()
    const report = await until(world, ending)
    expect(cast.result).toMatchObject({ sent: 1, failed: 100 })
    expect(report).toMatchObject({ outcome: 'drained', sends: { finished: 1, abandoned: 0 } })
  })

  it('who goes in the drain has lost what it was owed meanwhile', async () => {
    const world = setUp()
    const { hub, publish } = world
    const slow = world.connect('slow', { window: 0 })
    hub.subscribe('slow', 't')
    for (let i = 0; i < 3; i++) {
      publish('t')
      world.scheduler.settle()
    }
    const ending = world.end()
    await pass(world, 10)
    slow.client!.close('peer')
    const report = await until(world, ending)
    expect(report).toMatchObject({ messages: { settled: 2, abandoned: 0 }, clients: { closed: 0, behind: 0 } })
  })

  it('a stalled client cannot hold it beyond drainMs, and what it was owed is in the report', async () => {
    const world = setUp()
    const { hub, send, publish } = world
    const stalled = world.connect('stalled', { window: 0 })
    const healthy = world.connect('healthy')
    const waiting = world.connect('waiting', { window: 0 })
    for (const id of ['stalled', 'healthy']) hub.subscribe(id, 't')
    // What somebody lost who went before is not in the report.
    world.connect('early', { window: 0 })
    hub.subscribe('early', 'u')
    for (let i = 0; i < 3; i++) publish('u')
    world.scheduler.settle()
    publish('u')
    hub.unregisterClient('early')
    publish('t')
    world.scheduler.settle()
    for (let i = 0; i < 4; i++) publish('t')
    const [hand, queued, fine] = [send('stalled', 'a'), send('waiting', 'b'), send('healthy', 'c')]
    const ending = world.end({ deadlineMs: 1000, drainMs: 305 })
    const report = await until(world, ending)
    expect(report).toEqual({
      outcome: 'deadline',
      ms: 305,
      sends: { finished: 1, abandoned: 2 },
      messages: { settled: 4, abandoned: 4 },
      clients: { closed: 3, behind: 2 },
    })
    expect([hand, queued].map(({ error }) => error!.code)).toEqual(['SHUTTING_DOWN', 'SHUTTING_DOWN'])
    expect(hand.error!.message).toBe('the hub shut down before it was sent')
    expect(fine.error).toBeUndefined()
    expect([stalled, healthy, waiting].map(({ closedFor }) => closedFor)).toEqual(Array(3).fill('shutdown'))
    expect(world.kept()).toEqual({ queued: 0, kept: 0 })
    expect(hub.getConnectionStats().pending).toBe(0)
  })

  it('does not count the time in which the process was stopped', async () => {
    const manual = new ManualScheduler()
    const running = new RunningTime(manual)
    const scheduler: Scheduler = {
      now: () => manual.now(),
      defer: run => manual.defer(run),
      after: (ms, run) => running.after(ms, run),
      every: (ms, run) => manual.every(ms, run),
    }
    const world = sendingWorld({ scheduler })
    const go = (ms: number) => pass({ ...world, scheduler: manual }, ms)
    const slow = world.connect('slow', { window: 0 })
    const sent = world.send('slow')
    const ending = heard(world.hub.shutdown({ deadlineMs: 2000, drainMs: 1000 }))
    await go(500)
    manual.block(10_000)
    await go(300)
    slow.read()
    await go(200)
    expect(ending.result).toMatchObject({ outcome: 'drained', sends: { finished: 1, abandoned: 0 } })
    expect(sent.error).toBeUndefined()
  })

  it('does not sum up over all clients again and again while it waits', async () => {
    const world = setUp()
    const { hub } = world
    const slow = world.connect('slow', { window: 0 })
    hub.subscribe('slow', 't')
    for (let i = 0; i < 3; i++) {
      world.publish('t')
      world.scheduler.settle()
    }
    const summed = vi.spyOn(hub, 'getConnectionStats')
    const ending = world.end()
    await pass(world, 1000)
    expect([ending.ends, summed.mock.calls.length]).toEqual([0, 1])
    slow.read()
    expect(await until(world, ending)).toMatchObject({ outcome: 'drained', messages: { settled: 2, abandoned: 0 } })
    expect(summed.mock.calls).toHaveLength(3)
  })

  it('drains for half of the deadline, where nothing else is said, and 30 s is the deadline', async () => {
    const world = setUp()
    world.connect('stalled', { window: 0 })
    world.send('stalled', 'x', { timeoutMs: 60_000 })
    const ending = world.end()
    for (let i = 0; i < 749; i++) {
      world.scheduler.advance(20)
      await listen()
    }
    expect(ending.ends).toBe(0)
    world.scheduler.advance(20)
    await listen()
    expect(ending.result).toMatchObject({ outcome: 'deadline', ms: 15_000 })
  })

  it('a drain longer than the deadline ends with that', async () => {
    const world = setUp()
    world.connect('stalled', { window: 0 })
    world.send('stalled')
    const report = await until(world, world.end({ deadlineMs: 100, drainMs: 1000, spreadMs: 1000 }))
    expect(report).toMatchObject({ outcome: 'deadline', ms: 100, clients: { closed: 1 } })
  })

  it('what a broadcast has not begun when it is given up is never begun', async () => {
    const world = setUp()
    const ids = ['a', 'b', 'c']
    const clients = ids.map(id => world.receiver(id))
    const cast = heard(world.hub.broadcast(ids, 'x', { concurrency: 1 }))
    const report = await until(world, world.end({ drainMs: 50, spreadMs: 100 }))
    expect(report).toMatchObject({ outcome: 'deadline', sends: { finished: 0, abandoned: 1 } })
    expect(cast.result!.results.map(result => (result.ok ? 'ok' : result.error.code))).toEqual(
      Array(3).fill('SHUTTING_DOWN'),
    )
    expect(clients.map(({ parcels }) => parcels.length)).toEqual([1, 0, 0])
  })

  it('closes the clients evenly over the spread, each with a hint of its own', async () => {
    const world = setUp()
    const connections = Array.from({ length: 10 }, (_, i) => world.connect(`c${i}`))
    const report = await until(world, world.end({ spreadMs: 1000, reconnectMs: 4000 }))
    // The last one in the last tenth.
    expect(report).toEqual({ outcome: 'drained', ms: 920, ...CALM, clients: { closed: 10, behind: 0 } })
    const times = [...world.closed.values()]
    expect([...world.closed.keys()]).toEqual(connections.map((_, i) => `c${i}`))
    // Each within its tenth; it is looked every 20 ms.
    for (const [i, at] of times.entries()) {
      expect(at).toBeGreaterThan(i * 100)
      expect(at).toBeLessThanOrEqual(i * 100 + 20)
    }
    const hints = connections.map(({ reconnectMs }) => reconnectMs!)
    for (const hint of hints) {
      expect(Number.isInteger(hint)).toBe(true)
      expect(hint).toBeGreaterThanOrEqual(0)
      expect(hint).toBeLessThanOrEqual(4000)
    }
    expect(new Set(hints).size).toBeGreaterThan(5)
  })

  it('hints at 5 s where nothing is said, and at once where that is said', async () => {
    for (const [options, most] of [
      [{}, 5000],
      [{ reconnectMs: 0 }, 0],
    ] as const) {
      const world = setUp()
      const connections = Array.from({ length: 200 }, (_, i) => world.connect(`c${i}`))
      await until(world, world.end(options))
      const hints = connections.map(({ reconnectMs }) => reconnectMs!)
      expect(Math.max(...hints)).toBeLessThanOrEqual(most)
      expect(Math.max(...hints)).toBeGreaterThanOrEqual(most * 0.8)
    }
  })

  it('without a spread all are closed at once', async () => {
    const world = setUp()
    for (let i = 0; i < 10; i++) world.connect(`c${i}`)
    const ending = world.end()
    await listen()
    expect(ending.result).toMatchObject({ ms: 0, clients: { closed: 10 } })
  })

  it('who goes by itself meanwhile is not counted as closed', async () => {
    const world = setUp()
    const connections = Array.from({ length: 4 }, (_, i) => world.connect(`c${i}`))
    const ending = world.end({ spreadMs: 400 })
    await pass(world, 150)
    connections[3]!.client!.close('peer')
    expect((await until(world, ending)).clients).toEqual({ closed: 3, behind: 0 })
    expect(connections.map(({ closedFor }) => closedFor)).toEqual(['shutdown', 'shutdown', 'shutdown', 'peer'])
  })

  it('what is handed over while the clients are closed one after the other is not given up', async () => {
    const world = setUp()
    const { hub, publish } = world
    world.connect('first')
    const slow = world.connect('slow', { window: 0 })
    hub.subscribe('slow', 't')
    for (let i = 0; i < 3; i++) {
      publish('t')
      world.scheduler.settle()
    }
    const ending = world.end({ drainMs: 100, spreadMs: 400 })
    await pass(world, 200)
    slow.read()
    const report = await until(world, ending)
    expect(report).toMatchObject({
      outcome: 'deadline',
      messages: { settled: 2, abandoned: 0 },
      clients: { closed: 2, behind: 1 },
    })
    expect(slow.seqs()).toEqual([1, 2, 3])
  })

  it('a signal ends all waiting at once: in the drain, in the spread, and from the start', async () => {
    const draining = setUp()
    draining.connect('stalled', { window: 0 })
    const sent = draining.send('stalled')
    const first = new AbortController()
    const ending = draining.end({ signal: first.signal, spreadMs: 1000 })
    await pass(draining, 33)
    first.abort()
    await listen()
    expect(ending.result).toMatchObject({
      outcome: 'aborted',
      ms: 33,
      sends: { abandoned: 1 },
      clients: { closed: 1, behind: 1 },
    })
    expect(sent.error!.code).toBe('SHUTTING_DOWN')
    expect(draining.scheduler.timers).toBe(0)

    const spreading = setUp()
    for (let i = 0; i < 10; i++) spreading.connect(`c${i}`)
    const second = new AbortController()
    const spread = spreading.end({ signal: second.signal, spreadMs: 1000 })
    await pass(spreading, 505)
    expect(spreading.closed.size).toBe(5)
    second.abort()
    await listen()
    expect(spread.result).toMatchObject({ outcome: 'drained', ms: 505, clients: { closed: 10 } })
    expect(spreading.scheduler.timers).toBe(0)

    const early = setUp()
    early.connect('stalled', { window: 0 })
    early.send('stalled')
    const never = early.end({ signal: AbortSignal.abort() })
    await listen()
    expect(never.result).toMatchObject({ outcome: 'aborted', ms: 0 })
  })

  it('nonsense for a time is REQUEST_INVALID, and nothing has begun', async () => {
    for (const options of [
      { deadlineMs: Number.NaN },
      { deadlineMs: -5 },
      { drainMs: Number.NaN, spreadMs: Number.NaN },
      { drainMs: 0, spreadMs: -1 },
    ]) {
      const world = setUp()
      world.connect('stalled', { window: 0 })
      world.send('stalled')
      await expect(world.hub.shutdown(options)).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
      expect(world.hub.draining).toBe(false)
    }
  })

  it('a second call waits for the same end', async () => {
    const world = setUp()
    world.connect('stalled', { window: 0 })
    world.send('stalled')
    const first = world.hub.shutdown({ drainMs: 50 })
    const second = world.hub.shutdown({ drainMs: 5000, deadlineMs: 60_000 })
    expect(second).toBe(first)
    const report = await until(world, heard(first))
    expect(report.ms).toBe(50)
    expect(world.hub.shutdown()).toBe(first)
  })

  it('the signal of a later call ends the waiting too', async () => {
    const world = setUp()
    world.connect('stalled', { window: 0 })
    world.send('stalled')
    const ending = world.end({ drainMs: 5000 })
    await pass(world, 10)
    const later = new AbortController()
    void world.hub.shutdown({ signal: later.signal })
    await pass(world, 10)
    expect(ending.ends).toBe(0)
    later.abort()
    await listen()
    expect(ending.result).toMatchObject({ outcome: 'aborted', ms: 20, clients: { closed: 1, behind: 1 } })
    expect(world.scheduler.timers).toBe(0)
  })

  it('what is no signal is refused, before anything has begun', async () => {
    const world = setUp()
    const client = world.connect('ada')
    await expect(world.hub.shutdown({ signal: {} as AbortSignal })).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
    expect([world.hub.draining, client.closedFor]).toEqual([false, undefined])
    expect((await until(world, world.end())).outcome).toBe('drained')
  })

  it('a hub that is closed meanwhile by other means is at its end', async () => {
    const world = setUp()
    world.connect('stalled', { window: 0 })
    const sent = world.send('stalled')
    const ending = world.end()
    await pass(world, 10)
    await world.hub.close()
    const report = await until(world, ending)
    expect(report).toMatchObject({ outcome: 'drained', sends: { finished: 1, abandoned: 0 }, clients: { closed: 0 } })
    expect(sent.error!.code).toBe('SHUTTING_DOWN')
  })
})
