import { beforeEach, describe, expect, it } from 'vitest'
import { HubError } from '../../src/core/errors.ts'
import { parseTopicName } from '../../src/core/ids.ts'
import type { Session } from '../../src/core/sessions.ts'
import { DEFAULT_HISTORY, type TopicSpec } from '../../src/core/topics.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { latest } from '../../src/policies/latest.ts'
import { reliable } from '../../src/policies/reliable.ts'
import { FakeConnection, type FakeConnectionOptions } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { expectPositionsAlone } from '../positions-alone.ts'

type Rule = Partial<Omit<TopicSpec, 'name'>> | 'unknown'

let hub: Hub
let clock: ManualScheduler
/** By name; what is not named here is open. Changed by a test, and told to the hub by `refreshTopics`. */
let rules: Record<string, Rule>
let events: string[]

beforeEach(() => {
  rules = {}
  events = []
  clock = new ManualScheduler()
  hub = createHub({
    scheduler: clock,
    limits: { maxTopicsPerPattern: 4, maxPatternsPerClient: 3, maxSubscriptionsPerClient: 3 },
    topics: {
      resolve(input) {
        const name = parseTopicName(input)
        const rule = rules[name] ?? {}
        if (rule === 'unknown') throw new HubError('TOPIC_UNKNOWN', `topic: ${name} is unknown`)
        return { name, history: DEFAULT_HISTORY, maxMessageBytes: 1000, ...rule }
      },
    },
  })
  hub.events.on('subscribe', ({ id, topic, pattern }) =>
    events.push(`${id} +${topic}${pattern ? ` (${pattern})` : ''}`),
  )
  hub.events.on('unsubscribe', ({ id, topic }) => events.push(`${id} -${topic}`))
  hub.events.on('subscribePattern', ({ id, pattern }) => events.push(`${id} +${pattern}`))
  hub.events.on('unsubscribePattern', ({ id, pattern }) => events.push(`${id} -${pattern}`))
  hub.events.on('fault', ({ error }) => events.push(`fault ${error}`))
})

function connect(id: string, session: Session = {}, options: FakeConnectionOptions = {}): FakeConnection {
  const connection = new FakeConnection(options)
  connection.client = hub.registerClient(id, connection, { session })
  return connection
}

const publish = (topic: string, text = topic) => hub.routeData(topic, Buffer.from(text))
const on = (id: string) => hub.getClient(id).subscriptions.map(({ topic, pattern }) => `${topic} ${pattern ?? 'named'}`)

