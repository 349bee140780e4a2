import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Centrifuge } from 'centrifuge'
import Fastify from 'fastify'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import { HubError } from '../../src/core/errors.ts'
import type { SessionManager } from '../../src/core/sessions.ts'
import { createHub } from '../../src/hub.ts'
import type { BeforePublish, Draft } from '../../src/sending/before-publish.ts'
import { hubline } from '../../src/server/fastify.ts'
import { ApiKeys, newApiKey } from '../../src/sessions/api-keys.ts'
import { until } from './http.ts'

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

/** The token is the user's name. */
const sessions: SessionManager = {
  authenticate: ({ token = '' }) => ({ user: token, info: { name: token.toUpperCase() } }),
  authorize: () => true,
}

async function start(beforePublish: BeforePublish) {
  const { key, sha256 } = newApiKey()
  const hub = createHub({ beforePublish })
  const app = Fastify()
  await app.register(hubline, { hub, sessions, apiKeys: new ApiKeys([{ name: 'shop', sha256, scopes: ['publish'] }]) })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  ends.push(() => app.close())
  const said = () => hub.history('a').messages.map(({ payload }) => Buffer.from(payload).toString())
  return { hub, url, key, said }
}

interface Answer {
  /** What the publisher is told of a publication that is refused. */
  readonly told: unknown
  readonly client?: string
  readonly session: object
}

/** Each publishes in turn and says what it was told of the last, which is refused. */
const WAYS: Record<string, (url: string, key: string, texts: readonly string[]) => Promise<Answer>> = {
  async POST(url, _key, texts) {
    const headers = { 'content-type': 'application/json', authorization: 'Bearer ann' }
    let told: unknown
    for (const body of texts) told = await (await fetch(`${url}/topics/a`, { method: 'POST', body, headers })).json()
    return { told, session: { user: 'ann', info: { name: 'ANN' } } }
  },
  async PUT(url, _key, texts) {
    const headers = { 'content-type': 'application/json', authorization: 'Bearer ann' }
    const body = texts.join('\n')
    const answer = await fetch(`${url}/topics/a?split=lines`, { method: 'PUT', body, headers })
    return { told: [answer.status, await answer.json()], session: { user: 'ann' } }
  },
  async 'a WebSocket'(url, _key, texts) {
    const webSocket = new WebSocket(`${url.replace('http', 'ws')}/topics/a?role=publisher&client=phone`, {
      headers: { authorization: 'Bearer ann' },
    })
    ends.push(() => webSocket.terminate())
    await once(webSocket, 'open')
    for (const text of texts) webSocket.send(text)
    await sleep(100)
    return {
      told: webSocket.readyState === WebSocket.OPEN ? 'open' : 'closed',
      client: 'phone',
      session: { user: 'ann' },
    }
  },
  async 'the client protocol'(url, _key, texts) {
    const centrifuge = new Centrifuge(`${url.replace('http', 'ws')}/connection/websocket?client=phone`, {
      websocket: WebSocket,
      token: 'ann',
    })
    ends.push(() => centrifuge.disconnect())
    centrifuge.connect()
    await centrifuge.ready()
    let told: unknown
    for (const text of texts) told = await centrifuge.publish('a', JSON.parse(text)).catch(({ code }) => code)
    return { told, client: 'phone', session: { user: 'ann' } }
  },
  async '/api/publish'(url, key, texts) {
    const publications = texts.map(text => ({ topic: 'a', data: JSON.parse(text) }))
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` }
    const body = JSON.stringify({ publications })
    const answer = await fetch(`${url}/api/publish`, { method: 'POST', body, headers })
    const { results } = (await answer.json()) as { results: { error?: { code: string } }[] }
    return { told: results.at(-1)?.error?.code, session: { backend: true, key: 'shop' } }
  },
}

const TOLD: Record<string, unknown> = {
  POST: { error: expect.objectContaining({ code: 'PERMISSION_DENIED', message: 'text: no swearing' }) },
  PUT: [200, { topic: 'a', messages: 2, bytes: 6, refused: 1 }],
  'a WebSocket': 'open',
  'the client protocol': 103,
  '/api/publish': 'PERMISSION_DENIED',
}

describe('beforePublish by every way in', () => {
  it.each(Object.keys(WAYS))(
    '%s: it sees who publishes, changes the payload, and refuses one publication',
    async way => {
      const seen: Draft[] = []
      const { hub, url, key, said } = await start(async draft => {
        const text = Buffer.from(draft.data).toString()
        seen.push(draft)
        // The first is looked at for longest.
        await sleep(text === '"1"' ? 30 : 1)
        if (text === '"x"') throw new HubError('PERMISSION_DENIED', 'text: no swearing')
        return { data: `<${text}>`, contentType: 'text/plain' }
      })
      const { told, client, session } = await WAYS[way]!(url, key, ['"1"', '"2"', '"x"'])
      await until(() => seen.length === 3)
      expect(told).toEqual(TOLD[way])
      expect(said()).toEqual(['<"1">', '<"2">'])
      for (const { topic, contentType, publisher } of seen) {
        expect({ topic, contentType }).toEqual({ topic: 'a', contentType: 'application/json' })
        expect(publisher?.client).toBe(client)
        expect(publisher?.session).toMatchObject(session)
      }
      expect(hub.getConnectionStats().published).toBe(2)
    },
  )

  it('a hook that breaks is INTERNAL to the publisher, and a fault with its error to us', async () => {
    const { hub, url } = await start(() => {
      throw new Error('postgres://user:password@db')
    })
    const fault = vi.fn()
    hub.events.on('fault', fault)
    const answer = await fetch(`${url}/topics/a`, {
      method: 'POST',
      body: 'x',
      headers: { authorization: 'Bearer ann' },
    })
    expect(answer.status).toBe(500)
    expect(await answer.text()).not.toContain('password')
    expect(fault).toHaveBeenCalledWith({ where: 'beforePublish', error: new Error('postgres://user:password@db') })
  })

  it('a live source with an asynchronous hook keeps its order, however many lines come at once', async () => {
    const { hub, url } = await start(async () => {
      await sleep(Math.random() < 0.01 ? 2 : 0)
    })
    const came: number[] = []
    const listener = hub.listen('a', message => came.push(Number(message.text())))
    const lines = Array.from({ length: 1500 }, (_, i) => i)
    const headers = { 'content-type': 'text/plain', authorization: 'Bearer ann' }
    const answer = await fetch(`${url}/topics/a?split=lines`, { method: 'PUT', body: lines.join('\n'), headers })
    expect(await answer.json()).toMatchObject({ messages: 1500 })
    await until(() => came.length === 1500)
    expect(came).toEqual(lines)
    listener[Symbol.dispose]()
  })
})
