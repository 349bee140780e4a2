import { afterEach, describe, expect, it } from 'vitest'
import * as hubline from '../../src/index.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'

const { createHub, topicRules, openTopics, HubError } = hubline
const { latest, bestEffort, buffered, dropSlow, reliable, rateLimit, priority } = hubline

const hubs: hubline.Hub[] = []
afterEach(async () => {
  for (const hub of hubs.splice(0)) await hub.close()
})

function hubWith(...clients: readonly (readonly [id: string, user?: string])[]) {
  const hub = createHub()
  hubs.push(hub)
  const connections = clients.map(([id, user]) => {
    const connection = new FakeConnection()
    connection.client = hub.registerClient(id, connection, { session: { user } })
    return connection
  })
  return { hub, received: () => connections.map(connection => connection.directs().length) }
}

/** What JavaScript may give where TypeScript would refuse. */
type Wrong = never

async function refusalOf(call: () => unknown): Promise<[string, string]> {
  try {
    await call()
  } catch (error) {
    expect(error).toBeInstanceOf(HubError)
    const { code, message } = error as hubline.HubError
    return [code, message]
  }
  throw new Error('it was accepted')
}

describe('everybody is asked for by name', () => {
  const filters: [unknown, RegExp][] = [
    [{}, /^filter: name topic, user or protocol, or everybody with \{ all: true \}$/],
    [{ usr: 'ann' }, /^filter: unknown option "usr": did you mean "user"\?$/],
    [{ user: undefined }, /^filter.user must not be undefined/],
    [{ topic: 'news', user: undefined }, /^filter.user must not be undefined/],
    [{ topic: undefined }, /^filter.topic must not be undefined/],
    [{ all: undefined }, /^filter.all must not be undefined/],
    [{ all: false }, /^filter.all must be true, got false$/],
    [{ all: true, user: 'ann' }, /^filter.all cannot be combined with user/],
    [{ except: ['ann'] }, /^filter: name topic, user or protocol/],
    [{ except: 'ann', all: true }, /^filter.except must be an array of strings, got "ann"$/],
    [{ user: 5 }, /^filter.user must be a string, got 5$/],
    [{ user: null }, /^filter.user must be a string, got null$/],
  ]
  it.each(filters)('%j sends nothing to anybody', async (filter, why) => {
    const { hub, received } = hubWith(['a', 'ann'], ['b', 'bob'], ['c'])
    expect(await refusalOf(() => hub.broadcast(filter as Wrong, 'private'))).toEqual([
      'REQUEST_INVALID',
      expect.stringMatching(why),
    ])
    expect(await refusalOf(() => hub.selectClients(filter as Wrong))).toEqual([
      'REQUEST_INVALID',
      expect.stringMatching(why),
    ])
    expect(received()).toEqual([0, 0, 0])
  })

  it.each<unknown>([undefined, null, 'a', 5, [undefined], ['a', 5], new Map([['a', 1]])])(
    'targets %# are no list of ids',
    async targets => {
      const { hub, received } = hubWith(['a'])
      expect((await refusalOf(() => hub.broadcast(targets as Wrong, 'x')))[0]).toBe('REQUEST_INVALID')
      expect(received()).toEqual([0])
    },
  )

  it('{ all: true } is everybody, but for those left out', async () => {
    const { hub } = hubWith(['a', 'ann'], ['b', 'bob'], ['c'])
    expect(hub.selectClients({ all: true })).toEqual(['a', 'b', 'c'])
    expect(hub.selectClients({ all: true, except: ['b'] })).toEqual(['a', 'c'])
    expect((await hub.broadcast({ all: true }, 'hello')).results.map(({ clientId }) => clientId)).toEqual([
      'a',
      'b',
      'c',
    ])
  })

  it.each<unknown>([undefined, null, 5, {}, ['ann']])('the user %j is none', async user => {
    const { hub } = hubWith(['a', 'ann'], ['b'])
    const calls = [
      () => hub.disconnectUser(user as Wrong),
      () => hub.isOnline(user as Wrong),
      () => hub.connectionsOf(user as Wrong),
      () => hub.sendToUser(user as Wrong, 'x'),
    ]
    for (const call of calls) {
      expect(await refusalOf(call)).toEqual(['REQUEST_INVALID', expect.stringMatching(/^user must be a string, got /)])
    }
    expect(hub.selectClients({ all: true })).toEqual(['a', 'b'])
  })
})