describe('a pattern', () => {
  it('is a subscription to what is there, and to what comes, before its first message', () => {
    const ann = connect('ann')
    publish('a/1', 'before')
    expect(hub.subscribePattern('ann', 'a/*')).toEqual({ pattern: 'a/*', topics: 1 })
    publish('a/1')
    publish('a/2')
    publish('a/2/x')
    publish('b')
    clock.settle()
    expect(ann.texts()).toEqual(['a/1', 'a/2'])
    expect(events).toEqual(['ann +a/*', 'ann +a/1 (a/*)', 'ann +a/2 (a/*)'])
    expect(hub.getClient('ann').patterns).toMatchObject([{ pattern: 'a/*', topics: 2 }])
    expect(hub.getConnectionStats()).toMatchObject({ patterns: 1, subscriptions: 2 })
  })

  it('begins with everything that the topics keep, or after a position of one of them, if asked', () => {
    const ann = connect('ann')
    const { position } = publish('a/1', 'seen')
    publish('a/1', 'old')
    publish('a/2', 'old too')
    hub.subscribePattern('ann', 'a/*', { after: 'oldest' })
    const bob = connect('bob')
    hub.subscribePattern('bob', 'a/*', { after: position })
    clock.settle()
    expect(ann.texts()).toEqual(['seen', 'old', 'old too'])
    expect(ann.gaps()).toEqual([])
    expect(bob.texts()).toEqual(['old'])
    expect(bob.gaps()).toMatchObject([{ topic: 'a/2', count: null, reason: 'epoch' }])
  })

  it('asked for again changes nothing, and tells what it matches', () => {
    connect('ann')
    publish('a/1')
    hub.subscribePattern('ann', 'a/*')
    events = []
    expect(hub.subscribePattern('ann', '/a/*', { policy: latest() })).toEqual({ pattern: 'a/*', topics: 1 })
    expect(events).toEqual([])
    expect(hub.getSubscription('ann', 'a/1')!.policy.name).toBe('buffered')
  })

  it('overlaps another without sending anything twice, and what one gives up the other keeps', () => {
    const ann = connect('ann')
    hub.subscribePattern('ann', 'a/*')
    hub.subscribePattern('ann', '**', { policy: bestEffort() })
    publish('a/1')
    publish('b')
    clock.settle()
    expect(ann.texts()).toEqual(['a/1', 'b'])
    const owner = hub.getSubscription('ann', 'a/1')!.pattern!
    const other = owner === '**' ? 'a/*' : '**'
    expect(hub.unsubscribePattern('ann', owner)).toBe(true)
    expect(hub.unsubscribePattern('ann', owner)).toBe(false)
    publish('a/1', 'again')
    clock.settle()
    expect(ann.texts()).toEqual(['a/1', 'b', 'again'])
    expect(hub.getSubscription('ann', 'a/1')).toMatchObject({
      pattern: other,
      policy: { name: other === '**' ? 'best-effort' : 'buffered' },
    })
  })

  it('ends for what it matched alone', () => {
    const ann = connect('ann')
    hub.subscribePattern('ann', 'a/*')
    hub.subscribe('ann', 'a/1')
    publish('a/1')
    publish('a/2')
    events = []
    hub.unsubscribePattern('ann', 'a/*')
    publish('a/1')
    publish('a/2')
    clock.settle()
    expect(ann.texts().sort()).toEqual(['a/1', 'a/1', 'a/2'])
    expect(events).toEqual(['ann -a/2', 'ann -a/*'])
    expect(hub.getConnectionStats().patterns).toBe(0)
  })

  it('what the client names itself is its own, and goes back to the pattern without a message lost or twice', () => {
    const ann = connect('ann')
    hub.subscribePattern('ann', 'a/*', { policy: bestEffort() })
    publish('a/1', '1')
    expect(hub.subscribe('ann', 'a/1', { policy: latest() })).toMatchObject({ recovered: false, position: { seq: 1 } })
    expect(on('ann')).toEqual(['a/1 named'])
    expect(hub.getSubscription('ann', 'a/1')).toMatchObject({ policy: { name: 'latest' }, decidedBy: 'wish' })
    publish('a/1', '2')
    expect(hub.subscribePattern('ann', 'a/*').topics).toBe(0)
    expect(hub.unsubscribe('ann', 'a/1')).toBe(true)
    publish('a/1', '3')
    expect(on('ann')).toEqual(['a/1 a/*'])
    expect(hub.getSubscription('ann', 'a/1')!.policy.name).toBe('best-effort')
    expect(hub.subscribePattern('ann', 'a/*').topics).toBe(1)
    // There is nothing more to give back.
    expect(hub.unsubscribe('ann', 'a/1')).toBe(false)
    clock.settle()
    expect(ann.texts()).toEqual(['1', '2', '3'])
    expect(events.slice(-2)).toEqual(['ann -a/1', 'ann +a/1 (a/*)'])
  })

  it('is not what a topic whose policies are few is read under, where it wishes for another', () => {
    rules['a/1'] = { allowedPolicies: ['buffered'] }
    connect('ann')
    hub.subscribePattern('ann', 'a/*', { policy: latest() })
    publish('a/1')
    publish('a/2')
    expect(hub.getSubscription('ann', 'a/1')).toMatchObject({ policy: { name: 'buffered' }, wish: undefined })
    expect(hub.getSubscription('ann', 'a/2')).toMatchObject({ policy: { name: 'latest' } })
    hub.subscribe('ann', 'a/1', { policy: buffered({ messages: 3 }) })
    hub.unsubscribe('ann', 'a/1')
    expect(hub.getSubscription('ann', 'a/1')!.wish).toBeUndefined()
  })

  it('does not match what lets none match, or may not be read', () => {
    rules['a/closed'] = { wildcards: false }
    rules['a/members'] = { subscribe: 'users', wildcards: true }
    rules['a/backends'] = { subscribe: 'nobody', wildcards: true }
    rules['a/shy'] = { subscribe: 'users' }
    connect('ann', { user: 'ann' })
    connect('guest')
    connect('backend', { backend: true })
    for (const id of ['ann', 'guest', 'backend']) hub.subscribePattern(id, 'a/*')
    for (const topic of ['closed', 'members', 'backends', 'shy']) publish(`a/${topic}`)
    expect(on('ann')).toEqual(['a/members a/*'])
    expect(on('guest')).toEqual([])
    expect(on('backend')).toEqual(['a/members a/*', 'a/backends a/*'])
    // The same for what was there before.
    connect('late')
    expect(hub.subscribePattern('late', 'a/*').topics).toBe(0)
  })

  it('is given up with its client, and leaves nothing', () => {
    connect('ann')
    connect('bob')
    hub.subscribePattern('ann', 'a/*')
    hub.subscribePattern('ann', '**')
    publish('a/1')
    hub.unregisterClient('ann')
    expect(hub.getConnectionStats()).toMatchObject({ patterns: 0, subscriptions: 0 })
    publish('a/2')
    expect(events.at(-1)).toBe('ann -a/1')
    // The one that has its id now is another one.
    connect('ann')
    publish('a/1')
    expect(on('ann')).toEqual([])
  })

  it('of a client that is replaced is not taken over', () => {
    connect('ann')
    hub.subscribePattern('ann', 'a/*')
    connect('ann')
    publish('a/1')
    expect(on('ann')).toEqual([])
    expect(hub.getConnectionStats().patterns).toBe(0)
  })
})

