import { Centrifuge } from 'centrifuge'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { loadConfig } from '../../src/server/config.ts'
import { newApiKey } from '../../src/sessions/api-keys.ts'
import { ask, askJson, listen, until } from '../server/http.ts'
import { rawRequest, upgradeRequest } from '../server/raw-request.ts'
import { startTestServer, type TestServer } from '../server/test-server.ts'
import { CLAIMS, HS_OPTIONS, SECRET, token } from './tokens.ts'

const seconds = () => Math.floor(Date.now() / 1000)
const backend = newApiKey()
const ops = newApiKey()
const both = { subscribe: ['**'], publish: ['**'] }
/** A token of now, for whatever it says. */
const fresh = (claims: object = {}) =>
  token({ iat: seconds(), exp: seconds() + 600, topics: { subscribe: ['chat/*'], publish: ['chat/ada'] }, ...claims })
const bearer = (text: string) => ({ authorization: `Bearer ${text}` })

const sessions = {
  mode: 'jwt',
  jwt: { secret: SECRET, algorithms: ['HS256'], issuer: [HS_OPTIONS.issuer], audience: [HS_OPTIONS.audience] },
  cookie: 'hub',
  apiKeys: {
    app: { sha256: backend.sha256, scopes: ['publish'] },
    ops: { sha256: ops.sha256, scopes: ['admin'] },
  },
}

let server: TestServer
beforeEach(async () => {
  server = await startTestServer({ sessions })
})
afterEach(() => server.close())

describe('over HTTP and SSE', () => {
  const read = async (headers: Record<string, string>, path = '/topics/chat/x') => {
    const cut = new AbortController()
    const response = await fetch(server.url + path, { headers, signal: cut.signal })
    const body = response.ok ? undefined : ((await response.json()) as { error: { code: string; reason?: string } })
    cut.abort()
    return { status: response.status, body, challenge: response.headers.get('www-authenticate') }
  }

  it('a request without a token, or with a wrong one, is 401 with its class and nothing else', async () => {
    const wrong: [string, string, string | null][] = [
      ['missing', '', 'Bearer'],
      ['malformed', 'x', 'Bearer error="invalid_token"'],
      ['signature', await fresh().then(text => `${text.slice(0, -4)}AAAA`), 'Bearer error="invalid_token"'],
      ['expired', await token({ iat: seconds() - 300, exp: seconds() - 100 }), 'Bearer error="invalid_token"'],
      ['audience', await fresh({ aud: 'other' }), 'Bearer error="invalid_token"'],
    ]
    for (const [reason, text, challenge] of wrong) {
      const headers: Record<string, string> = text === '' ? {} : bearer(text)
      for (const accept of ['*/*', 'text/event-stream']) {
        const answer = await read({ ...headers, accept })
        expect([reason, answer.status, answer.body?.error.code]).toEqual([reason, 401, 'UNAUTHENTICATED'])
        expect(answer.body?.error.reason).toBe(reason)
        expect(answer.challenge).toBe(challenge)
        expect(JSON.stringify(answer.body)).not.toMatch(new RegExp(`eyJ|hubline|${CLAIMS.sub}"|issuer.example`))
      }
      expect((await read(headers, '/events?topic=chat/x')).status).toBe(401)
      const posted = await ask(`${server.url}/topics/chat/ada`, { method: 'POST', body: 'x', headers })
      expect(posted.status).toBe(401)
    }
    expect(server.hub.getConnectionStats().clients).toBe(0)
  })

  it('a good one may do what it says: 200, 202, 403', async () => {
    const headers = bearer(await fresh())
    expect((await read(headers)).status).toBe(200)
    expect((await read(headers, '/events?topic=chat/x&topic=chat/y')).status).toBe(200)
    expect((await read(headers, '/topics/news')).status).toBe(403)
    expect((await read(headers, '/events?topic=chat/x&topic=news')).status).toBe(403)
    const post = async (topic: string) =>
      (await ask(`${server.url}/topics/${topic}`, { method: 'POST', body: 'x', headers })).status
    expect([await post('chat/ada'), await post('chat/x')]).toEqual([202, 403])
    expect((await read({ cookie: `hub=${await fresh()}` })).status).toBe(200)
    expect((await read({ 'x-api-key': backend.key }, '/topics/news')).status).toBe(200)
    expect((await read(bearer(ops.key), '/topics/news')).status).toBe(403)
  })

  it('F12: no token is read from a URL', async () => {
    const text = await fresh()
    for (const name of ['token', 'access_token', 'authorization', 'key']) {
      const { status, body } = await read({}, `/topics/chat/x?${name}=${text}`)
      expect([name, status]).toEqual([name, 400])
      expect(JSON.stringify(body)).not.toContain(text)
    }
  })
})

