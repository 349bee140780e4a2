import { beforeEach, describe, expect, it, vi } from 'vitest'
import type { HubError } from '../../src/core/errors.ts'
import { DEFAULT_LIMITS, type HubLimits } from '../../src/core/limits.ts'
import { Topic } from '../../src/core/topic.ts'
import { DEFAULT_HISTORY, type TopicSpec } from '../../src/core/topics.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { FakeConnection, type FakeConnectionOptions } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'

let hub: Hub
let clock: ManualScheduler

function start(rule: Partial<TopicSpec> = {}, limits: Partial<HubLimits> = {}): void {
  clock = new ManualScheduler()
  hub = createHub({ scheduler: clock, limits, topics: openTopics({ history: DEFAULT_HISTORY, ...rule }) })
}

beforeEach(() => start())

function connect(id: string, options: FakeConnectionOptions = {}, user?: string): FakeConnection {
  const connection = new FakeConnection(options)
  connection.client = hub.registerClient(id, connection, { session: { user } })
  return connection
}

const publish = (topic: string, text: string) => hub.routeData(topic, Buffer.from(text))
const refusal = (code: string) => expect.objectContaining({ code })

describe('limits at run time', () => {
  it('hold at once for what is new, and end nobody who is there', () => {
    const all = ['a', 'b', 'c'].map(id => connect(id, {}, 'ann'))
    for (const topic of ['1', '2', '3']) hub.subscribe('a', topic)
    hub.setLimits({ maxClients: 2, maxClientsPerUser: 1, maxSubscriptionsPerClient: 1, maxTopics: 1 })
    expect(all.map(({ closedFor }) => closedFor)).toEqual([undefined, undefined, undefined])
    expect(() => connect('d')).toThrow(refusal('LIMIT_EXCEEDED'))
    hub.setLimits({ maxClients: 4 })
    expect(() => connect('d', {}, 'ann')).toThrow(refusal('QUOTA_EXCEEDED'))
    expect(() => hub.subscribe('a', '4')).toThrow(/subscriptions of one client/)
    expect(() => hub.subscribe('b', '4')).toThrow(/1 topics/)
    hub.setLimits({ maxTopics: 10 })
    hub.subscribe('b', '4')
    expect(hub.limits).toEqual({
      ...DEFAULT_LIMITS,
      ...{ maxClients: 4, maxClientsPerUser: 1, maxSubscriptionsPerClient: 1, maxTopics: 10 },
    })
  })

  it('of bytes hold for who is behind already', () => {
    const slow = connect('slow', { window: 10 })
    for (const topic of ['1', '2']) hub.subscribe('slow', topic)
    for (let i = 0; i < 3; i++) {
      for (const topic of ['1', '2']) publish(topic, 'x'.repeat(100))
      clock.settle()
    }
    clock.advance(100)
    expect(slow.closedFor).toBeUndefined()
    // A buffered link may keep a mebibyte whatever the client's limit; the hub's is over all.
    hub.setLimits({ maxRetainedBytes: 100 })
    publish('3', 'x')
    clock.settle()
    expect(slow.closedFor).toBe('slow')
  })

  it.each([
    [{ maxClients: -1 }, 'limits.maxClients must be an integer from 0 to 10000000, got -1'],
    [{ maxTopics: 1.5 }, 'limits.maxTopics must be an integer from 0 to 10000000, got 1.5'],
    [{ maxTopicsPerPattern: Number.NaN }, 'limits.maxTopicsPerPattern must be an integer from 0 to 10000000, got NaN'],
    [{ maxClients: '5' }, 'limits.maxClients must be an integer from 0 to 10000000, got "5"'],
    [{ maxClients: undefined }, 'limits.maxClients must be an integer from 0 to 10000000, got undefined'],
    [{ maxClient: 5 }, 'limits: unknown option "maxClient": did you mean "maxClients"?'],
    [{ toString: 5 }, 'limits: unknown option "toString"'],
  ])('%j are none, and change nothing', (wrong, why) => {
    const limits = { maxPatternsPerClient: 3, ...wrong } as Partial<HubLimits>
    expect(() => hub.setLimits(limits)).toThrow(
      expect.objectContaining({ code: 'REQUEST_INVALID', message: expect.stringContaining(why) }),
    )
    expect(() => start({}, limits)).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining(why) }),
    )
    expect(hub.limits).toEqual(DEFAULT_LIMITS)
  })
})