describe('limits of patterns', () => {
  const refuses = (act: () => unknown, code: string) => expect(act).toThrow(expect.objectContaining({ code }))

  it('a client has at most so many', () => {
    connect('ann')
    for (const pattern of ['a/*', 'b/*', 'c/*']) hub.subscribePattern('ann', pattern)
    refuses(() => hub.subscribePattern('ann', 'd/*'), 'LIMIT_EXCEEDED')
    hub.subscribePattern('ann', 'a/*')
    hub.unsubscribePattern('ann', 'a/*')
    hub.subscribePattern('ann', 'd/*')
    expect(hub.getConnectionStats().patterns).toBe(3)
  })

  it('what patterns match is not counted as named', () => {
    connect('ann')
    hub.subscribePattern('ann', 'a/*')
    for (const name of ['a/1', 'a/2', 'a/3', 'a/4']) publish(name)
    for (const name of ['a/1', 'x', 'y']) hub.subscribe('ann', name)
    refuses(() => hub.subscribe('ann', 'z'), 'LIMIT_EXCEEDED')
    // Naming what a pattern has brought is naming as well.
    refuses(() => hub.subscribe('ann', 'a/2'), 'LIMIT_EXCEEDED')
    hub.subscribe('ann', 'a/1', { policy: latest() })
    hub.unsubscribe('ann', 'a/1')
    hub.subscribe('ann', 'a/2')
    expect(hub.subscribePattern('ann', 'a/*').topics).toBe(3)
  })

  it('a pattern that matches too much to begin with is refused, and is not there', () => {
    for (const name of ['a/1', 'a/2', 'a/3', 'a/4', 'a/5']) publish(name)
    connect('ann')
    refuses(() => hub.subscribePattern('ann', 'a/*'), 'LIMIT_EXCEEDED')
    expect(hub.getClient('ann')).toMatchObject({ patterns: [], subscriptions: [] })
    rules['a/5'] = { subscribe: 'nobody', wildcards: true }
    hub.refreshTopics()
    expect(hub.subscribePattern('ann', 'a/*').topics).toBe(4)
  })

  it('what the client has named is not what a pattern matches too much', () => {
    connect('ann')
    for (const name of ['a/1', 'a/2', 'a/3']) hub.subscribe('ann', name)
    for (const name of ['a/4', 'a/5']) publish(name)
    expect(hub.subscribePattern('ann', 'a/*').topics).toBe(2)
  })

  it('a pattern that is full is not harmed when another is given up', () => {
    const ann = connect('ann')
    for (const pattern of ['a/*', 'b/*']) hub.subscribePattern('ann', pattern)
    for (const name of ['a/1', 'a/2', 'a/3', 'a/4', 'b/1']) publish(name)
    hub.unsubscribePattern('ann', 'b/*')
    clock.settle()
    expect([ann.closedFor, on('ann').length]).toEqual([undefined, 4])
  })

  it('a pattern that comes to match too much ends its client as overloaded, and nobody else', () => {
    const ann = connect('ann')
    const bob = connect('bob')
    hub.subscribePattern('ann', 'a/*')
    hub.subscribePattern('bob', 'b')
    for (const name of ['a/1', 'a/2', 'a/3', 'a/4']) publish(name)
    clock.settle()
    expect(ann.closedFor).toBeUndefined()
    publish('a/5')
    publish('b')
    clock.settle()
    expect(ann.closedFor).toBe('overloaded')
    expect(bob.texts()).toEqual(['b'])
    expect(hub.getConnectionStats()).toMatchObject({ clients: 1, patterns: 1, closes: { overloaded: 1 } })
  })

  it('what is handed to a pattern counts as well', () => {
    const ann = connect('ann')
    for (const name of ['a/1', 'a/2', 'a/3']) hub.subscribe('ann', name)
    hub.subscribePattern('ann', 'a/*')
    for (const name of ['a/4', 'a/5']) publish(name)
    for (const name of ['a/1', 'a/2']) hub.unsubscribe('ann', name)
    clock.settle()
    expect(ann.closedFor).toBeUndefined()
    hub.unsubscribe('ann', 'a/3')
    clock.settle()
    expect(ann.closedFor).toBe('overloaded')
    expect(hub.getConnectionStats()).toMatchObject({ clients: 0, patterns: 0, subscriptions: 0 })
  })
})

