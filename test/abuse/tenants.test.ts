import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listen } from '../server/http.ts'
import { upgradeRequest } from '../server/raw-request.ts'
import { startTestServer, type TestServer } from '../server/test-server.ts'
import { HS_OPTIONS, SECRET, token } from '../sessions/tokens.ts'
import { Peer } from '../transports/client-peer.ts'
import { HOST } from './ambiguous.ts'
import { converse } from './connection.ts'

/** Published by one tenant alone, and so never to be seen by the other, in whatever form. */
const MARK = 'only-for-acme'
const USED = 'acme/orders'
/** Of the same length, and nobody has ever used it. */
const UNUSED = 'acme/unused'

const seconds = Math.floor(Date.now() / 1000)
const tokenOf = (tenant: string) =>
  token({
    sub: `ada@${tenant}`,
    iat: seconds,
    exp: seconds + 600,
    topics: { subscribe: [`${tenant}/**`], publish: [`${tenant}/**`] },
  })

let server: TestServer
let ours: string
let theirs: string
beforeAll(async () => {
  const jwt = { secret: SECRET, algorithms: ['HS256'], issuer: [HS_OPTIONS.issuer], audience: [HS_OPTIONS.audience] }
  server = await startTestServer({
    sessions: { mode: 'jwt', jwt },
    topics: { '**': { presence: true, history: { messages: 10 } } },
  })
  ours = await tokenOf('acme')
  theirs = await tokenOf('globex')
  await listen(server.url, 'phone', USED, { authorization: `Bearer ${ours}` })
  for (const topic of [USED, 'globex/orders']) {
    const text = topic === USED ? MARK : 'of globex'
    server.hub.routeData(topic, Buffer.from(JSON.stringify({ text })), { contentType: 'application/json' })
  }
})
afterAll(() => server.close())

const protocol = `/connection/websocket`
async function connected(bearer: string): Promise<Peer> {
  const peer = await Peer.open(server.url.replace('http', 'ws') + protocol)
  await peer.call({ id: 1, connect: { token: bearer } })
  return peer
}

/** Everything that a client can ask about a channel. */
const COMMANDS: Readonly<Record<string, (channel: string) => object>> = {
  'a subscription': channel => ({ subscribe: { channel } }),
  'a subscription from the beginning': channel => ({ subscribe: { channel, recover: true, epoch: '', offset: 0 } }),
  'its history': channel => ({ history: { channel, limit: 10 } }),
  'its presence': channel => ({ presence: { channel } }),
  'its presence in figures': channel => ({ presence_stats: { channel } }),
  'a publication': channel => ({ publish: { channel, data: { text: 'forged' } } }),
  'a confirmation': topic => ({ rpc: { method: 'ack', data: { topic, offset: 1 } } }),
}

/** Every way to ask for a topic over HTTP. */
const REQUESTS: Readonly<Record<string, (topic: string) => string>> = {
  'a stream': topic => `GET /topics/${topic} HTTP/1.1\r\n${HOST}`,
  'its past': topic => `GET /topics/${topic}?since=oldest HTTP/1.1\r\n${HOST}`,
  'events since an id': topic =>
    `GET /topics/${topic} HTTP/1.1\r\n${HOST}Accept: text/event-stream\r\nLast-Event-ID: x-0\r\n`,
  'several topics': topic => `GET /events?topic=globex/orders&topic=${topic} HTTP/1.1\r\n${HOST}`,
  'a WebSocket': topic => upgradeRequest(`/topics/${topic}`).replace(/\r\n$/, ''),
  'a publication': topic => `POST /topics/${topic} HTTP/1.1\r\n${HOST}Content-Length: 0\r\n`,
  'its description': topic => `GET /api/topics/${topic} HTTP/1.1\r\n${HOST}`,
  'its history': topic => `GET /api/topics/${topic}/history HTTP/1.1\r\n${HOST}`,
  'its presence': topic => `GET /api/topics/${topic}/presence HTTP/1.1\r\n${HOST}`,
  'all clients': topic => `GET /api/clients?topic=${topic} HTTP/1.1\r\n${HOST}`,
  'all figures': topic => `GET /api/stats HTTP/1.1\r\n${HOST}X-Topic: ${topic}\r\n`,
}

/** Without what differs from answer to answer anyhow. */
const plain = (text: string, topic: string) =>
  text
    .replaceAll(topic, 'TOPIC')
    .replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'ID')
    .replace(/^date: .*$/gim, '')

describe('two tenants with the same names', () => {
  it.each(Object.entries(COMMANDS))(
    'F7: F13: %s of the other’s topic is answered as if it had never been',
    async (_what, command) => {
      await using peer = await connected(theirs)
      const answers: string[] = []
      for (const topic of [USED, UNUSED]) {
        const { error } = await peer.call({ id: 2, ...command(topic) })
        expect(error.code).toBeGreaterThan(0)
        answers.push(plain(peer.frames.at(-1)!, topic))
      }
      expect(answers[0]).toBe(answers[1])
      expect(peer.frames.join('')).not.toContain(MARK)
      expect(server.hub.getTopic(UNUSED)).toBeNull()
      expect(server.hub.getTopic(USED)?.published).toBe(1)
    },
  )

  it.each(['**', 'acme/*', '*/orders', 'acme/**'])(
    'F13: the pattern %s gives nothing of the other’s',
    async channel => {
      await using peer = await connected(theirs)
      await peer.call({ id: 2, subscribe: { channel } })
      server.hub.routeData(USED, Buffer.from(JSON.stringify({ text: MARK })), { contentType: 'application/json' })
      await peer.call({ id: 3, ping: {} })
      expect(peer.frames.join('')).not.toContain(MARK)
      expect(peer.frames.join('')).not.toContain(USED)
    },
  )

  it.each(Object.entries(REQUESTS))(
    'F13: %s of the other’s topic is answered as if it had never been',
    async (_what, request) => {
      const answers: string[] = []
      for (const topic of [USED, UNUSED]) {
        const { text, statuses } = await converse(
          server.url,
          `${request(topic)}Authorization: Bearer ${theirs}\r\n\r\n`,
          300,
        )
        expect([401, 403]).toContain(statuses[0])
        answers.push(plain(text, topic))
      }
      expect(answers[0]).toBe(answers[1])
      expect(answers[0]).not.toMatch(/phone|ada@acme/)
      expect(answers[0]).not.toContain(MARK)
    },
  )

  it('F13: the other’s client cannot be thrown out by its name', async () => {
    const { closed } = await listen(server.url, 'phone', 'globex/orders', { authorization: `Bearer ${theirs}` })
    expect((await closed).code).toBe(4403)
    expect(server.hub.getClient('phone').user).toBe('ada@acme')
  })

  it('F13: what is one’s own is there: the test could see', async () => {
    await using peer = await connected(ours)
    await peer.call({ id: 2, history: { channel: USED, limit: 10 } })
    expect(peer.frames.join('')).toContain(MARK)
  })
})
