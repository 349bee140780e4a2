import { afterEach, describe, expect, it } from 'vitest'
import type { Broker, Publication } from '../../src/core/broker.ts'
import * as hubline from '../../src/index.ts'
import { jwtSessions, Revocations, SessionWatch } from '../../src/sessions/index.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/index.ts'
import {
  CallbackClients,
  httpStream,
  join,
  multipart,
  newClientId,
  sse,
  webSocketTopic,
} from '../../src/transports/index.ts'

const { buffered, createHub, HubError, latest, memoryBroker, rateLimit, topicRules } = hubline
type Wrong = never

const hubs: hubline.Hub[] = []
afterEach(async () => {
  for (const hub of hubs.splice(0)) await hub.close()
})

function hubOf(options?: Parameters<typeof createHub>[0]) {
  const hub = createHub(options)
  hubs.push(hub)
  return hub
}

function broken(): never {
  throw new Error('broken')
}

async function refusalOf(call: () => unknown): Promise<string> {
  try {
    await call()
  } catch (error) {
    expect(error).toBeInstanceOf(HubError)
    const { code, message } = error as hubline.HubError
    return `${code} ${message}`
  }
  throw new Error('it was accepted')
}

describe('a session', () => {
  const wrong: [string, unknown, RegExp][] = [
    ['a date as text', { user: 'ann', expiresAt: '2030-01-01' }, /session\.expiresAt must be a time in ms since 1970/],
    ['NaN', { user: 'ann', expiresAt: Number.NaN }, /expiresAt .* got NaN/],
    ['null', { user: 'ann', expiresAt: null }, /expiresAt .* got null/],
    ['a BigInt', { user: 'ann', expiresAt: 5n }, /expiresAt .* got 5/],
    ['a time of issue as text', { user: 'ann', issuedAt: 'now' }, /issuedAt .* got "now"/],
    ['a list', [], /session must be an object/],
  ]
  it.each(wrong)('with %s never ended; it is refused', async (_, session, message) => {
    const hub = hubOf()
    expect(await refusalOf(() => hub.registerClient('a', new FakeConnection(), { session: session as Wrong }))).toMatch(
      message,
    )
    hub.registerClient('b', new FakeConnection(), { session: { user: 'ann' } })
    expect(await refusalOf(() => hub.setSession('b', session as Wrong))).toMatch(message)
  })
})

describe('publish, as over HTTP', () => {
  const wrong: [object, RegExp][] = [
    [{ contentType: 'a\nb' }, /contentType must be 1 to 255 printable ASCII characters/],
    [{ contentType: '' }, /contentType must be/],
    [{ contentType: 'x'.repeat(256) }, /contentType must be/],
    [{ correlationId: 'a b' }, /correlationId must be 1 to 255 printable ASCII characters without spaces/],
    [{ key: 'x'.repeat(256) }, /key must be at most 255 characters/],
    [{ publisher: { user: 'ann' } }, /publisher: unknown option "user": known names: client, session$/],
    [{ publisher: { client: 5 } }, /publisher\.client must be a string, got 5/],
    [{ publisher: { session: { user: 5 } } }, /publisher\.session\.user must be a string/],
  ]
  it.each(wrong)('refuses %j', async (options, message) => {
    expect(await refusalOf(() => hubOf().publish('a', 'x', options))).toMatch(message)
  })

  it('keeps the publisher that it is given', async () => {
    const hub = hubOf({ topics: topicRules({ rules: { a: { publisher: true } } }) })
    await hub.publish('a', 'x', { publisher: { client: 'phone', session: { user: 'ann' } } })
    expect(hub.history('a').messages[0]?.publisher).toEqual({ client: 'phone', user: 'ann' })
  })
})