describe('other rules', () => {
  it('put everybody on a topic that lets patterns match it now, and off one that does not any more', () => {
    rules['a/1'] = { wildcards: false }
    const ann = connect('ann')
    const bob = connect('bob')
    hub.subscribe('bob', 'a/1')
    hub.subscribePattern('ann', 'a/*')
    publish('a/1', '1')
    rules['a/1'] = {}
    hub.refreshTopics()
    publish('a/1', '2')
    rules['a/1'] = { wildcards: false }
    hub.refreshTopics()
    publish('a/1', '3')
    clock.settle()
    expect(ann.texts()).toEqual(['2'])
    expect(bob.texts()).toEqual(['1', '2', '3'])
  })

  it('do not give back to a pattern what lets none match', () => {
    rules['a/1'] = { wildcards: false }
    connect('ann')
    hub.subscribePattern('ann', 'a/*')
    hub.subscribe('ann', 'a/1')
    hub.unsubscribe('ann', 'a/1')
    expect(on('ann')).toEqual([])
  })

  it('put those off a topic who may not be on it any more, named or not', () => {
    connect('ann', { user: 'ann' })
    connect('guest')
    for (const id of ['ann', 'guest']) hub.subscribe(id, 'a/1')
    rules['a/1'] = { subscribe: 'users' }
    events = []
    hub.refreshTopics()
    expect(events).toEqual(['guest -a/1'])
    expect(on('ann')).toEqual(['a/1 named'])
  })

  it('change the policy of who has no wish, and take a wish that is not allowed any more', () => {
    connect('ann')
    connect('bob')
    hub.subscribe('ann', 'a', { policy: latest() })
    hub.subscribe('bob', 'a')
    rules.a = { policy: bestEffort(), allowedPolicies: ['best-effort'], rule: 'a*' }
    hub.refreshTopics()
    expect(hub.getSubscription('ann', 'a')).toMatchObject({ policy: { name: 'best-effort' }, decidedBy: 'rule' })
    expect(hub.explainPolicy('bob', 'a')).toMatchObject({
      policy: { name: 'best-effort' },
      decidedBy: 'rule',
      rule: 'a*',
      candidates: [{ origin: 'rule' }, { origin: 'default' }],
    })
    hub.setDeliveryPolicy('a', buffered())
    expect(hub.explainPolicy('bob', 'a').candidates.map(({ origin }) => origin)).toEqual(['topic', 'rule', 'default'])
    delete rules.a
    hub.refreshTopics()
    expect(hub.explainPolicy('bob', 'a')).toMatchObject({ decidedBy: 'topic', rule: undefined })
  })

  it('a topic that is unknown now is gone at once, with what it kept', () => {
    const ann = connect('ann')
    hub.subscribe('ann', 'a/1')
    publish('a/1')
    rules['a/1'] = 'unknown'
    hub.refreshTopics()
    clock.settle()
    // What was published before is still delivered.
    expect(ann.texts()).toEqual(['a/1'])
    expect(on('ann')).toEqual([])
    expect(() => publish('a/1')).toThrow(expect.objectContaining({ code: 'TOPIC_UNKNOWN' }))
    expect(hub.getTopic('a/1')).toBeNull()
    expectPositionsAlone(hub)
  })

  it('a topic that a handler has ended and made anew meanwhile is left alone', () => {
    connect('ann')
    for (const name of ['a', 'b']) hub.subscribe('ann', name)
    rules.a = 'unknown'
    hub.events.once('unsubscribe', () => {
      rules.b = 'unknown'
      hub.refreshTopics()
      rules.b = {}
      hub.subscribe('ann', 'b')
      rules.b = 'unknown'
    })
    hub.refreshTopics()
    expect([on('ann'), hub.getTopic('b')?.subscribers]).toEqual([['b named'], 1])
  })

  it('a handler that changes the rules again while they are taken over', () => {
    connect('ann')
    for (const name of ['a', 'b', 'c']) hub.subscribe('ann', name)
    rules.a = 'unknown'
    hub.events.once('unsubscribe', () => {
      rules.b = 'unknown'
      hub.refreshTopics()
    })
    hub.refreshTopics()
    expect(on('ann')).toEqual(['c named'])
    expect(hub.getConnectionStats()).toMatchObject({ topics: 1, subscriptions: 1 })
    expect(events).toEqual(['ann +a', 'ann +b', 'ann +c', 'ann -a', 'ann -b'])
  })
})

