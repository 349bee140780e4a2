import { beforeEach, describe, expect, it } from 'vitest'
import { Direct } from '../../src/core/parcel.ts'
import type { Sighting } from '../../src/core/watcher.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { FakeConnection, type FakeConnectionOptions, FakeRequestConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'

let hub: Hub
let clock: ManualScheduler
let seen: Sighting[]
let faults: string[]

beforeEach(() => {
  clock = new ManualScheduler()
  hub = createHub({ scheduler: clock })
  seen = []
  faults = []
  hub.events.on('fault', ({ where, error }) => faults.push(`${where}: ${(error as Error).message}`))
})

function connect(id: string, options: FakeConnectionOptions = {}): FakeConnection {
  const connection = new FakeConnection(options)
  connection.client = hub.registerClient(id, connection)
  return connection
}

const watch = (id: string) => hub.watch(id, sighting => seen.push(sighting))
const publish = (topic: string, text: string) => hub.routeData(topic, Buffer.from(text))
const kinds = () => seen.map(({ kind }) => kind)
const direct = (text: string) =>
  new Direct({ id: text, payload: Buffer.from(text), contentType: 'text/plain', correlationId: undefined })

describe('a watcher of one client', () => {
  it('is told of what is written for it, and of nobody else', () => {
    const ann = connect('ann')
    connect('bob')
    for (const id of ['ann', 'bob']) hub.subscribe(id, 'a')
    watch('ann')
    publish('a', 'one')
    publish('a', 'two')
    clock.settle()
    expect(seen).toMatchObject([
      { kind: 'messages', topic: 'a', first: 1, last: 2, bytes: 6, result: 'ok', messages: [{ seq: 1 }, { seq: 2 }] },
    ])
    ann.client!.send(Buffer.from('ping'))
    hub.post('ann', direct('hello'), () => {})
    clock.settle()
    const bytes = ann.codec.direct!(direct('hello').message)!.byteLength
    expect(seen.slice(1)).toEqual([
      { kind: 'frame', bytes: 4, result: 'ok' },
      { kind: 'direct', bytes, result: 'ok' },
    ])
  })

  it('is told what the write of each answered, and not that of the one before', () => {
    const ann = connect('ann', { window: 10 })
    watch('ann')
    hub.post('ann', direct('x'), () => {})
    clock.settle()
    expect(seen).toMatchObject([{ kind: 'direct', result: 'full' }])
    ann.read()
    seen = []
    ann.answer = () => 'gone'
    ann.client!.send(Buffer.from('ping'))
    hub.post('ann', direct('y'), () => {})
    clock.settle()
    expect(seen.slice(0, 2)).toMatchObject([
      { kind: 'frame', result: 'gone' },
      { kind: 'direct', result: 'gone' },
    ])
    expect(seen.at(-1)).toEqual({ kind: 'closed', reason: 'lost' })
  })

  it('is told of requests as well', () => {
    const connection = new FakeRequestConnection()
    connection.client = hub.registerClient('url', connection)
    watch('url')
    hub.post('url', direct('hello'), () => {})
    clock.settle()
    expect(seen).toEqual([{ kind: 'direct', bytes: 5, result: 'ok' }])
  })

  it('is told how it falls behind and catches up', () => {
    const ann = connect('ann', { window: 10 })
    hub.subscribe('ann', 'a')
    watch('ann')
    publish('a', '1')
    clock.settle()
    publish('a', '2')
    clock.settle()
    expect(kinds()).toEqual(['messages', 'behind'])
    expect(seen[1]).toEqual({ kind: 'behind', topic: 'a', policy: 'buffered' })
    const waiting = ann.unread
    clock.advance(70)
    ann.read()
    clock.settle()
    expect(seen.slice(2, 5)).toMatchObject([
      { kind: 'drained', bytes: waiting, waitedMs: 70 },
      { kind: 'caught up', topic: 'a' },
      { kind: 'messages', first: 2, result: 'full' },
    ])
  })

  it('the same where what waits is a list of its own', () => {
    const ann = connect('ann', { window: 10 })
    hub.subscribe('ann', 'a', { policy: buffered({ messages: 1, overflow: 'drop-newest' }) })
    watch('ann')
    for (const text of ['1', '2', '3']) {
      publish('a', text)
      clock.settle()
    }
    expect(kinds()).toEqual(['messages', 'behind', 'dropped'])
    expect(seen[2]).toEqual({ kind: 'dropped', topic: 'a', from: 3, to: 3, count: 1, reason: 'overflow' })
    ann.read()
    clock.settle()
    expect(kinds().slice(3)).toEqual(['drained', 'caught up', 'messages'])
    ann.read()
    clock.advance(25)
    expect(seen.filter(({ kind }) => kind === 'gap')).toEqual([
      { kind: 'gap', gap: { topic: 'a', from: 3, to: 3, count: 1, reason: 'overflow' } },
    ])
  })

  it('is told of losses, and of the end', () => {
    connect('ann', { window: 10 })
    hub.subscribe('ann', 'a', { policy: bestEffort() })
    watch('ann')
    publish('a', '1')
    clock.settle()
    publish('a', '2')
    clock.settle()
    expect(seen[1]).toEqual({ kind: 'dropped', topic: 'a', from: 2, to: 2, count: 1, reason: 'behind' })
    hub.unregisterClient('ann', 'denied')
    expect(seen.at(-1)).toEqual({ kind: 'closed', reason: 'denied' })
  })

  it('that throws hurts nobody, and is told as a fault', () => {
    const ann = connect('ann')
    const bob = connect('bob')
    for (const id of ['ann', 'bob']) hub.subscribe(id, 'a')
    hub.watch('ann', () => {
      throw new Error('clumsy')
    })
    publish('a', '1')
    clock.settle()
    expect([ann.texts(), bob.texts()]).toEqual([['1'], ['1']])
    expect(faults).toEqual(['watcher: clumsy'])
    hub.unregisterClient('ann')
    clock.settle()
    expect(faults).toHaveLength(2)
  })

  it('is the only one of its client, until it is disposed of', () => {
    connect('ann')
    hub.subscribe('ann', 'a')
    const first = watch('ann')
    expect(() => watch('ann')).toThrow(expect.objectContaining({ code: 'CLIENT_EXISTS' }))
    expect(() => watch('nobody')).toThrow(expect.objectContaining({ code: 'CONNECTION_NOT_FOUND' }))
    first[Symbol.dispose]()
    publish('a', '1')
    clock.settle()
    expect(seen).toEqual([])
    watch('ann')
    // Twice is as once: it is not the second that it ends.
    first[Symbol.dispose]()
    publish('a', '2')
    clock.settle()
    expect(kinds()).toEqual(['messages'])
  })
})