describe('a broker', () => {
  const brokerOf = (answer: unknown) => ({ ...memoryBroker(), name: 'mine', publish: () => answer as Wrong })
  const stub = { start() {}, join() {}, leave() {}, close() {} }

  const answer = { position: { epoch: 'e', seq: 1 }, matched: 0, behind: 0, unsupported: 0 }
  it.each<unknown[]>([
    ...[[5], [{}], [null], ['x'], [{ ...answer, position: 5 }], [{ ...answer, position: { epoch: 5, seq: 1 } }]],
    ...[
      [{ ...answer, position: { epoch: 'e', seq: '1' } }],
      [{ ...answer, matched: '0' }],
      [{ position: answer.position }],
    ],
  ])('that answers %j makes publish reject with INTERNAL', async answer => {
    const hub = hubOf({ broker: { ...brokerOf(answer), ...stub } })
    expect(await refusalOf(() => hub.publish('a', 'x'))).toMatch(
      /^INTERNAL publish of broker "mine" must answer a RouteResult/,
    )
  })

  it('may answer a promise of another library', async () => {
    const result = { position: { epoch: 'e', seq: 1 }, matched: 0, behind: 0, unsupported: 0 }
    const thenable = {
      // biome-ignore lint/suspicious/noThenProperty: it is such a promise
      then(resolve: (value: unknown) => void) {
        resolve(result)
      },
    }
    const hub = hubOf({ broker: { ...brokerOf(thenable), ...stub } })
    expect(await hub.publish('a', 'x')).toEqual(result)
  })
})

describe('what beforePublish returns', () => {
  async function publishedWith(change: unknown) {
    const faults: string[] = []
    const hub = hubOf({ beforePublish: () => change as Wrong })
    hub.events.on('fault', ({ error }) => faults.push((error as Error).message))
    const outcome = await hub.publish('a', 'words').then(
      () => 'published',
      ({ code, message }) => `${code} ${message}`,
    )
    const [message] = hub.history('a').messages
    return { outcome, faults, message: message && `${message.contentType} ${Buffer.from(message.payload)}` }
  }

  it.each([
    [{ dta: 'redacted' }, /unknown option "dta": did you mean "data"/],
    [{ topic: 'b' }, /unknown option "topic"/],
    [{ contentType: 'a\nb' }, /contentType must be/],
    [{ key: 5 }, /key must be/],
    [{ data: 10n }, /data: it has no form in JSON/],
    [{ data: new Map() }, /data: Map has no form in JSON/],
    [{ data: Number.NaN }, /data: NaN has no form in JSON/],
  ])('%o is a fault of the hook: nothing is published', async (change, fault) => {
    const { outcome, faults, message } = await publishedWith(change)
    expect(outcome).toBe('INTERNAL publication: beforePublish failed; see the fault event')
    expect(faults).toEqual([expect.stringMatching(fault)])
    expect(message).toBeUndefined()
  })

  it('a value is JSON, and text stays what it was', async () => {
    expect((await publishedWith({ data: { a: 1 } })).message).toBe('application/json {"a":1}')
    expect((await publishedWith({ data: 'other' })).message).toBe('text/plain; charset=utf-8 other')
    expect((await publishedWith({ data: { a: 1 }, contentType: 'text/csv' })).message).toBe('text/csv {"a":1}')
  })
})

describe('a session manager', () => {
  it('that throws in `revoked` is a fault, and other sessions are asked', () => {
    const scheduler = new ManualScheduler()
    const hub = hubOf({ scheduler })
    const faults: string[] = []
    hub.events.on('fault', ({ where }) => faults.push(where))
    hub.sessionWatch.ask({
      revoked({ user }) {
        if (user === 'eve') throw new Error('away')
        return user === 'bob'
      },
    })
    const [eve, bob] = ['eve', 'bob'].map(user => {
      const connection = new FakeConnection()
      connection.client = hub.registerClient(user, connection, { session: { user } })
      return connection
    })
    scheduler.advance(1000)
    expect(faults).toContain('revoked of the session manager')
    expect(eve?.closedFor).toBeUndefined()
    expect(bob?.closedFor).toBe('revoked')
  })

  it('is checked when it is given', async () => {
    const { sessionWatch } = hubOf()
    for (const wrong of [undefined, 5, { revoked: 5 }]) {
      expect(await refusalOf(() => sessionWatch.ask(wrong as Wrong))).toMatch(/^REQUEST_INVALID sessions must be/)
    }
    expect(await refusalOf(() => sessionWatch.ask({ revokd: () => true } as Wrong))).toBe(
      'REQUEST_INVALID sessions: unknown option "revokd": did you mean "revoked"?',
    )
    const manager = { ...hubline.openSessions, ofMine: 5 }
    for (const right of [{}, manager, new Revocations(), { revoked: () => true, mine: 5 }]) {
      expect(() => sessionWatch.ask(right)).not.toThrow()
    }
  })
})