function circular(): Record<string, unknown> {
  const value: Record<string, unknown> = {}
  value.again = value
  return value
}

/** An object in so many others. */
function deep(levels: number): object {
  let value: object = {}
  for (let i = 0; i < levels; i++) value = { value }
  return value
}

describe('a mistake is an error at the call', () => {
  const hub = createHub()
  hub.registerClient('c', new FakeConnection())
  const CALL_IT = (name: string) =>
    new RegExp(`policy must be a delivery policy, got a function: call it, as in ${name}\\(\\)$`)
  const rules = (rule: unknown) => () => topicRules({ rules: { 'staff/*': rule as Wrong } })
  const throwing = {
    get policy(): never {
      throw new Error('mine')
    },
  }

  const mistakes: [string, () => unknown, string, RegExp][] = [
    // Settings of a hub.
    [
      'createHub: misspelt',
      () => createHub({ polcy: 1 } as Wrong),
      'CONFIG_INVALID',
      /createHub: unknown option "polcy": did you mean "policy"\?/,
    ],
    [
      'createHub: pings without a pause',
      () => createHub({ heartbeat: { pingMs: 1 } }),
      'CONFIG_INVALID',
      /^createHub: heartbeat\.pingMs must be a number from 100 to 2147483647, got 1$/,
    ],
    [
      'createHub: no object',
      () => createHub('x' as Wrong),
      'CONFIG_INVALID',
      /^createHub: options must be an object, got "x"$/,
    ],
    [
      'createHub: a name',
      () => createHub({ policy: 'latest' as Wrong }),
      'POLICY_INVALID',
      /got the name "latest": call its function, as in latest\(\)/,
    ],
    ['createHub: not called', () => createHub({ policy: latest as Wrong }), 'POLICY_INVALID', CALL_IT('latest')],
    [
      'createHub: a description',
      () => createHub({ policy: { name: 'latest' } as Wrong }),
      'POLICY_INVALID',
      /description of "latest": give parsePolicy\(description\)/,
    ],
    [
      'createHub: broker',
      () => createHub({ broker: {} as Wrong }),
      'CONFIG_INVALID',
      /createHub: broker must be a broker with the methods start, publish/,
    ],
    [
      'createHub: topics',
      () => createHub({ topics: { rules: {} } as Wrong }),
      'CONFIG_INVALID',
      /createHub: topics must be a registry of topics/,
    ],
    [
      'createHub: scheduler',
      () => createHub({ scheduler: {} as Wrong }),
      'CONFIG_INVALID',
      /createHub: scheduler must be/,
    ],
    [
      'createHub: size',
      () => createHub({ maxMessageBytes: -1 }),
      'CONFIG_INVALID',
      /maxMessageBytes must be an integer from 1 to 67108864, got -1/,
    ],
    [
      'createHub: limit',
      () => createHub({ limits: { maxClient: 1 } as Wrong }),
      'CONFIG_INVALID',
      /limits: unknown option "maxClient": did you mean "maxClients"\?/,
    ],
    [
      'createHub: no limit',
      () => createHub({ limits: { maxClients: undefined as Wrong } }),
      'CONFIG_INVALID',
      /limits.maxClients must be an integer from 0 to 10000000, got undefined/,
    ],
    [
      'createHub: tracing',
      () => createHub({ tracing: 'yes' as Wrong }),
      'CONFIG_INVALID',
      /^tracing must be true or false, got "yes"$/,
    ],
    [
      'createHub: tracing',
      () => createHub({ tracing: { publsh: 'never' } as Wrong }),
      'CONFIG_INVALID',
      /tracing: unknown option "publsh": did you mean "publish"\?/,
    ],
    [
      'createHub: getter',
      () => createHub(throwing),
      'CONFIG_INVALID',
      /createHub: policy cannot be read: its getter throws/,
    ],
    ['setLimits', () => hub.setLimits({ maxClient: 1 } as Wrong), 'REQUEST_INVALID', /did you mean "maxClients"\?/],
    // Policies.
    ['latest', () => latest({ keys: 1 } as Wrong), 'POLICY_INVALID', /^latest: unknown option "keys": it takes none$/],
    [
      'bestEffort',
      () => bestEffort({ keys: 1 } as Wrong),
      'POLICY_INVALID',
      /^bestEffort: unknown option "keys": it takes none$/,
    ],
    [
      'buffered: misspelt',
      () => buffered({ byts: 3 } as Wrong),
      'POLICY_INVALID',
      /^buffered: unknown option "byts": did you mean "bytes"\?$/,
    ],
    [
      'buffered: range',
      () => buffered({ bytes: -3 }),
      'POLICY_INVALID',
      /^buffered: bytes must be an integer from 1 to 268435456, got -3$/,
    ],
    [
      'buffered: choice',
      () => buffered({ overflow: 'drop' as Wrong }),
      'POLICY_INVALID',
      /^buffered: overflow must be one of "drop-oldest", "drop-newest", "close", got "drop"$/,
    ],
    ['dropSlow', () => dropSlow({ timeout: 3 } as Wrong), 'POLICY_INVALID', /did you mean "timeoutMs"\?/],
    [
      'dropSlow: range',
      () => dropSlow({ floorRate: 0 }),
      'POLICY_INVALID',
      /^dropSlow: floorRate must be a number from 1 to 1000000000000, got 0$/,
    ],
    [
      'reliable',
      () => reliable({ ackMs: 1 }),
      'POLICY_INVALID',
      /^reliable: ackMs must be an integer from 100 to 300000, got 1$/,
    ],
    [
      'rateLimit: no inner',
      () => rateLimit({ messages: 3 }, undefined as Wrong),
      'POLICY_INVALID',
      /^rateLimit: inner must be a delivery policy, got undefined: give one, such as latest\(\)$/,
    ],
    [
      'rateLimit: not called',
      () => rateLimit({ messages: 3 }, latest as Wrong),
      'POLICY_INVALID',
      /rateLimit: inner must be .* call it, as in latest\(\)$/,
    ],
    [
      'rateLimit: no rate',
      () => rateLimit({ messages: undefined as Wrong }, latest()),
      'POLICY_INVALID',
      /^rateLimit: give messages, bytes or both/,
    ],
    ['priority', () => priority({ socketByte: 1 } as Wrong), 'POLICY_INVALID', /did you mean "socketBytes"\?/],
    [
      'priority: inner',
      () => priority({}, 'latest' as Wrong),
      'POLICY_INVALID',
      /^priority: inner must be a delivery policy, got the name "latest"/,
    ],
    [
      'setDeliveryPolicy: a name',
      () => hub.setDeliveryPolicy('t', 'latest' as Wrong),
      'POLICY_INVALID',
      /got the name "latest": call its function/,
    ],
    [
      'setDeliveryPolicy: not called',
      () => hub.setDeliveryPolicy('t', dropSlow as Wrong),
      'POLICY_INVALID',
      CALL_IT('dropSlow'),
    ],
    [
      'setDeliveryPolicy: nothing',
      () => hub.setDeliveryPolicy('t', undefined as Wrong),
      'POLICY_INVALID',
      /got undefined: give one/,
    ],
    [
      'setClientPolicy',
      () => hub.setClientPolicy('c', { name: 'latest', backlog: {} } as Wrong),
      'POLICY_INVALID',
      /parsePolicy/,
    ],
    [
      'a policy of their own',
      () => hub.setClientPolicy('c', { ...latest(), backlog: {} } as Wrong),
      'POLICY_INVALID',
      /backlog.kind/,
    ],
    // Rules of topics.
    [
      'topicRules: misspelt',
      rules({ subscibe: 'nobody' }),
      'REQUEST_INVALID',
      /^rule staff\/\*: unknown option "subscibe": did you mean "subscribe"\?$/,
    ],
    [
      'topicRules: choice',
      rules({ subscribe: 'noone' }),
      'REQUEST_INVALID',
      /subscribe must be one of "anyone", "users", "nobody", got "noone"/,
    ],
    [
      'topicRules: open by mistake',
      rules({ subscribe: undefined }),
      'REQUEST_INVALID',
      /^rule staff\/\*: subscribe must not be undefined/,
    ],
    [
      'topicRules: open by mistake',
      rules({ allowedPolicies: undefined }),
      'REQUEST_INVALID',
      /allowedPolicies must not be undefined/,
    ],
    [
      'topicRules: defaults that are open by mistake',
      () => topicRules({ defaults: { subscribe: undefined } }),
      'REQUEST_INVALID',
      /^topicRules: defaults.subscribe must not be undefined/,
    ],
    [
      'topicRules: a name',
      rules({ policy: 'latest' }),
      'POLICY_INVALID',
      /rule staff\/\*: policy must be .* got the name "latest": call its function, as in latest\(\), or give parsePolicy\(name\)$/,
    ],
    ['topicRules: not called', rules({ policy: latest }), 'POLICY_INVALID', CALL_IT('latest')],
    [
      'topicRules: history',
      rules({ history: { message: 1 } }),
      'REQUEST_INVALID',
      /history: unknown option "message": did you mean "messages"\?/,
    ],
    [
      'topicRules: rate',
      rules({ publishRate: { messages: -1 } }),
      'REQUEST_INVALID',
      /publishRate.messages must be a number over 0 and at most 1000000000, got -1/,
    ],
    [
      'topicRules: a history over the bound',
      rules({ history: { messages: 1e12 } }),
      'REQUEST_INVALID',
      /history.messages must be an integer from 0 to 1000000, got 1000000000000$/,
    ],
    [
      'topicRules: a rate of nothing',
      rules({ publishRate: { messages: undefined } }),
      'REQUEST_INVALID',
      /publishRate must be a rate of messages, bytes or both, got an object$/,
    ],
    [
      'topicRules: a choice',
      rules({ priority: 'hgh' }),
      'REQUEST_INVALID',
      /priority must be one of "high", "normal", "bulk", got "hgh"; did you mean "high"\?$/,
    ],
    ...[{ id: 10n }, { deep: deep(40) }, { long: 'x'.repeat(70_000) }, circular()].map(
      (metadata): [string, () => unknown, string, RegExp] => [
        `topicRules: metadata with ${Object.keys(metadata)}`,
        rules({ metadata }),
        'REQUEST_INVALID',
        /metadata must be (a value that JSON can express|JSON of at most 65536 bytes and 32 levels), got an object$/,
      ],
    ),
    [
      'registerClient: an info that is no JSON',
      () => hub.registerClient('x', new FakeConnection(), { session: { user: 'ann', info: { id: 10n } } }),
      'REQUEST_INVALID',
      /session.info must be a value that JSON can express, got an object$/,
    ],
    [
      'routeData: a publisher whose info is no JSON',
      () => {
        const told = createHub({ topics: topicRules({ defaults: { publisher: true } }) })
        told.routeData('a', new Uint8Array(1), { publisher: { session: { info: circular() } } })
      },
      'REQUEST_INVALID',
      /^publisher.session.info must be a value that JSON can express, got an object$/,
    ],
    [
      'topicRules: a list',
      () => topicRules({ rules: [] as Wrong }),
      'REQUEST_INVALID',
      /topicRules: rules must be an object, got an array/,
    ],
    [
      'topicRules: a Map',
      () => topicRules({ rules: new Map() as Wrong }),
      'REQUEST_INVALID',
      /topicRules: rules must be an object/,
    ],
    [
      'topicRules: options',
      () => topicRules({ rule: {} } as Wrong),
      'REQUEST_INVALID',
      /topicRules: unknown option "rule": did you mean "rules"\?/,
    ],
    [
      'topicRules: unknownTopics',
      () => topicRules({ unknownTopics: 'deny' as Wrong }),
      'REQUEST_INVALID',
      /unknownTopics must be one of "allow", "refuse"/,
    ],
    [
      'topicRules: defaults',
      () => topicRules({ defaults: { subscibe: 1 } as Wrong }),
      'REQUEST_INVALID',
      /defaults: unknown option "subscibe": did you mean "subscribe"\?/,
    ],
    [
      'TopicRules.set',
      () => topicRules().set('a', null as Wrong),
      'REQUEST_INVALID',
      /^rule a: options must be an object, got null$/,
    ],
    [
      'openTopics',
      () => openTopics({ maxMessageByte: 1 } as Wrong),
      'REQUEST_INVALID',
      /did you mean "maxMessageBytes"\?/,
    ],
    // Clients and subscriptions.
    [
      'registerClient: no connection',
      () => hub.registerClient('x', {} as Wrong),
      'REQUEST_INVALID',
      /^connection must be a connection with the methods write, close, got an object$/,
    ],
    [
      'registerClient: no codec',
      () => hub.registerClient('x', { protocol: 'p', write() {}, close() {} } as Wrong),
      'REQUEST_INVALID',
      /codec has the methods encode, concat/,
    ],
    [
      'registerClient: misspelt',
      () => hub.registerClient('x', new FakeConnection(), { sesion: {} } as Wrong),
      'REQUEST_INVALID',
      /^registerClient: unknown option "sesion": did you mean "session"\?$/,
    ],
    [
      'registerClient: user',
      () => hub.registerClient('x', new FakeConnection(), { session: { user: 5 } } as Wrong),
      'REQUEST_INVALID',
      /^session.user must be a string, got 5/,
    ],
    ['registerClient: id', () => hub.registerClient(5 as Wrong, new FakeConnection()), 'CLIENT_ID_INVALID', /./],
    ['setSession', () => hub.setSession('c', undefined as Wrong), 'REQUEST_INVALID', /^session must be an object/],
    [
      'unregisterClient',
      () => hub.unregisterClient('c', 'slwo' as Wrong),
      'REQUEST_INVALID',
      /^reason must be one of "peer"/,
    ],
    ['disconnectUser', () => hub.disconnectUser('ann', 5 as Wrong), 'REQUEST_INVALID', /^reason must be one of "peer"/],
    [
      'subscribe: misspelt',
      () => hub.subscribe('c', 't', { afer: 'oldest' } as Wrong),
      'REQUEST_INVALID',
      /^subscribe: unknown option "afer": did you mean "after"\?$/,
    ],
    [
      'subscribe: after',
      () => hub.subscribe('c', 't', { after: 5 as Wrong }),
      'REQUEST_INVALID',
      /^after must be "oldest" or a position \{ epoch, seq \}, got 5$/,
    ],
    [
      'subscribe: policy',
      () => hub.subscribe('c', 't', { policy: latest as Wrong }),
      'POLICY_INVALID',
      CALL_IT('latest'),
    ],
    [
      'subscribe: options',
      () => hub.subscribe('c', 't', null as Wrong),
      'REQUEST_INVALID',
      /^subscribe: options must be an object, got null$/,
    ],
    [
      'subscribePattern',
      () => hub.subscribePattern('c', '**', { policy: 'latest' as Wrong }),
      'POLICY_INVALID',
      /got the name "latest"/,
    ],
    ['history', () => hub.history('t', { limt: 5 } as Wrong), 'REQUEST_INVALID', /did you mean "limit"\?/],
    [
      'history: limit',
      () => hub.history('t', { limit: -1 }),
      'REQUEST_INVALID',
      /^limit must be an integer of at least 0, got -1$/,
    ],
    // Messages.
    [
      'send',
      () => hub.send('c', 'x', { timeout: 5 } as Wrong),
      'REQUEST_INVALID',
      /^send: unknown option "timeout": did you mean "timeoutMs"\?$/,
    ],
    [
      'broadcast',
      () => hub.broadcast(['c'], 'x', { concurency: 5 } as Wrong),
      'REQUEST_INVALID',
      /^broadcast: unknown option "concurency": did you mean "concurrency"\?$/,
    ],
    [
      'sendToUser',
      () => hub.sendToUser('ann', 'x', { concurency: 5 } as Wrong),
      'REQUEST_INVALID',
      /^sendToUser: unknown option "concurency": did you mean "concurrency"\?$/,
    ],
    [
      'listen',
      () => hub.listen('t', () => {}, { polcy: 5 } as Wrong),
      'REQUEST_INVALID',
      /^listen: unknown option "polcy": did you mean "policy"\?$/,
    ],
    ['isActive', () => hub.isActive('c', { timeoutMs: -1 }), 'REQUEST_INVALID', /^timeoutMs must be/],
    [
      'shutdown',
      () => hub.shutdown({ deadline: 5 } as Wrong),
      'REQUEST_INVALID',
      /^shutdown: unknown option "deadline": did you mean "deadlineMs"\?$/,
    ],
    [
      'shutdown: range',
      () => hub.shutdown({ deadlineMs: -5 }),
      'REQUEST_INVALID',
      /^deadlineMs must be a number from 0 to 2147483647, got -5$/,
    ],
    // Events.
    [
      'events.on',
      () => hub.events.on('conect' as Wrong, () => {}),
      'REQUEST_INVALID',
      /^event must be one of "register", .*"fault", got "conect"$/,
    ],
    [
      'events.once',
      () => hub.events.once('registr' as Wrong, () => {}),
      'REQUEST_INVALID',
      /^event must be one of "register", .*, got "registr"; did you mean "register"\?$/,
    ],
    [
      'events.addListener',
      () => hub.events.addListener('registr' as Wrong, () => {}),
      'REQUEST_INVALID',
      /^event must be one of "register", .*, got "registr"; did you mean "register"\?$/,
    ],
    [
      'events.on: toString',
      () => hub.events.on('toString' as Wrong, () => {}),
      'REQUEST_INVALID',
      /^event must be one of .*, got "toString"$/,
    ],
    [
      'events.on: listener',
      () => hub.events.on('register', undefined as Wrong),
      'REQUEST_INVALID',
      /the listener of "register" must be a function, got undefined/,
    ],
  ]
  it.each(mistakes)('%s', async (_, call, code, why) => {
    expect(await refusalOf(call)).toEqual([code, expect.stringMatching(why)])
    expect(hub.draining).toBe(false)
  })

  it.each<unknown>([5, undefined, null, {}, Symbol('t'), () => 't'])(
    'a topic that is no string (%#) is TOPIC_INVALID',
    async name => {
      const topic = name as Wrong
      const calls = [
        () => hub.publish(topic, new Uint8Array()),
        () => hub.routeData(topic, new Uint8Array()),
        () => hub.subscribe('c', topic),
        () => hub.subscribePattern('c', topic),
        () => hub.unsubscribe('c', topic),
        () => hub.history(topic),
        () => hub.presence(topic),
        () => hub.setDeliveryPolicy(topic, latest()),
        () => hub.getTopic(topic),
        () => topicRules().resolve(topic),
        () => topicRules().set(topic, {}),
        () => hubline.parseTopicName(topic),
        () => hubline.parsePattern(topic),
      ]
      for (const call of calls) expect((await refusalOf(call))[0]).toBe('TOPIC_INVALID')
    },
  )

  it('options may have any prototype, or none', () => {
    class Options {
      get policy() {
        return latest()
      }
    }
    const bare = Object.assign(Object.create(null), { policy: latest() })
    for (const options of [new Options(), bare]) {
      const made = createHub(options)
      hubs.push(made)
      expect(made.getDeliveryPolicy('t').name).toBe('latest')
    }
  })

  it('every event that there is can be heard', () => {
    for (const name of [
      'register',
      'unregister',
      'gap',
      'fault',
      'session',
      'wish',
      'circuit',
      'retry',
      'undelivered',
    ] as const) {
      expect(() => hub.events.on(name, () => {})).not.toThrow()
    }
  })
})

