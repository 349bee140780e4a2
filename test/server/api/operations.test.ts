import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ask, askJson, type Listener, listen, until } from '../http.ts'
import { startTestServer, type TestServer } from '../test-server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer({ topics: { strict: { allowedPolicies: ['latest'] } } })
})
afterAll(() => server.close())

const open: Listener[] = []
afterEach(async () => {
  for (const { webSocket } of open.splice(0)) webSocket.terminate()
  await until(() => server.hub.getConnectionStats().clients === 0)
})
const connect = async (id: string, topic = 'any') => {
  const listener = await listen(server.url, id, topic)
  open.push(listener)
  return listener
}
const get = (path: string) => ask(`${server.url}/api${path}`)
const post = (path: string, body: unknown) => askJson(`${server.url}/api${path}`, body)
const ids = ({ body }: { body: { clients: { id: string }[] } }) => body.clients.map(({ id }) => id)

describe('GET /api/clients', () => {
  it('goes through all of them in pages, whoever comes and goes meanwhile', async () => {
    for (const id of ['d', 'a', 'e', 'b', 'c']) await connect(id)
    const first = await get('/clients?limit=2')
    expect([ids(first), first.body.total, first.body.next]).toEqual([['a', 'b'], 5, 'b'])
    await connect('0-before')
    server.hub.unregisterClient('b')
    const second = await get(`/clients?limit=2&after=${first.body.next}`)
    expect([ids(second), second.body.next]).toEqual([['c', 'd'], 'd'])
    const last = await get(`/clients?limit=2&after=${second.body.next}`)
    expect([ids(last), last.body.next]).toEqual([['e'], undefined])
  })

  it('filters by topic, protocol and who is behind', async () => {
    await connect('here', 'one')
    await connect('there', 'two')
    const stalled = await connect('stalled', 'one')
    stalled.webSocket.pause()
    while (server.hub.getSubscription('stalled', 'one')!.state === 'live') {
      void server.hub.publishBytes('one', Buffer.alloc(100_000))
      await new Promise(setImmediate)
    }
    expect(ids(await get('/clients?topic=one'))).toEqual(['here', 'stalled'])
    expect(ids(await get('/clients?protocol=sse'))).toEqual([])
    expect(ids(await get('/clients?behind=true'))).toEqual(['stalled'])
    expect(ids(await get('/clients?topic=one&behind=false'))).toEqual(['here'])
    for (const sort of ['queue', 'wait']) expect(ids(await get(`/clients?sort=${sort}&limit=1`))).toEqual(['stalled'])
    expect((await get('/clients?sort=queue&after=a')).body.error.message).toMatch(/^after: there are no pages by queue/)
  })

  it.each([
    ['limit=0', 'limit must be at least 1, got 0'],
    ['limit=1001', 'limit must be at most 1000, got 1001'],
    ['limit=', 'limit must be a number, got ""'],
    ['limit=1.5', 'limit must be an integer, got 1.5'],
    ['behind=yes', 'behind must be one of "true", "false", got "yes"'],
    ['sort=queues', 'sort must be one of "id", "queue", "wait", "drops", got "queues"; did you mean "queue"?'],
    ['sort=alphabetically', 'sort must be one of "id", "queue", "wait", "drops", got "alphabetically"'],
    ['topik=a', 'unknown key "topik": did you mean "topic"?'],
    ['topic=a&topic=b', 'topic must be a string, got an array'],
    ['__proto__=a', 'query: unknown key "__proto__"'],
  ])('refuses ?%s with a sentence', async (query, message) => {
    const { status, body } = await get(`/clients?${query}`)
    expect([status, body]).toEqual([400, { error: { code: expect.any(String), message } }])
  })
})

describe('one client', () => {
  it('is shown with why each subscription has its policy', async () => {
    await connect('ada', 'why')
    await askJson(`${server.url}/api/topics/why/policy`, 'latest', 'PUT')
    const { body } = await get('/clients/ada')
    expect(body.subscriptions).toMatchObject([{ topic: 'why', policy: { name: 'latest' }, decidedBy: 'topic' }])
    expect(body.subscriptions[0].candidates).toEqual([
      { origin: 'topic', policy: { name: 'latest' } },
      { origin: 'default', policy: expect.objectContaining({ name: 'buffered' }) },
    ])
    await ask(`${server.url}/api/topics/why/policy`, { method: 'DELETE' })
  })

  it('G11: is disconnected with the reason that is given', async () => {
    const { closed } = await connect('rude')
    const path = `${server.url}/api/clients/rude`
    const wrong = await ask(`${path}?reason=rude`, { method: 'DELETE' })
    expect([wrong.status, wrong.body.error.message]).toEqual([
      400,
      expect.stringMatching(/^reason must be one of "ended", "denied"/),
    ])
    expect((await ask(`${path}?reason=flooding`, { method: 'DELETE' })).status).toBe(204)
    expect(await closed).toMatchObject({ code: 4429 })
    expect((await ask(path, { method: 'DELETE' })).status).toBe(404)
  })
})