describe('a topic that only patterns hold on to', () => {
  it('is forgotten after a minute of quiet, and found again by its next message', () => {
    const ann = connect('ann')
    hub.subscribePattern('ann', 'a/*')
    publish('a/1', '1')
    clock.advance(59_000)
    expect(hub.getConnectionStats().topics).toBe(1)
    // What it keeps for those who resume is a minute old then, and goes first.
    clock.advance(3000)
    expect(hub.getConnectionStats()).toMatchObject({ topics: 0, subscriptions: 0, patterns: 1 })
    expectPositionsAlone(hub)
    expect(hub.subscribePattern('ann', 'a/*').topics).toBe(0)
    publish('a/1', '2')
    clock.settle()
    expect(ann.texts()).toEqual(['1', '2'])
    expect(events.slice(1)).toEqual(['ann +a/1 (a/*)', 'ann -a/1', 'ann +a/1 (a/*)'])
  })

  it('is kept for a minute, though it keeps no message', () => {
    rules = { 'a/1': { history: { messages: 0, bytes: 0, ageMs: 0 } } }
    connect('ann')
    hub.subscribePattern('ann', 'a/*')
    const { position } = publish('a/1')
    clock.advance(59_000)
    expect(publish('a/1').position).toEqual({ ...position, seq: 2 })
    clock.advance(59_000)
    expect(on('ann')).toEqual(['a/1 a/*'])
    clock.advance(2000)
    expect(on('ann')).toEqual([])
  })

  it('is kept for a client that has not confirmed what it was sent', () => {
    rules = { 'a/1': { history: { messages: 0, bytes: 0, ageMs: 0 } } }
    connect('ann')
    hub.subscribePattern('ann', 'a/*', { policy: reliable({ ackMs: 300_000 }) })
    const { position } = publish('a/1')
    clock.advance(120_000)
    expect(hub.acknowledge('ann', 'a/1', position)).toBe(1)
    clock.advance(2000)
    expect(hub.getTopic('a/1')).toBeNull()
  })

  it('is kept for whoever named it, or has not got everything, or must still be told of a loss', () => {
    rules = { 'a/1': { history: { messages: 0, bytes: 0, ageMs: 0 } } }
    const slow = connect('slow', {}, { window: 10 })
    hub.subscribePattern('slow', 'a/*', { policy: bestEffort() })
    publish('a/1', 'taken')
    clock.settle()
    publish('a/1', 'lost')
    clock.advance(120_000)
    expect(hub.getTopic('a/1')).toMatchObject({ subscribers: 1 })
    slow.read()
    clock.advance(2000)
    expect(slow.gaps()).toMatchObject([{ topic: 'a/1', from: 2, to: 2, count: 1 }])
    expect(hub.getTopic('a/1')).toBeNull()
    hub.subscribe('slow', 'a/1')
    clock.advance(120_000)
    expect(on('slow')).toEqual(['a/1 named'])
  })

  it('forgotten for several: what a handler publishes meanwhile reaches all of them, and their books are right', () => {
    const all = ['ann', 'bob', 'cat'].map(id => {
      const connection = connect(id)
      hub.subscribePattern(id, 'a/*')
      return connection
    })
    publish('a/1', '1')
    clock.advance(59_000)
    const members = new Set(['ann', 'bob', 'cat'])
    hub.events.on('subscribe', ({ id }) => members.add(id))
    hub.events.on('unsubscribe', ({ id }) => members.delete(id))
    hub.events.once('unsubscribe', () => void publish('a/1', '2'))
    clock.advance(3000)
    expect(all.map(connection => connection.texts())).toEqual(Array(3).fill(['1', '2']))
    expect([...members].sort()).toEqual(['ann', 'bob', 'cat'])
    expect(hub.getTopic('a/1')).toMatchObject({ subscribers: 3, published: 2 })
    clock.advance(120_000)
    expect(hub.getConnectionStats()).toMatchObject({ topics: 0 })
    expectPositionsAlone(hub)
    expect(members.size).toBe(0)
  })

  it('is forgotten for one that a handler ends meanwhile', () => {
    connect('ann')
    connect('bob')
    for (const id of ['ann', 'bob']) hub.subscribePattern(id, 'a/*')
    publish('a/1')
    hub.events.once('unsubscribe', () => void hub.unregisterClient('bob'))
    clock.advance(62_000)
    expect(hub.getConnectionStats()).toMatchObject({ topics: 0, clients: 1, patterns: 1, subscriptions: 0 })
    expect(events.filter(event => event.endsWith('-a/1')).sort()).toEqual(['ann -a/1', 'bob -a/1'])
  })
})