describe('one calling convention', () => {
  it('every policy is a function to call; those without options share one value', () => {
    const made = [
      latest(),
      bestEffort(),
      buffered(),
      dropSlow(),
      reliable(),
      priority(),
      rateLimit({ messages: 1 }, latest()),
    ]
    expect(made.every(Object.isFrozen)).toBe(true)
    expect([latest(), bestEffort()]).toEqual([latest({}), bestEffort({})])
    expect(latest()).toBe(latest())
  })

  it('what it was asked for is what it describes', () => {
    expect(buffered({ bytes: 5, messages: 7, overflow: 'drop-newest' }).describe()).toEqual({
      name: 'buffered',
      bytes: 5,
      messages: 7,
      overflow: 'drop-newest',
    })
  })
})

describe('HubError.status', () => {
  it('is the HTTP status of its code', async () => {
    const statusOf = async (call: () => unknown) => {
      try {
        await call()
      } catch (error) {
        return (error as hubline.HubError).status
      }
      return undefined
    }
    const { hub } = hubWith()
    expect(await statusOf(() => hub.publish('..', new Uint8Array()))).toBe(400)
    expect(await statusOf(() => hub.getClient('nobody'))).toBe(404)
    expect(await statusOf(() => hub.publish('t', new Uint8Array(2 ** 21)))).toBe(413)
    expect(new HubError('RATE_LIMITED', 'x').status).toBe(429)
    expect(new HubError('UNAUTHENTICATED', 'x').status).toBe(401)
    expect(new HubError('SHUTTING_DOWN', 'x').status).toBe(503)
  })
})