describe('the name of a topic in a path', () => {
  it('is the whole segment where it is one, whatever it ends in', async () => {
    for (const name of ['a/policy', 'a/history', 'a/b', 'policy', 'a/move/b']) {
      void server.hub.publishBytes(name, Buffer.from('x'), { contentType: 'text/plain' })
    }
    const named = async (path: string) => (await get(`/topics/${path}`)).body.name
    expect(await named('a%2Fpolicy')).toBe('a/policy')
    expect(await named('a%2Fhistory')).toBe('a/history')
    expect(await named('a/b')).toBe('a/b')
    expect(await named('a%2fb')).toBe('a/b')
    expect(await named('policy')).toBe('policy')
    expect(await named('a/move/b')).toBe('a/move/b')
    expect(await named('%61/b')).toBe('a/b')
  })

  it('is followed by what is asked of it', async () => {
    await askJson(`${server.url}/api/topics/a%2Fpolicy/policy`, 'latest', 'PUT')
    expect((await get('/topics/a%2Fpolicy/policy')).body).toEqual({ name: 'latest' })
    expect((await get('/topics/a/policy/policy')).body).toEqual({ name: 'latest' })
    expect((await get('/topics/a/policy')).body).toMatchObject({ name: 'buffered' })
    expect((await get('/topics/a%2Fhistory/history')).body).toMatchObject({
      topic: 'a/history',
      messages: [{ text: 'x' }],
    })
  })

  it('is refused where it is none, and what follows it where nothing is there', async () => {
    for (const path of ['a%2F%2Fb', 'a%00', '..%2Fa', 'a//b', '%E0%A4%A']) {
      expect([path, (await get(`/topics/${path}`)).status]).toEqual([path, 400])
    }
    const { status, body } = await post('/topics/a/policy', {})
    expect([status, body.error.code]).toEqual([405, 'METHOD_NOT_ALLOWED'])
  })
})

describe('POST /api/topics/{topic}/move', () => {
  it('moves each client whole, with its wish, or leaves it where it is', async () => {
    const moved = await connect('moves', 'from')
    await connect('stays', 'from')
    await connect('both', 'from')
    server.hub.subscribe('moves', 'from', { policy: { ...server.hub.getDeliveryPolicy('from') } })
    await post('/clients/moves/subscriptions', { topic: 'from', policy: 'latest' })
    await post('/clients/stays/subscriptions', { topic: 'from', policy: { name: 'reliable' } })
    await post('/clients/both/subscriptions', { topic: 'strict' })
    void server.hub.publishBytes('from', Buffer.from('before'))
    const { status, body } = await post('/topics/from/move', { to: 'strict' })
    expect([status, body]).toEqual([
      200,
      {
        moved: 2,
        failed: 1,
        failures: [{ client: 'stays', error: { code: 'POLICY_DENIED', message: expect.stringContaining('strict') } }],
      },
    ])
    const topics = (id: string) => server.hub.getClient(id).subscriptions.map(({ topic, wish }) => [topic, wish?.name])
    expect([topics('moves'), topics('stays'), topics('both')]).toEqual([
      [['strict', 'latest']],
      [['from', 'reliable']],
      [['strict', undefined]],
    ])
    void server.hub.publishBytes('from', Buffer.from('not for it'))
    void server.hub.publishBytes('strict', Buffer.from('after'))
    await until(() => moved.heard.length === 2)
    expect(moved.heard.map(String)).toEqual(['before', 'after'])
  })

  it.each([
    ['/topics/from/move', { to: 'from' }, 'REQUEST_INVALID'],
    ['/topics/from/move', { to: 'a//b' }, 'TOPIC_INVALID'],
    ['/topics/from/move', {}, 'REQUEST_INVALID'],
    ['/topics/from/move', { to: 'x', form: 'y' }, 'REQUEST_INVALID'],
    ['/topics/a//b/move', { to: 'x' }, 'TOPIC_INVALID'],
  ])('POST %s %j is 400', async (path, body, code) => {
    const answer = await post(path, body)
    expect([answer.status, answer.body.error.code]).toEqual([400, code])
  })
})