describe('a publisher that goes on for long', () => {
  /** A live source that sends a line every 50 ms. Resolves to what it is answered. */
  const source = (topic: string, headers: Record<string, string>) => {
    let timer: NodeJS.Timeout
    const body = new ReadableStream({
      start(controller) {
        timer = setInterval(() => controller.enqueue(Buffer.from('x\n')), 50)
      },
      cancel: () => clearInterval(timer),
    })
    return fetch(`${server.url}/topics/${topic}`, {
      ...{ method: 'PUT', body, duplex: 'half' },
      headers: { 'content-type': 'text/plain', ...headers },
    } as RequestInit).then(async answer => {
      clearInterval(timer)
      return [answer.status, ((await answer.json()) as { error?: { reason?: string } }).error?.reason]
    })
  }
  const publishing = (topic: string) => until(() => server.hub.getTopic(topic) !== null)

  it('F3: a live source ends with its session', async () => {
    const exp = seconds() + 2
    expect(await source('chat/ada', bearer(await fresh({ exp })))).toEqual([401, 'expired'])
    expect(Date.now() - exp * 1000).toBeLessThan(5000)
  })

  it('F8: and when it is revoked', async () => {
    const answer = source('chat/ada', bearer(await fresh()))
    await publishing('chat/ada')
    server.app.hubContext.revocations.revokeUser('ada')
    expect(await answer).toEqual([401, 'revoked'])
  })

  it('so does a source, and a WebSocket, when the rule of the topic is another', async () => {
    const answer = source('chat/ada', bearer(await fresh()))
    const socket = await listen(server.url, 'ws&role=both', 'chat/ada', bearer(await fresh()))
    await publishing('chat/ada')
    server.app.hubContext.topicRules!.set('chat/*', { publish: 'nobody' })
    expect(await answer).toEqual([403, undefined])
    const { published } = server.hub.getTopic('chat/ada')!
    socket.webSocket.send('x')
    expect((await socket.closed).code).toBe(4403)
    expect(server.hub.getTopic('chat/ada')!.published).toBe(published)
  })
})

describe('idempotency-key', () => {
  it('is of one caller: keys of others, users and nobody have keys of their own', async () => {
    const other = newApiKey()
    await server.close()
    const apiKeys = { ...sessions.apiKeys, eve: { sha256: other.sha256, scopes: ['publish'] } }
    const anonymous = { enabled: true, publish: ['chat/*'] }
    server = await startTestServer({ sessions: { ...sessions, apiKeys, anonymous } })
    const callers: Record<string, string>[] = [
      {},
      bearer(backend.key),
      bearer(other.key),
      bearer(await fresh()),
      bearer(await fresh({ sub: 'app' })),
    ]
    for (const [at, headers] of callers.entries()) {
      const answer = await ask(`${server.url}/topics/chat/ada`, {
        ...{ method: 'POST', body: `${at}` },
        headers: { 'content-type': 'text/plain', 'idempotency-key': 'order-17', ...headers },
      })
      expect([at, answer.status, answer.headers.get('idempotent-replayed')]).toEqual([at, 202, null])
    }
    const batch = await ask(`${server.url}/api/publish`, {
      ...{ method: 'POST', body: JSON.stringify({ publications: [{ topic: 'a', text: 'x' }] }) },
      headers: { 'content-type': 'application/json', 'idempotency-key': 'order-18', ...bearer(backend.key) },
    })
    expect(batch.status).toBe(200)
  })

  it('a topic is described to those who may subscribe to it, and a role is for WebSockets', async () => {
    const headers = bearer(await fresh({ topics: { publish: ['chat/ada'] } }))
    for (const [path, status] of [
      ['/topics/chat/ada?describe', 403],
      ['/topics/chat/ada?describe&role=publisher', 400],
      ['/events?topic=chat/ada&role=publisher', 400],
    ] as const) {
      expect([path, (await ask(server.url + path, { headers })).status]).toEqual([path, status])
    }
  })
})