describe("a topic's own limits", () => {
  it('subscribers: named ones are counted, whoever is there by a pattern as well; nobody is put off', () => {
    start({ maxSubscribers: 2 })
    for (const id of ['a', 'b', 'c']) connect(id)
    hub.subscribe('a', 't')
    hub.subscribePattern('b', '**')
    expect(() => hub.subscribe('c', 't')).toThrow(/at most 2 subscribers of t/)
    // Who is there already may name it.
    hub.subscribe('b', 't')
    hub.subscribe('a', 't')
    expect(hub.getTopic('t')!.subscribers).toBe(2)
    hub.unsubscribe('b', 't')
    expect(hub.subscribe('b', 't', { after: 'oldest' })).toMatchObject({ recovered: true })
    expect(hub.getTopic('t')!.subscribers).toBe(2)
  })

  it('subscribers: a pattern does not fill what is full', () => {
    start({ maxSubscribers: 1 })
    for (const id of ['a', 'b']) connect(id)
    hub.subscribe('a', 't')
    const { topics } = hub.subscribePattern('b', '**')
    expect([topics, hub.getTopic('t')!.subscribers]).toEqual([0, 1])
  })

  it('publish rate: messages and bytes, each with its own bucket, and how long to wait', () => {
    start({ publishRate: { messages: 2, bytes: 100 } })
    publish('t', 'x')
    publish('t', 'x')
    expect(() => publish('t', 'x')).toThrow(expect.objectContaining({ code: 'RATE_LIMITED', retryMs: 500 }))
    expect(() => hub.publishBytes('t', Buffer.from('x'))).toThrow(refusal('RATE_LIMITED'))
    // Another topic has a rate of its own.
    publish('u', 'x'.repeat(90))
    expect(() => publish('u', 'x'.repeat(20))).toThrow(expect.objectContaining({ retryMs: 100 }))
    // What was refused for its bytes has taken no message.
    publish('u', 'x')
    clock.advance(500)
    publish('t', 'x')
    expect(() => publish('t', 'x')).toThrow(refusal('RATE_LIMITED'))
    expect(hub.getTopic('t')!.published).toBe(3)
  })

  it('publish rate: only of what it names', () => {
    start({ publishRate: { bytes: 100 } })
    for (let i = 0; i < 100; i++) publish('t', 'x')
    expect(() => publish('t', 'x')).toThrow(refusal('RATE_LIMITED'))
  })

  it('publish rate: a topic that nobody is on is not forgotten before its bucket is full again', () => {
    start({ publishRate: { messages: 0.1 }, history: { messages: 0, bytes: 0, ageMs: 0 } })
    publish('t', 'x')
    clock.advance(8500)
    expect(() => publish('t', 'x')).toThrow(refusal('RATE_LIMITED'))
    clock.advance(2600)
    expect(hub.getTopic('t')).toBeNull()
    publish('t', 'x')
  })

  it('publish rate: other rules begin anew', () => {
    const rate = { messages: 1 }
    clock = new ManualScheduler()
    hub = createHub({
      scheduler: clock,
      topics: { resolve: name => ({ ...openTopics().resolve(name), publishRate: { ...rate } }) },
    })
    publish('t', 'x')
    rate.messages = 3
    expect(() => publish('t', 'x')).toThrow(refusal('RATE_LIMITED'))
    hub.refreshTopics()
    for (let i = 0; i < 3; i++) publish('t', 'x')
    expect(() => publish('t', 'x')).toThrow(refusal('RATE_LIMITED'))
  })

  it('content: what its check objects to, or fails on, goes nowhere', () => {
    start({
      contentType: 'application/json',
      check(payload, contentType) {
        const text = Buffer.from(payload).toString()
        if (text === 'bang') throw new Error('secret')
        return text === 'ok' && contentType === 'application/json' ? undefined : '/: not ok'
      },
    })
    publish('t', 'ok')
    expect(() => publish('t', 'no')).toThrow(
      expect.objectContaining({ code: 'SCHEMA_MISMATCH', message: 'data: t does not take it: /: not ok' }),
    )
    expect(() => publish('t', 'bang')).toThrow(
      expect.objectContaining({ code: 'SCHEMA_MISMATCH', message: 'data: the check of t failed on it' }),
    )
    expect(() => hub.routeData('t', Buffer.from('ok'), { contentType: 'text/plain' })).toThrow(
      refusal('SCHEMA_MISMATCH'),
    )
    expect(hub.getTopic('t')!.published).toBe(1)
  })
})