describe('a revocation', () => {
  it.each([undefined, null, 5, {}])('of %o is refused: it would revoke nothing', async value => {
    const revocations = new Revocations()
    expect(await refusalOf(() => revocations.revokeUser(value as Wrong))).toMatch(
      /^REQUEST_INVALID user must be a string/,
    )
    expect(await refusalOf(() => revocations.revokeToken(value as Wrong))).toMatch(/^REQUEST_INVALID tokenId must be/)
    expect(revocations.size).toBe(0)
  })
})

describe('a SessionWatch', () => {
  it.each<[unknown, RegExp]>([
    [undefined, /options must be an object, got undefined$/],
    [{}, /sessionWatch: hub must be a hub with the methods sessionOf, unregisterClient, got undefined$/],
    [{ hub: {} }, /hub must be a hub/],
    [{ hub: 'real' }, /sessionWatch: scheduler must be a scheduler with the methods every, defer, got undefined$/],
    [
      { hub: 'real', scheduler: new ManualScheduler(), sesions: {} },
      /unknown option "sesions": did you mean "sessions"\?$/,
    ],
    [{ hub: 'real', scheduler: new ManualScheduler(), sessions: { revoked: 5 } }, /sessionWatch: sessions must be/],
    [{ hub: 'real', scheduler: new ManualScheduler(), now: 5 }, /sessionWatch: now must be a function, got 5$/],
  ])('of %j is refused', async (given, message) => {
    const { hub } = (given ?? {}) as { hub?: unknown }
    const options = hub === 'real' ? { ...(given as object), hub: hubOf() } : given
    const refusal = await refusalOf(() => new SessionWatch(options as Wrong))
    expect(refusal).toMatch(/^CONFIG_INVALID sessionWatch: /)
    expect(refusal).toMatch(message)
  })
})

describe('a policy inside of rate-limit', () => {
  it('that throws when it opens does not starve the link', () => {
    const scheduler = new ManualScheduler()
    const hub = hubOf({ scheduler })
    const faults: string[] = []
    hub.events.on('fault', ({ error }) => faults.push((error as Error).message))
    const inner = Object.freeze({
      ...latest(),
      open() {
        throw new Error('once')
      },
    })
    const connection = new FakeConnection()
    connection.client = hub.registerClient('a', connection)
    hub.subscribe('a', 'news', { policy: rateLimit({ messages: 1000 }, inner) })
    for (let i = 0; i < 3; i++) {
      hub.routeData('news', Buffer.from('x'))
      scheduler.settle()
    }
    expect(connection.seqs()).toEqual([1, 2, 3])
    expect(faults).toEqual(['once'])
  })
})