describe('over WebSocket', () => {
  it('the answer is 401 or 403, and never 101', async () => {
    const cases: [Record<string, string>, string, number][] = [
      [{}, '/topics/chat/x', 401],
      [{ Authorization: 'Bearer x' }, '/topics/chat/x', 401],
      [{ Authorization: `Bearer ${await fresh()}` }, '/topics/news', 403],
      [{ Authorization: `Bearer ${await fresh()}` }, '/topics/chat/x?role=both', 403],
      [{ Authorization: `Bearer ${await fresh()}` }, '/topics/chat/x', 101],
      [{ Authorization: `Bearer ${await fresh()}` }, '/topics/chat/ada?role=both', 101],
    ]
    for (const [headers, path, status] of cases) {
      const answer = await rawRequest(server.url, upgradeRequest(path, headers))
      expect([path, headers, answer.status]).toEqual([path, headers, status])
    }
  })

  it('F3: ends as 4401 within 5 s of exp', async () => {
    const started = Date.now()
    const exp = seconds() + 2
    const { closed } = await listen(server.url, 'ada', 'chat/x', bearer(await fresh({ exp })))
    const { code } = await closed
    expect(code).toBe(4401)
    expect(Date.now()).toBeGreaterThanOrEqual(exp * 1000)
    expect(Date.now() - exp * 1000).toBeLessThan(5000)
    expect(Date.now() - started).toBeLessThan(10_000)
  })

  it('F8: ends as 4401 within 5 s of a revocation, and only that user', async () => {
    const ada = await listen(server.url, 'a', 'chat/x', bearer(await fresh()))
    const eve = await listen(server.url, 'e', 'chat/x', bearer(await fresh({ sub: 'eve', jti: 'token-2' })))
    const revoke = (body: object, key?: string) =>
      ask(`${server.url}/api/revocations`, {
        method: 'POST',
        body: JSON.stringify(body),
        headers: { 'content-type': 'application/json', ...(key && bearer(key)) },
      })
    expect((await revoke({ user: 'ada' })).status).toBe(401)
    expect((await revoke({ user: 'ada' }, await fresh())).status).toBe(403)
    expect((await revoke({ user: 'ada' }, backend.key)).status).toBe(403)
    expect((await revoke({ users: 'ada' }, ops.key)).status).toBe(400)
    const at = Date.now()
    expect((await revoke({ user: 'ada' }, ops.key)).status).toBe(204)
    expect((await ada.closed).code).toBe(4401)
    expect(Date.now() - at).toBeLessThan(5000)
    expect(eve.webSocket.readyState).toBe(WebSocket.OPEN)
    const again = await rawRequest(
      server.url,
      upgradeRequest('/topics/chat/x', { Authorization: `Bearer ${await fresh({ iat: seconds() - 10 })}` }),
    )
    expect([again.status, JSON.parse(again.body).error.reason]).toEqual([401, 'revoked'])
    expect((await revoke({ tokenId: 'token-2' }, ops.key)).status).toBe(204)
    expect((await eve.closed).code).toBe(4401)
  })
})