describe('GET /api/topics/{topic}/history', () => {
  it('shows what is kept: after a position, at most so many, the newest first', async () => {
    const bodies = [
      ['{"n":1}', 'application/json'],
      ['two', 'text/plain'],
      [Buffer.from([255]), 'image/png'],
      ['{', 'application/json'],
    ] as const
    for (const [data, contentType] of bodies)
      void server.hub.publishBytes('kept', Buffer.from(data as string), { contentType, key: 'k' })
    const { epoch } = server.hub.getTopic('kept')!.position
    const all = (await get('/topics/kept/history')).body
    expect(all).toEqual({
      topic: 'kept',
      position: { epoch, seq: 4 },
      recovered: true,
      more: false,
      messages: [
        { seq: 1, contentType: 'application/json', key: 'k', data: { n: 1 } },
        { seq: 2, contentType: 'text/plain', key: 'k', text: 'two' },
        { seq: 3, contentType: 'image/png', key: 'k', base64: '/w==' },
        { seq: 4, contentType: 'application/json', key: 'k', text: '{' },
      ],
    })
    const seqs = async (query: string) => {
      const { recovered, more, messages } = (await get(`/topics/kept/history?${query}`)).body
      return [messages.map(({ seq }: { seq: number }) => seq), more, recovered]
    }
    expect(await seqs(`since=${epoch}-2`)).toEqual([[3, 4], false, true])
    expect(await seqs('limit=2')).toEqual([[1, 2], true, true])
    expect(await seqs('limit=2&reverse=true')).toEqual([[4, 3], true, true])
    expect(await seqs('limit=0')).toEqual([[], true, true])
    expect(await seqs('since=older-2')).toEqual([[1, 2, 3, 4], false, false])
    expect((await get('/topics/kept/history?since=nonsense')).status).toBe(400)
    expect((await get('/topics/never/history')).body.messages).toEqual([])
  })

  it('gives what can be read and not written as text', async () => {
    const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`
    void server.hub.publishBytes('deep', Buffer.from(deep), { contentType: 'application/json' })
    expect((await get('/topics/deep/history')).body.messages).toMatchObject([{ text: deep }])
  })
})

describe('presence', () => {
  it('is refused where the topic does not tell it', async () => {
    for (const path of ['presence', 'presence-stats']) {
      const { status, body } = await get(`/topics/any/${path}`)
      expect([status, body.error.code]).toEqual([403, 'PRESENCE_OFF'])
    }
  })
})

describe('users', () => {
  it('are seen, sent to and ended with all their clients', async () => {
    const users = await startTestServer({ callbacks: { allow: ['127.0.0.1/32'] } })
    const api = `${users.url}/api`
    for (const id of ['phone', 'desk']) {
      await askJson(`${api}/clients`, { id, url: 'http://127.0.0.1:1/', user: 'ada lovelace' })
    }
    const ada = `${api}/users/ada%20lovelace`
    expect((await ask(ada)).body).toEqual({ user: 'ada lovelace', online: true, clients: ['phone', 'desk'] })
    expect((await ask(`${api}/users/grace`)).body).toEqual({ user: 'grace', online: false, clients: [] })
    expect((await ask(`${api}/users?online=ada%20lovelace&online=grace&online=__proto__`)).body.online).toMatchObject({
      'ada lovelace': true,
      grace: false,
    })
    expect((await ask(`${api}/users`)).body.error.message).toBe('online: it is missing')
    expect((await ask(`${api}/clients?user=ada%20lovelace`)).body.total).toBe(2)
    const sent = await askJson(`${ada}/send`, { text: 'hi', timeoutMs: 50 })
    expect([
      sent.status,
      sent.body.failed,
      sent.body.results.map((each: { clientId: string }) => each.clientId),
    ]).toEqual([207, 2, ['phone', 'desk']])
    expect((await askJson(`${api}/users/grace/send`, { data: 1 })).body).toMatchObject({
      sent: 0,
      failed: 0,
      results: [],
    })
    expect((await askJson(`${ada}/send`, { text: 'x', data: 1 })).status).toBe(400)
    expect((await ask(ada, { method: 'DELETE' })).body).toEqual({ disconnected: 2 })
    expect((await ask(ada, { method: 'DELETE' })).body).toEqual({ disconnected: 0 })
    await users.close()
  })
})

describe('/api/limits', () => {
  it('are shown, and changed while it runs', async () => {
    const { body: before } = await get('/limits')
    expect(before).toMatchObject({ ...server.hub.limits, handshakesPerSecond: 10_000 })
    expect((await askJson(`${server.url}/api/limits`, { handshakesPerSecond: 9 }, 'PATCH')).body).toMatchObject({
      handshakesPerSecond: 9,
    })
    expect((await askJson(`${server.url}/api/limits`, { handshakesPerSecond: 10_000 }, 'PATCH')).body).toEqual(before)
    const patch = (body: unknown) => askJson(`${server.url}/api/limits`, body, 'PATCH')
    expect((await patch({ maxClients: 1 })).body).toEqual({ ...before, maxClients: 1 })
    await connect('one')
    const { closed } = await connect('two')
    expect(await closed).toMatchObject({ code: 1013 })
    expect((await patch({ maxClients: before.maxClients })).body).toEqual(before)
    for (const [body, sentence] of [
      [{ maxClient: 5 }, 'unknown key "maxClient": did you mean "maxClients"?'],
      [{ maxClients: 0 }, 'maxClients must be at least 1, got 0'],
      [{ maxClients: '5' }, 'maxClients must be a number, got a string'],
      [{}, 'body: name at least one limit'],
      [[], 'body must be an object, got an array'],
    ]) {
      const answer = await patch(body)
      expect([answer.status, answer.body.error.message]).toEqual([400, sentence])
    }
    expect((await get('/limits')).body).toEqual(before)
  })
})