describe('a handler of what a new topic tells', () => {
  it('may end the very client that subscribes: no link is left behind', () => {
    connect('ann')
    connect('bob')
    hub.subscribePattern('bob', '**')
    hub.events.once('subscribe', () => void hub.unregisterClient('ann'))
    expect(() => hub.subscribe('ann', 'a')).toThrow(expect.objectContaining({ code: 'CONNECTION_NOT_FOUND' }))
    expect(hub.getTopic('a')).toMatchObject({ subscribers: 1 })
    hub.unregisterClient('bob')
    clock.advance(2000)
    expect(hub.getConnectionStats()).toMatchObject({ topics: 0, subscriptions: 0 })
  })

  it('may publish to it: that comes first', () => {
    const ann = connect('ann')
    hub.subscribePattern('ann', '**')
    hub.events.once('subscribe', () => void publish('a', 'from within'))
    expect(publish('a', 'outer').position.seq).toBe(2)
    clock.settle()
    expect(ann.texts()).toEqual(['from within', 'outer'])
  })

  it('may end it: what is published goes to nobody, and is not kept', () => {
    connect('ann')
    hub.subscribePattern('ann', '**')
    hub.events.once('subscribe', () => {
      rules.a = 'unknown'
      hub.refreshTopics()
    })
    expect(() => publish('a')).toThrow(expect.objectContaining({ code: 'TOPIC_UNKNOWN' }))
    clock.advance(1000)
    expect(hub.getConnectionStats()).toMatchObject({ topics: 0 })
    expectPositionsAlone(hub)
  })

  it('may give up the pattern, or end the client, half way through', () => {
    connect('ann')
    for (const name of ['a/1', 'a/2', 'a/3']) publish(name)
    hub.events.once('subscribe', () => void hub.unsubscribePattern('ann', 'a/*'))
    expect(hub.subscribePattern('ann', 'a/*').topics).toBe(0)
    expect(on('ann')).toEqual([])
    hub.events.once('subscribe', () => void hub.unregisterClient('ann'))
    hub.subscribePattern('ann', 'a/*')
    expect(hub.getConnectionStats()).toMatchObject({ patterns: 0, subscriptions: 0 })
  })
})

it('a topic that is full by what there may be is made no second time for a handler that was quicker', () => {
  hub.setLimits({ maxTopics: 1 })
  connect('ann')
  hub.subscribePattern('ann', 'a/*')
  publish('a/1')
  clock.advance(59_500)
  let made: unknown
  hub.events.once('unsubscribe', () => {
    made = publish('a/2', 'inner')
  })
  clock.elapse(2000)
  expect(publish('a/2', 'outer').position).toEqual({ epoch: expect.any(String), seq: 2 })
  expect(made).toMatchObject({ position: { seq: 1 } })
  expect(hub.getConnectionStats().topics).toBe(1)
})