describe('the client protocol', () => {
  /** What comes of a connect command: its reply if any, and the close if it was refused. */
  async function connect(command: object, headers: Record<string, string> = {}, query = '') {
    const webSocket = new WebSocket(`${server.url.replace('http', 'ws')}/connection/websocket${query}`, { headers })
    let reply: { error?: { code: number }; connect?: { client: string } } | undefined
    const closed = new Promise<[number, string]>(resolve =>
      webSocket.on('close', (code, why) => resolve([code, String(why)])),
    )
    const heard = new Promise<void>(resolve =>
      webSocket.on('message', data => {
        reply = JSON.parse(String(data))
        resolve()
      }),
    )
    webSocket.on('open', () => webSocket.send(JSON.stringify({ id: 1, connect: command })))
    await Promise.race([heard, closed])
    if (reply?.connect) webSocket.close()
    return { reply, closed: await closed }
  }

  it('tells the class of a refused token in the text of 3500', async () => {
    const cases: [object, string][] = [
      [{}, 'missing'],
      [{ token: 'x' }, 'malformed'],
      [{ token: await fresh({ aud: 'other' }) }, 'audience'],
      [{ token: await fresh({ channel: 'chat/x' }) }, 'type'],
    ]
    for (const [command, reason] of cases) {
      expect(await connect(command)).toEqual({ reply: undefined, closed: [3500, `invalid token: ${reason}`] })
    }
    expect(server.hub.getConnectionStats().clients).toBe(0)
  })

  it('answers an expired token with 109, and closes so that the client comes back', async () => {
    const expired = await token({ iat: seconds() - 300, exp: seconds() - 100 })
    const { reply, closed } = await connect({ token: expired })
    expect(reply?.error?.code).toBe(109)
    expect(closed[0]).toBe(3005)
  })

  it('takes the token of the command, of the header, of the cookie, or a ticket', async () => {
    const text = await fresh()
    const { body } = await ask(`${server.url}/api/tickets`, { method: 'POST', headers: bearer(text) })
    const ways = [
      connect({ token: text }),
      connect({ token: text }, bearer('wrong')),
      connect({ token: '' }, bearer(text)),
      connect({}, { cookie: `hub=${text}` }),
      connect({}, {}, `?ticket=${body.ticket}`),
    ]
    for (const { reply } of await Promise.all(ways)) expect(reply?.connect?.client).toBeDefined()
    expect((await connect({}, {}, `?ticket=${body.ticket}`)).closed).toEqual([3500, 'invalid token: used'])
    // Who brings a token needs no ticket.
    expect((await connect({ token: text }, {}, '?ticket=x')).reply?.connect).toBeDefined()
  })

  it('an SDK whose token is over asks for a new one and connects', async () => {
    const tokens = [await token({ iat: seconds() - 300, exp: seconds() - 100 }), await fresh()]
    const centrifuge = new Centrifuge(`${server.url.replace('http', 'ws')}/connection/websocket`, {
      websocket: WebSocket,
      token: tokens[0]!,
      getToken: async () => tokens[1]!,
      minReconnectDelay: 1,
      maxReconnectDelay: 10,
    })
    const connected = new Promise<void>(resolve => centrifuge.on('connected', () => resolve()))
    centrifuge.connect()
    await connected
    const denied = centrifuge.newSubscription('news')
    const error = new Promise<number>(resolve => {
      denied.on('error', ({ error }) => resolve(error.code))
      denied.on('unsubscribed', ({ code }) => resolve(code))
    })
    denied.subscribe()
    expect(await error).toBe(103)
    const allowed = centrifuge.newSubscription('chat/x')
    const subscribed = new Promise<void>(resolve => allowed.on('subscribed', () => resolve()))
    allowed.subscribe()
    await subscribed
    centrifuge.disconnect()
  })
})