describe('a confirmation', () => {
  function sentFive() {
    const scheduler = new ManualScheduler()
    const hub = hubOf({ scheduler })
    const connection = new FakeConnection()
    const client = hub.registerClient('a', connection)
    connection.client = client
    hub.subscribe('a', 't', { policy: hubline.reliable() })
    for (let i = 0; i < 5; i++) hub.routeData('t', Buffer.from('x'))
    scheduler.settle()
    const { epoch } = hub.positionOf('t')!
    const counts = () => {
      const { delivered, pending, unconfirmed } = hub.getSubscription('a', 't')!
      return [delivered, pending, unconfirmed]
    }
    return { hub, client, epoch, counts }
  }
  const wrong = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -1, 1.5, '3', 3n, [3], null, undefined]

  it.each(wrong)('of seq %o is refused, and counts nothing', async seq => {
    const { hub, epoch, counts } = sentFive()
    expect(await refusalOf(() => hub.acknowledge('a', 't', { epoch, seq: seq as Wrong }))).toMatch(
      /^REQUEST_INVALID position must be a position { epoch, seq }, seq an integer of at least 0, got an object$/,
    )
    expect(counts()).toEqual([0, 5, 5])
    expect(hub.acknowledge('a', 't', { epoch, seq: 5 })).toBe(5)
  })

  it.each([5, 'x', null, undefined, {}])('that is %o is refused', async position => {
    const { hub, counts } = sentFive()
    expect(await refusalOf(() => hub.acknowledge('a', 't', position as Wrong))).toMatch(
      /^REQUEST_INVALID position must/,
    )
    expect(counts()).toEqual([0, 5, 5])
  })

  it('of what was never sent, of another client and of another topic is refused', async () => {
    const { hub, epoch, counts } = sentFive()
    expect(await refusalOf(() => hub.acknowledge('a', 't', { epoch, seq: 6 }))).toMatch(/^POSITION_INVALID/)
    expect(await refusalOf(() => hub.acknowledge('a', 't', { epoch: 'x', seq: 5 }))).toMatch(/^POSITION_INVALID/)
    expect(await refusalOf(() => hub.acknowledge('b', 't', { epoch, seq: 5 }))).toMatch(/^CONNECTION_NOT_FOUND/)
    expect(await refusalOf(() => hub.acknowledge('a', 'u', { epoch, seq: 5 }))).toMatch(/^NOT_SUBSCRIBED/)
    expect(counts()).toEqual([0, 5, 5])
  })

  it.each([...wrong, 6])('of seq %o by a connection counts nothing', seq => {
    const { client, counts } = sentFive()
    expect(client.confirmed('t', seq as Wrong)).toBe(0)
    expect(counts()).toEqual([0, 5, 5])
    expect(client.confirmed('t', 5)).toBe(5)
    expect(counts()).toEqual([5, 0, 0])
  })
})

describe('join, where a handler gives the id to another client', () => {
  class Joining extends FakeConnection {
    bind(client: hubline.Client) {
      this.client = client
    }
    detach() {}
  }

  it.each<[string, 'register' | 'subscribe' | 'subscribePattern', number, string[]]>([
    ['in the last subscription', 'subscribe', 2, ['a', 'b']],
    ['in the only subscription', 'subscribe', 1, ['b']],
    ['in the registration without topics', 'register', 1, []],
    ['in the last pattern', 'subscribePattern', 1, ['a', 'b/*']],
  ])('%s, throws as for any client that is replaced', async (_, event, which, names) => {
    const hub = hubOf({ scheduler: new ManualScheduler() })
    const other = new FakeConnection()
    let left: number = which
    hub.events.on(event, () => {
      if (--left === 0) other.client = hub.registerClient('x', other)
    })
    const topics = names.map(name => ({ name }))
    expect(await refusalOf(() => join(new Joining(), { hub, clientId: 'x', topics }))).toBe(
      'CONNECTION_NOT_FOUND client: x was closed or replaced before it was subscribed',
    )
    expect([hub.handleOf('x'), other.closedFor]).toEqual([other.client, undefined])
  })
})

/** Options whose fields are in the prototype. */
class NoMessages {
  get messages() {
    return 0
  }
}