describe('presence', () => {
  it('tells who is on a topic, by name or pattern, and as whom', () => {
    start({ presence: true })
    for (const [id, user] of [
      ['phone', 'ann'],
      ['desk', 'ann'],
      ['guest', undefined],
      ['away', 'bob'],
    ] as const) {
      hub.registerClient(id, new FakeConnection(), { session: { user, info: { device: id } } })
    }
    hub.subscribe('phone', 'room')
    hub.subscribePattern('desk', '*')
    hub.subscribe('guest', 'room')
    expect(hub.presence('room')).toEqual([
      { client: 'phone', user: 'ann', info: { device: 'phone' } },
      { client: 'desk', user: 'ann', info: { device: 'desk' } },
      { client: 'guest', user: undefined, info: { device: 'guest' } },
    ])
    expect(hub.presenceStats('room')).toEqual({ clients: 3, users: 1 })
    hub.setSession('phone', { user: 'ann', info: 'moved' })
    expect(hub.presence('room')[0]).toMatchObject({ info: 'moved' })
    hub.unregisterClient('phone')
    hub.unsubscribePattern('desk', '*')
    expect(hub.presenceStats('room')).toEqual({ clients: 1, users: 0 })
    expect(hub.presence('empty')).toEqual([])
  })

  it('is off unless its rule turns it on, and not there for what is no topic', () => {
    connect('a')
    hub.subscribe('a', 'room')
    for (const ask of [() => hub.presence('room'), () => hub.presenceStats('room')])
      expect(ask).toThrow(refusal('PRESENCE_OFF'))
    expect(() => hub.presence('a//b')).toThrow(refusal('TOPIC_INVALID'))
  })

  it('who publishes to topics that there is no room for does not have all topics looked through each time', () => {
    start({ history: { ...DEFAULT_HISTORY, messages: 0 } }, { maxTopics: 100 })
    connect('ann')
    for (let i = 0; i < 100; i++) hub.subscribe('ann', `kept/${i}`)
    const looks = vi.spyOn(Topic.prototype, 'rested')
    try {
      for (let i = 0; i < 50; i++) expect(() => publish(`new/${i}`, 'x')).toThrow(refusal('LIMIT_EXCEEDED'))
      expect(looks.mock.calls.length).toBeLessThanOrEqual(100)
    } finally {
      looks.mockRestore()
    }
    hub.unsubscribe('ann', 'kept/0')
    clock.advance(1000)
    expect(() => publish('new/0', 'x')).not.toThrow()
  })
})

describe('what bounds refuse', () => {
  it('names the setting, and is counted by it', () => {
    const hub = createHub({
      scheduler: new ManualScheduler(),
      limits: {
        maxClients: 2,
        maxClientsPerUser: 1,
        maxSubscriptionsPerClient: 1,
        maxPatternsPerClient: 1,
        maxTopics: 4,
      },
      topics: openTopics(
        {},
        {
          small: { maxMessageBytes: 1 },
          full: { maxSubscribers: 0 },
          paced: { publishRate: { messages: 1 } },
          checked: { check: () => 'id: it is missing' },
        },
      ),
    })
    const refusal = (act: () => unknown): string => {
      try {
        act()
        return 'nothing'
      } catch (error) {
        return (error as HubError).message
      }
    }
    const connect = (id: string, user?: string) =>
      hub.registerClient(id, new FakeConnection(), { session: user === undefined ? {} : { user } })
    connect('a', 'ada')
    expect(refusal(() => connect('b', 'ada'))).toMatch(/^limits\.maxClientsPerUser: there may be at most 1 /)
    connect('b')
    expect(refusal(() => connect('c'))).toMatch(/^limits\.maxClients: there may be at most 2 /)
    expect(refusal(() => hub.subscribe('a', 'full'))).toMatch(/^maxSubscribers: there may be at most 0 /)
    hub.subscribe('a', 'one')
    expect(refusal(() => hub.subscribe('a', 'two'))).toMatch(/^limits\.maxSubscriptionsPerClient: /)
    hub.subscribePattern('a', 'x/*')
    expect(refusal(() => hub.subscribePattern('a', 'y/*'))).toMatch(/^limits\.maxPatternsPerClient: /)
    for (const topic of ['paced', 'p', 'q']) hub.routeData(topic, new Uint8Array(1))
    expect(refusal(() => hub.routeData('r', new Uint8Array(1)))).toMatch(/^limits\.maxTopics: /)
    for (const topic of ['small', 'checked', 'paced']) refusal(() => hub.routeData(topic, new Uint8Array(2)))
    expect(hub.getConnectionStats().refused).toEqual({
      ...{ maxClients: 1, maxClientsPerUser: 1, maxTopics: 1, maxSubscriptionsPerClient: 1, maxPatternsPerClient: 1 },
      ...{ maxMessageBytes: 1, maxSubscribers: 1, publishRate: 1, schema: 1 },
    })
  })
})