describe('tickets', () => {
  const order = (body: object, headers: Record<string, string>) =>
    ask(`${server.url}/api/tickets`, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', ...headers },
    })
  const open = async (ticket: string, topic = 'chat/x') => {
    const cut = new AbortController()
    const { status } = await fetch(`${server.url}/topics/${topic}?ticket=${ticket}`, { signal: cut.signal })
    cut.abort()
    return status
  }

  it('of a user are for himself, for what he may have', async () => {
    const headers = bearer(await fresh())
    const { status, body, headers: answered } = await order({ topics: ['chat/x'], ttlMs: 5000 }, headers)
    expect(status).toBe(201)
    expect(answered.get('cache-control')).toBe('no-store')
    expect(body.expiresAt - Date.now()).toBeLessThanOrEqual(5000)
    expect(await open(body.ticket)).toBe(200)
    expect(await open(body.ticket)).toBe(401)
    const narrow = await order({ topics: ['chat/x'] }, headers)
    expect(await open(narrow.body.ticket, 'chat/y')).toBe(403)
    expect((await order({ topics: ['news'] }, headers)).status).toBe(403)
    expect((await order({ user: 'eve' }, headers)).status).toBe(403)
    expect((await order({ expiresAt: 9e12 }, headers)).status).toBe(403)
    expect((await order({}, {})).status).toBe(401)
    expect((await order({ ttlMs: 0 }, headers)).status).toBe(400)
  })

  it('of a backend are for whom it says, for the topics that it says', async () => {
    const headers = { 'x-api-key': backend.key }
    expect((await order({ user: 'bob' }, headers)).status).toBe(400)
    const { body } = await order({ user: 'bob', topics: ['news'] }, headers)
    const { status } = await ask(`${server.url}/topics/news?ticket=${body.ticket}`, { method: 'POST', body: 'x' })
    // Only what is opened by a URL alone takes them.
    expect(status).toBe(400)
    const registered = new Promise<string | undefined>(resolve =>
      server.hub.events.on('register', ({ user }) => resolve(user)),
    )
    expect(await open(body.ticket, 'news')).toBe(200)
    expect(await registered).toBe('bob')
    const other = await order({ user: 'bob', topics: ['news'] }, headers)
    expect(await open(other.body.ticket, 'chat/x')).toBe(403)
  })

  it("may be for the user's own topics, from a user and from a backend", async () => {
    const own = bearer(await fresh({ sub: 'ada', topics: { subscribe: ['users/{user}/**'], publish: [] } }))
    const asked = { user: 'ada', topics: ['users/{user}/**'] }
    for (const headers of [own, { 'x-api-key': backend.key }]) {
      const [{ status, body }, other] = [await order(asked, headers), await order(asked, headers)]
      expect([status, await open(body.ticket, 'users/ada/inbox')]).toEqual([201, 200])
      expect(await open(other.body.ticket, 'users/eve/inbox')).toBe(403)
      const wrong = await order({ ...asked, topics: ['a-{user}'] }, headers)
      expect([wrong.status, wrong.body.error.code]).toEqual([400, 'TOPIC_INVALID'])
    }
  })

  it('cannot be ordered by a form of another page', async () => {
    const headers = { cookie: `hub=${await fresh()}` }
    for (const type of ['text/plain', 'application/x-www-form-urlencoded']) {
      const { status } = await order({}, { ...headers, 'content-type': type })
      expect([type, status]).toEqual([type, 415])
    }
  })
})

describe('the configuration', () => {
  const load = (flags: object, env: Record<string, string> = {}) =>
    loadConfig({ env, flags: flags as Record<string, unknown> })

  it('lets others in only once they have to log in and the API has a key', () => {
    const host = '0.0.0.0'
    const { ops: admin, app } = sessions.apiKeys
    expect(() => load({ host })).toThrow(/sessions.mode.*sessions.apiKeys/)
    expect(() => load({ host, sessions: { ...sessions, apiKeys: {} } })).toThrow(/sessions.apiKeys/)
    expect(() => load({ host, sessions: { ...sessions, apiKeys: { app } } })).toThrow(/scope admin/)
    expect(() => load({ host, sessions: { apiKeys: { admin } } })).toThrow(/sessions.mode/)
    expect(() => load({ host, sessions: { ...sessions, apiKeys: { admin } } })).not.toThrow()
    expect(() => load({ host, insecure: true })).not.toThrow()
  })

  it('does not start with less than a token must have', async () => {
    for (const wrong of [{ audience: [] }, { issuer: [] }, { algorithms: [] }, { secret: SECRET.slice(0, 31) }]) {
      const starting = startTestServer({ sessions: { ...sessions, jwt: { ...sessions.jwt, ...wrong } } })
      await expect(starting).rejects.toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
    }
  })

  it('comes from the environment, and tells no secret when it is wrong', () => {
    const env = {
      HUBLINE_SESSIONS_MODE: 'jwt',
      HUBLINE_SESSIONS_JWT_SECRET: SECRET,
      HUBLINE_SESSIONS_JWT_ALGORITHMS: 'HS256,HS512',
      HUBLINE_SESSIONS_API_KEYS: JSON.stringify({ ops: sessions.apiKeys.ops }),
    }
    const { mode, jwt, apiKeys } = load({}, env).sessions
    expect([mode, jwt.secret, jwt.algorithms, apiKeys]).toEqual([
      'jwt',
      SECRET,
      ['HS256', 'HS512'],
      { ops: sessions.apiKeys.ops },
    ])
    const wrong = { ...env, HUBLINE_SESSIONS_API_KEYS: `{"ops":{"sha256":"${ops.key}","scopes":["admin"]}}` }
    expect(() => load({}, wrong)).toThrow(/64 hexadecimal/)
    expect(() => load({}, wrong)).not.toThrow(new RegExp(ops.key))
    expect(() => load({ sessions: { jwt: { sekret: 'x' } } })).toThrow(/did you mean "sessions.jwt.secret"/)
  })

  it('open: everybody may everything, as before', async () => {
    const open = await startTestServer()
    const { status, body } = await askJson(`${open.url}/api/tickets`, { topics: ['x'] })
    expect([status, typeof body.ticket]).toEqual([201, 'string'])
    expect((await ask(`${open.url}/topics/x`, { method: 'POST', body: 'x' })).status).toBe(202)
    expect((await askJson(`${open.url}/api/revocations`, { user: 'ada' })).status).toBe(204)
    await open.close()
  })
})

