import { createServer } from 'node:http'
import { Centrifuge, type PublicationContext, type Subscription } from 'centrifuge'
import Fastify from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import type { SessionManager } from '../../src/core/sessions.ts'
import { createHub } from '../../src/hub.ts'
import { hubline } from '../../src/server/fastify.ts'
import { ApiKeys, newApiKey } from '../../src/sessions/api-keys.ts'
import { topicRules } from '../../src/topics/registry.ts'
import { CallbackClients } from '../../src/transports/callback.ts'

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

const sessions: SessionManager = {
  authenticate: ({ token }) => (token === undefined ? {} : { user: token, info: { name: 'Änn' } }),
  authorize: () => true,
}

async function start() {
  const hub = createHub({ topics: topicRules({ rules: { 'told/*': { publisher: true } } }) })
  const app = Fastify()
  const { key, sha256 } = newApiKey()
  await app.register(hubline, { hub, sessions, apiKeys: new ApiKeys([{ name: 'shop', sha256, scopes: ['admin'] }]) })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  ends.push(() => app.close())
  return { hub, url, key }
}

/** The npm package `centrifuge`, unmodified. */
async function connect(url: string, id: string, token: string): Promise<Centrifuge> {
  const centrifuge = new Centrifuge(`${url.replace('http', 'ws')}/connection/websocket?client=${id}`, {
    websocket: WebSocket,
    token,
  })
  ends.push(() => centrifuge.disconnect())
  centrifuge.connect()
  await centrifuge.ready()
  return centrifuge
}

async function subscribe(centrifuge: Centrifuge, channel: string): Promise<Subscription> {
  const subscription = centrifuge.newSubscription(channel)
  subscription.subscribe()
  await subscription.ready()
  return subscription
}

const next = (subscription: Subscription): Promise<PublicationContext> =>
  new Promise(resolve => subscription.once('publication', resolve))

const INFO = { client: 'phone', user: 'ann', connInfo: { name: 'Änn' } }
const PUBLISHER = { client: 'phone', user: 'ann', info: { name: 'Änn' } }

describe('who published a message', () => {
  it('is told by the client protocol where the rule says so: live and in the history; nowhere else', async () => {
    const { url } = await start()
    const ann = await connect(url, 'phone', 'ann')
    const bob = await connect(url, 'desk', 'bob')
    const told = await subscribe(bob, 'told/1')
    const silent = await subscribe(bob, 'silent')
    const came = [next(told), next(silent)]
    await ann.publish('told/1', 'hello')
    await ann.publish('silent', 'hello')
    const [first, second] = await Promise.all(came)
    expect(first).toMatchObject({ data: 'hello', offset: 1, info: INFO })
    expect(second).toMatchObject({ data: 'hello' })
    expect(second?.info).toBeUndefined()
    const { publications } = await told.history({ limit: 10 })
    expect(publications).toMatchObject([{ data: 'hello', info: INFO }])
  })

  it('is the user alone for a request, and nothing for one whom nobody knows', async () => {
    const { url } = await start()
    const told = await subscribe(await connect(url, 'desk', 'bob'), 'told/1')
    const post = (headers: Record<string, string>) => {
      const came = next(told)
      const init = { method: 'POST', body: '1', headers: { 'content-type': 'application/json', ...headers } }
      return fetch(`${url}/topics/told/1`, init).then(() => came)
    }
    expect((await post({ authorization: 'Bearer ann' })).info).toMatchObject({ user: 'ann', client: '' })
    expect((await post({})).info).toBeUndefined()
  })

  it('is in the histories over HTTP, inside the program, and in the header of a webhook', async () => {
    const { hub, url, key } = await start()
    const headers: (string | string[] | undefined)[] = []
    const receiver = createServer((request, response) => {
      headers.push(request.headers['hubline-publisher'])
      request.resume()
      response.end()
    }).listen(0, '127.0.0.1')
    ends.push(() => receiver.close())
    await new Promise(resolve => receiver.once('listening', resolve))
    const callbacks = new CallbackClients(hub, { allow: ['127.0.0.1'] })
    ends.push(() => callbacks.close())
    const { port } = receiver.address() as { port: number }
    callbacks.register({ id: 'hook', url: `http://127.0.0.1:${port}/`, topics: [{ name: 'told/1' }] })
    const inside = hub.stream('told/1')
    const ann = await connect(url, 'phone', 'ann')
    await ann.publish('told/1', 'hello')
    expect((await inside.next()).value?.publisher).toEqual(PUBLISHER)
    await expect.poll(() => headers).toEqual([String.raw`{"client":"phone","user":"ann","info":{"name":"\u00c4nn"}}`])
    expect(JSON.parse(headers[0] as string)).toEqual(PUBLISHER)
    const histories = [`${url}/topics/told/1?history`, `${url}/api/topics/told/1/history`]
    for (const each of histories) {
      const { messages } = (await (
        await fetch(each, { headers: { authorization: `Bearer ${each.includes('/api/') ? key : 'ann'}` } })
      ).json()) as { messages: { publisher: unknown }[] }
      expect(messages.map(({ publisher }) => publisher)).toEqual([PUBLISHER])
    }
    const described = await (await fetch(`${url}/topics/told/1?describe`)).json()
    expect(described).toMatchObject({ publisher: true })
  })
})

describe('what JSON cannot carry', () => {
  it('is a gap to an SDK, never the end; and whoever publishes hears how many did not get it', async () => {
    const { url } = await start()
    const centrifuge = await connect(url, 'desk', 'bob')
    const subscription = await subscribe(centrifuge, 'mixed')
    const post = async (body: string | Uint8Array, contentType: string) => {
      const init = { method: 'POST', body, headers: { 'content-type': contentType } }
      const answer = await fetch(`${url}/topics/mixed`, init)
      return [answer.status, await answer.json()]
    }
    const picture = await post(new Uint8Array([0xff, 0xd8]), 'image/jpeg')
    expect(picture).toEqual([202, expect.objectContaining({ matched: 1, unsupported: 1 })])
    expect(await post('{"lat":NaN}', 'application/json')).toMatchObject([202, { matched: 1, unsupported: 1 }])
    // A subscriber that comes now is not refused for it.
    const late = await subscribe(await connect(url, 'late', 'eve'), 'mixed')
    const came = Promise.all([next(subscription), next(late)])
    expect(await post('{"lat":1}', 'application/json')).toMatchObject([202, { matched: 2, unsupported: 0 }])
    expect((await came).map(({ data }) => data)).toEqual([{ lat: 1 }, { lat: 1 }])
    expect([subscription.state, late.state]).toEqual(['subscribed', 'subscribed'])
  })
})