describe('other calls', () => {
  const calls: [string, () => unknown, RegExp][] = [
    [
      'limits that are null',
      () => createHub({ limits: null as Wrong }),
      /^CONFIG_INVALID createHub: limits must be an object/,
    ],
    ['a stream of nothing', () => hubOf().stream(undefined as Wrong), /^TOPIC_INVALID topic: undefined/],
    [
      'a content type that is no header',
      () => hubOf().routeData('news', Buffer.from('x'), { contentType: 'text/plain\r\nset-cookie: a=b' }),
      /^REQUEST_INVALID contentType must be 1 to 255 printable ASCII characters/,
    ],
    [
      'a content type of a transport that is no header',
      () => hubOf().publishBytes('news', Buffer.from('x'), { contentType: '' }),
      /^REQUEST_INVALID contentType must be 1 to 255 printable ASCII characters/,
    ],
    [
      'an option that is wrong in a class',
      () => buffered(new NoMessages()),
      /^POLICY_INVALID buffered: messages must be an integer from 1 to 1000000, got 0/,
    ],
    ['a BigInt as an id', () => hubOf().subscribe(10n as Wrong, 'a'), /^CONNECTION_NOT_FOUND client: no client 10/],
    ['a listener of rules', () => topicRules().onChange(5 as Wrong), /^REQUEST_INVALID listener must be a function/],
    [
      'a secret of tokens',
      () => jwtSessions({ secret: 5 as Wrong, algorithms: ['HS256'], issuer: 'a', audience: 'b' }),
      /^CONFIG_INVALID jwt: secret: it must be a string/,
    ],
    [
      'a secret of requests that is null',
      () => new CallbackClients(hubOf()).register({ url: 'https://example.org/', secret: null as Wrong }),
      /^REQUEST_INVALID secret: it must be whsec_/,
    ],
    [
      'a form of events',
      () => sse('singel' as Wrong, 'text'),
      /^REQUEST_INVALID naming must be one of "single", "named"/,
    ],
    ['no form of events', () => sse('single', undefined as Wrong), /^REQUEST_INVALID encoding must be one of/],
  ]
  it.each(calls)('refuse %s', async (_, call, message) => {
    expect(await refusalOf(call)).toMatch(message)
  })

  it('a code of an application is status 500', () => {
    expect(new HubError('SWEARING' as Wrong, 'no').status).toBe(500)
  })
})

describe('a rule of topics, as over HTTP', () => {
  it.each([
    [{ maxMessageBytes: 0 }, /maxMessageBytes must be an integer from 1 to 67108864/],
    [{ maxMessageBytes: 2 ** 30 }, /maxMessageBytes must be/],
    [{ maxSubscribers: 10_000_001 }, /maxSubscribers must be an integer from 0 to 10000000/],
    [{ lingerMs: 1001 }, /lingerMs must be a number from 0 to 1000/],
  ])('refuses %j', async (rule, message) => {
    expect(await refusalOf(() => topicRules({ rules: { a: rule } }))).toMatch(message)
  })
})

