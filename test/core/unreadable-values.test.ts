import { describe, expect, it } from 'vitest'
import type { Sink } from '../../src/core/broker.ts'
import type { TopicName } from '../../src/core/ids.ts'
import { buffered, createHub, memoryBroker, openTopics } from '../../src/index.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'

// biome-ignore lint/suspicious/noExplicitAny: what the types refuse is what is tested.
type Wrong = any

describe('bytes that cannot be read', () => {
  const detached = (): Uint8Array => {
    const data = new Uint8Array(100)
    structuredClone(data.buffer, { transfer: [data.buffer] })
    return data
  }
  const shrunk = (): Uint8Array => {
    const buffer = new (ArrayBuffer as Wrong)(100, { maxByteLength: 100 })
    const data = new Uint8Array(buffer, 50, 50)
    ;(buffer as Wrong).resize(10)
    return data
  }

  it.each([
    ['a transferred buffer', detached],
    ['a buffer that shrank', shrunk],
  ])('%s is refused, and takes no number from the messages after it', (_, make) => {
    const scheduler = new ManualScheduler()
    const hub = createHub({ scheduler })
    const early = new FakeConnection()
    early.client = hub.registerClient('early', early)
    hub.subscribe('early', 't')
    const before = hub.routeData('t', new Uint8Array(1)).position
    expect(() => hub.routeData('t', make())).toThrow(expect.objectContaining({ code: 'INVALID_MESSAGE' }))
    hub.routeData('t', new Uint8Array(1))
    hub.routeData('t', new Uint8Array(1))
    scheduler.settle()
    expect([early.seqs('t'), early.gaps()]).toEqual([[1, 2, 3], []])
    const late = new FakeConnection()
    late.client = hub.registerClient('late', late)
    expect(hub.subscribe('late', 't', { after: before }).recovered).toBe(true)
    scheduler.settle()
    expect([late.seqs('t'), late.gaps()]).toEqual([[2, 3], []])
  })

  it('are refused by send', async () => {
    const hub = createHub()
    hub.registerClient('c', new FakeConnection())
    await expect(hub.send('c', detached())).rejects.toThrow(expect.objectContaining({ code: 'INVALID_MESSAGE' }))
  })

  it('of a broker are refused, and take no number', () => {
    let sink: Sink | undefined
    const broker = {
      ...memoryBroker(),
      start(given: Sink) {
        sink = given
      },
    }
    const hub = createHub({ broker })
    const publication = { topic: 't', contentType: 'text/plain', key: undefined, correlationId: undefined } as Wrong
    expect(() => sink!({ ...publication, data: detached() })).toThrow(
      expect.objectContaining({ code: 'INVALID_MESSAGE' }),
    )
    expect(sink!({ ...publication, data: new Uint8Array(1) }).position.seq).toBe(1)
    expect(hub.positionOf('t')?.seq).toBe(1)
  })
})

describe('a promise where a value is expected', () => {
  it('of begun is an error of the call, and no unhandled rejection', async () => {
    const hub = createHub()
    hub.registerClient('c', new FakeConnection())
    const begun = (() => Promise.reject(new Error('late'))) as Wrong
    expect(() => hub.subscribe('c', 't', { begun })).toThrow(/begun must answer at once, got a promise/)
    expect([...hub.getClientsForTopic('t')]).toEqual([])
    await new Promise(resolve => setImmediate(resolve))
  })

  it.each(['policy', 'history', 'contentType', 'check', 'priority', 'maxMessageBytes'])(
    'of a registry as %s is refused, and no unhandled rejection',
    async field => {
      const spec = openTopics().resolve('t' as TopicName)
      const hub = createHub({
        topics: { resolve: () => ({ ...spec, [field]: Promise.reject(new Error('late')) }) } as Wrong,
      })
      expect(() => hub.routeData('t', new Uint8Array(1))).toThrow(expect.objectContaining({ code: 'INTERNAL' }))
      await new Promise(resolve => setImmediate(resolve))
    },
  )

  it('as a session is refused: it would be a client without a user and without an end', async () => {
    const hub = createHub()
    const session = Promise.resolve({ user: 'ann' }) as Wrong
    expect(() => hub.registerClient('c', new FakeConnection(), { session })).toThrow(
      /session must be an object, got a promise/,
    )
    hub.registerClient('c', new FakeConnection())
    expect(() => hub.setSession('c', session)).toThrow(/session must be an object, got a promise/)
  })
})

describe('a session', () => {
  it.each([
    [{ user: 'ann', expiresat: 5 }, /session: unknown option "expiresat": did you mean "expiresAt"\?/],
    [{ usr: 'bob' }, /session: unknown option "usr": did you mean "user"\?/],
    [{ grants: 5 }, /session.grants: options must be an object, got 5/],
    [{ grants: { subscribe: [] } }, /session.grants.publish must be an array of strings, got undefined/],
    [{ backend: 'yes' }, /session.backend must be true or false, got "yes"/],
    [{ anonymous: 1 }, /session.anonymous must be true or false, got 1/],
    [{ tokenId: 5 }, /session.tokenId must be a string, got 5/],
    [{ key: 5 }, /session.key must be a string, got 5/],
  ])('%j is refused', (session, message) => {
    const hub = createHub()
    expect(() => hub.registerClient('c', new FakeConnection(), { session } as Wrong)).toThrow(message)
    expect(hub.getConnectionStats().clients).toBe(0)
  })

  it('may have other keys, which a session manager keeps for itself', () => {
    const hub = createHub()
    const session = { user: 'ann', userId: 5, roles: ['admin'], tenant: 'a', constructor: 5, toString: 'a' }
    hub.registerClient('c', new FakeConnection(), { session })
    expect(hub.sessionOf('c')).toEqual(session)
  })
})

describe('a policy that cannot be described', () => {
  it('is a fault once for each hub', () => {
    const policy = { ...buffered(), describe: () => 5 as Wrong }
    const scheduler = new ManualScheduler()
    for (const hub of [createHub({ policy, scheduler }), createHub({ policy, scheduler })]) {
      const faults: string[] = []
      hub.events.on('fault', ({ where }) => faults.push(where))
      hub.registerClient('c', new FakeConnection())
      hub.subscribe('c', 't')
      for (let i = 0; i < 2; i++) hub.getClient('c')
      scheduler.settle()
      expect(faults).toEqual(["policy 'buffered'"])
    }
  })
})