describe('topics have rules of their own', () => {
  it('that count behind what the session may', async () => {
    const own = await startTestServer(
      { sessions },
      { topics: { 'chat/x': { subscribe: 'nobody' }, 'chat/ada': { publish: 'nobody' } } },
    )
    const headers = bearer(await fresh({ topics: both }))
    const post = (topic: string, given: Record<string, string>) =>
      ask(`${own.url}/topics/${topic}`, { method: 'POST', body: 'x', headers: given })
    expect((await ask(`${own.url}/topics/chat/x`, { headers })).status).toBe(403)
    expect((await post('chat/ada', headers)).status).toBe(403)
    expect((await post('chat/x', headers)).status).toBe(202)
    expect((await post('chat/ada', bearer(backend.key))).status).toBe(202)
    await own.close()
  })

  it('also where nobody logs in', async () => {
    const own = await startTestServer({}, { topics: { x: { publish: 'users' } } })
    expect((await ask(`${own.url}/topics/x`, { method: 'POST', body: 'x' })).status).toBe(403)
    await own.close()
  })
})

describe('nobody, where nobody is let in', () => {
  beforeEach(async () => {
    await server.close()
    const anonymous = { enabled: true, subscribe: ['public/*'], publish: ['public/*'] }
    server = await startTestServer({ sessions: { ...sessions, anonymous } })
  })

  const refusedTo = async (path: string, init: RequestInit = {}) => {
    const cut = new AbortController()
    const answer = await fetch(server.url + path, { ...init, signal: cut.signal })
    const known = answer.ok ? undefined : ((await answer.json()) as { error: { code: string; reason?: string } }).error
    cut.abort()
    return [answer.status, known?.code, known?.reason]
  }

  it('has a client without a name of its own, on every protocol: who is there cannot be replaced', async () => {
    expect(await refusedTo('/topics/public/a')).toEqual([200, undefined, undefined])
    for (const path of ['/topics/public/a?client=x', '/events?topic=public/a&client=x']) {
      expect(await refusedTo(path)).toEqual([403, 'PERMISSION_DENIED', undefined])
    }
    const upgrade = await rawRequest(server.url, upgradeRequest('/topics/public/a?client=x'))
    expect(upgrade.status).toBe(403)
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/connection/websocket?client=x`)
    await new Promise(resolve => socket.once('open', resolve))
    const closed = new Promise(resolve => socket.once('close', code => resolve(code)))
    socket.send('{"id":1,"connect":{}}')
    expect(await closed).toBe(3507)
    expect(await refusedTo('/topics/chat/ada?client=x', { headers: bearer(await fresh()) })).toEqual([
      200,
      undefined,
      undefined,
    ])
  })

  it('gets no tickets, and is not whoever brings a token that cannot be read', async () => {
    const ticket = { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } }
    expect(await refusedTo('/api/tickets', ticket)).toEqual([401, 'UNAUTHENTICATED', 'missing'])
    for (const authorization of ['Bearer a b', 'Bearer', 'Bearer  ']) {
      expect((await refusedTo('/topics/public/a', { headers: { authorization } })).slice(0, 2)).toEqual([
        401,
        'UNAUTHENTICATED',
      ])
    }
    // Of a proxy that has let it in by another scheme.
    expect((await refusedTo('/topics/public/a', { headers: { authorization: 'Basic YTpi' } }))[0]).toBe(200)
  })
})