describe('a rule of topics with what JSON cannot say', () => {
  const circle: Record<string, unknown> = {}
  circle.self = circle
  it.each([
    ['a function', { a: () => 1 }],
    ['NaN', { a: Number.NaN }],
    ['Infinity in a list', { a: [Number.POSITIVE_INFINITY] }],
    ['a Map', { a: { b: new Map([[1, 2]]) } }],
    ['a Date', { a: new Date() }],
    ['a symbol', { a: Symbol('x') }],
    ['bytes', { a: new Uint8Array(3) }],
    ['a toJSON', { toJSON: () => 5 }],
    ['a BigInt', { a: 5n }],
    ['a circle', circle],
  ])('metadata: %s', async (_, metadata) => {
    expect(await refusalOf(() => topicRules({ rules: { a: { metadata } } }))).toMatch(
      /^REQUEST_INVALID rule a: metadata must be a value that JSON can express/,
    )
  })

  it('metadata of plain values is kept', () => {
    const metadata = { text: 'a', number: -0.5, flag: true, nothing: null, list: [1, { a: [] }], left: undefined }
    expect(topicRules({ rules: { a: { metadata } } }).get('a')?.metadata).toEqual(metadata)
  })

  const throwing = Object.defineProperty({}, '~standard', { get: () => broken(), enumerable: true })
  it.each<[string, unknown, RegExp]>([
    ['a number', { '~standard': 5 }, /^REQUEST_INVALID schema: ~standard\.validate must be a function, got undefined$/],
    ['null', { '~standard': null }, /~standard\.validate must be a function, got undefined$/],
    ['a wrong validate', { '~standard': { validate: 5 } }, /~standard\.validate must be a function, got 5$/],
    ['a getter that throws', throwing, /~standard\.validate cannot be read: its getter throws$/],
  ])('a Standard Schema of %s', async (_, schema, message) => {
    expect(await refusalOf(() => topicRules({ rules: { a: { schema: schema as Wrong } } }))).toMatch(message)
  })

  it.each<[string, unknown]>([
    ['a Map', new Map([['type', 'string']])],
    ['a Date', new Date()],
    ['a promise', Promise.resolve({})],
    ['a Map of properties', { properties: new Map([['a', { type: 'string' }]]) }],
    ['a function inside', { examples: [() => 1] }],
    ['NaN', { const: Number.NaN }],
  ])('a JSON Schema: %s', async (_, schema) => {
    expect(await refusalOf(() => topicRules({ rules: { a: { schema: schema as Wrong } } }))).toMatch(
      /^REQUEST_INVALID schema: it must be a value that JSON can express, got an? (object|promise)$/,
    )
  })

  it.each([[['']], [[' latest']], [['latest\n']]])('allowedPolicies: %j', async allowedPolicies => {
    expect(await refusalOf(() => topicRules({ rules: { a: { allowedPolicies } } }))).toMatch(
      /^REQUEST_INVALID rule a: allowedPolicies must be an array of names of policies, got an array$/,
    )
  })

  it('allowedPolicies takes names of policies that an application has made', () => {
    expect(() => topicRules({ rules: { a: { allowedPolicies: ['My policy', 'latest'] } } })).not.toThrow()
  })
})

describe('an opening', () => {
  const openings: [object, RegExp][] = [
    [{ sesion: { user: 'ann' } }, /unknown option "sesion": did you mean "session"/],
    [{ heartbeat: { pingMs: 5 } }, /heartbeat must be a Heartbeat or false/],
    [{ topics: ['news'] }, /topics must be an array of \{ name, options \}/],
    [{ topics: [{ name: 'news', polcy: latest() }] }, /topics must be an array of/],
    [{ topics: undefined }, /topics must not be undefined/],
    [{ hub: undefined }, /hub must not be undefined/],
  ]
  it.each(openings)('%j is refused before anything is written', async (wrong, message) => {
    const hub = hubOf()
    const opening = { hub, clientId: newClientId(), topics: [{ name: 'news' }], ...wrong }
    for (const transport of [sse('single', 'text'), httpStream, multipart, webSocketTopic]) {
      expect(await refusalOf(() => transport.open({} as Wrong, opening as Wrong))).toMatch(message)
    }
    expect(hub.getConnectionStats().clients).toBe(0)
  })
})

describe('a wrong value in a publication', () => {
  const bytes = new Uint8Array(1)
  const circle: Record<string, unknown> = {}
  circle.self = circle
  const wrong: [string, Record<string, unknown>, string][] = [
    ['a key', { key: 5 }, 'key must be a string, got 5'],
    ['a key that is null', { key: null }, 'key must be a string, got null'],
    ['a correlation id', { correlationId: {} }, 'correlationId must be a string, got an object'],
    ['a content type', { contentType: 5 }, 'contentType must be'],
    ['a user', { publisher: { session: { user: 42 } } }, 'publisher.user must be a string, got 42'],
  ]

  it.each(wrong)('%s: routeData refuses it, and the account of memory stays', (_, options, message) => {
    const hub = createHub({ topics: topicRules({ defaults: { publisher: true } }) })
    expect(() => hub.routeData('a', bytes, options)).toThrow(
      expect.objectContaining({ code: 'REQUEST_INVALID', message: expect.stringContaining(message) }),
    )
    expect(hub.getConnectionStats().keptBytes).toBe(0)
    expect(hub.getTopic('a')).toBeNull()
  })

  it.each<[string, Record<string, unknown>]>([
    ['a key', { key: 5 }],
    ['a key that is null', { key: null }],
    ['a correlation id', { correlationId: {} }],
    ['a content type', { contentType: 5 }],
    ['data that is a text', { data: 'text' }],
    ['a user', { publisher: { user: 5 } }],
    ['a publisher that is null', { publisher: null }],
    ['no content type', { contentType: undefined }],
    ['a client that is no string', { publisher: { client: 5 } }],
    ['an info that is a circle', { publisher: { info: circle } }],
    ['an info that is a BigInt', { publisher: { info: 5n } }],
    ['a topic that is none', { topic: '..' }],
    ['a topic that is a number', { topic: 5 }],
    ['a topic with a slash before it', { topic: '/a' }],
  ])('%s: a broker that hands it over gets the error, and a fault names the broker', (_, fields) => {
    const scheduler = new ManualScheduler()
    const faults: string[] = []
    let sink: (publication: Publication) => unknown = () => {}
    const broker: Broker = {
      name: 'own',
      start: to => {
        sink = to
      },
      publish: () => Promise.reject(new Error('unused')),
      join: () => {},
      leave: () => {},
      close: async () => {},
    }
    const hub = createHub({ broker, scheduler })
    hub.events.on('fault', ({ where }) => faults.push(where))
    const right = { topic: 'a', data: bytes, contentType: 'text/plain' } as unknown as Publication
    expect(() => sink({ ...right, ...fields } as Publication)).toThrow(expect.objectContaining({ name: 'HubError' }))
    expect([hub.getConnectionStats().keptBytes, [...hub.getTopicNames()]]).toEqual([0, []])
    scheduler.settle()
    expect(faults).toEqual(["sink of broker 'own'"])
    expect(sink(right)).toMatchObject({ position: { seq: 1 } })
  })

  it.each([undefined, null, 5, 'x'])('a broker that hands over %o gets the error', value => {
    const scheduler = new ManualScheduler()
    const faults: string[] = []
    let sink: (publication: Publication) => unknown = () => {}
    const start: Broker['start'] = to => {
      sink = to
    }
    const hub = hubOf({ broker: { ...memoryBroker(), name: 'own', start }, scheduler })
    hub.events.on('fault', ({ where }) => faults.push(where))
    expect(() => sink(value as Wrong)).toThrow(expect.objectContaining({ code: 'REQUEST_INVALID' }))
    scheduler.settle()
    expect(faults).toEqual(["sink of broker 'own'"])
  })

  it('a publisher with a wrong value gets the error, and the broker is not blamed', async () => {
    const scheduler = new ManualScheduler()
    const faults: string[] = []
    const hub = hubOf({ scheduler })
    hub.events.on('fault', ({ where }) => faults.push(where))
    const call = () => hub.publishBytes('a', bytes, { key: 5 as Wrong })
    expect(await refusalOf(call)).toBe('REQUEST_INVALID key must be a string, got 5')
    scheduler.settle()
    expect(faults).toEqual([])
  })

  it.each([null, {}, 'text', 5])('client.send(%j) throws, and the client and the others go on', async frame => {
    const scheduler = new ManualScheduler()
    const hub = createHub({ scheduler })
    const connections = ['good', 'bad'].map(id => {
      const connection = new FakeConnection()
      connection.client = hub.registerClient(id, connection)
      hub.subscribe(id, 't')
      return connection
    })
    expect(() => connections[1]!.client!.send(frame as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_MESSAGE' }),
    )
    hub.routeData('t', bytes)
    scheduler.settle()
    expect(connections.map(each => each.seqs('t'))).toEqual([[1], [1]])
    expect(hub.getConnectionStats().keptBytes).toBeGreaterThan(0)
  })
})
