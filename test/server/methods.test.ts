import { METHODS } from 'node:http'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createHub } from '../../src/hub.ts'
import { hubline } from '../../src/server/fastify.ts'
import { newApiKey } from '../../src/sessions/api-keys.ts'
import { TopicRules } from '../../src/topics/registry.ts'
import { startTestServer, type TestServer } from './test-server.ts'

let server: TestServer
let guarded: TestServer
let app: FastifyInstance
const { key, sha256 } = newApiKey()
/** Every route of ours, in served form and inside an app that exposes HEAD by itself. */
const routes = new Map<string, Set<string>>()
beforeAll(async () => {
  server = await startTestServer({ topics: { radio: { contentType: 'audio/mpeg' } }, tenants: { blue: {} } })
  guarded = await startTestServer({ sessions: { apiKeys: { ops: { sha256, scopes: ['admin'] } } } })
  app = Fastify()
  app.addHook('onRoute', ({ method, url }) => {
    for (const each of [method].flat()) routes.set(url, (routes.get(url) ?? new Set()).add(each))
  })
  const topicRules = new TopicRules({})
  await app.register(hubline, { hub: createHub({ topics: topicRules }), topicRules })
  await app.listen({ port: 0, host: '127.0.0.1' })
})
afterAll(() => Promise.all([server.close(), guarded.close(), app.close()]))

const own = () => `http://127.0.0.1:${(app.server.address() as { port: number }).port}`
const ask = async (url: string, method: string, init: RequestInit = {}) => {
  const response = await fetch(url, { method, ...init })
  const { status, headers } = response
  return { status, allow: headers.get('allow'), type: headers.get('content-type'), text: await response.text() }
}

describe('HEAD', () => {
  it.each([
    '/health/live',
    '/health/ready',
    '/',
    '/metrics',
    '/topics/radio',
    '/events?topic=a',
    '/api/stats',
    '/api/docs',
    '/tenants/blue/topics/a',
    '/topics/a?describe',
    '/topics/a?history',
  ])('of %s is 200 without a body, with the type that GET has', async path => {
    const { status, type, text } = await ask(server.url + path, 'HEAD')
    expect([status, text]).toEqual([200, ''])
    const aborted = new AbortController()
    const get = await fetch(server.url + path, { signal: aborted.signal })
    expect(type).toBe(get.headers.get('content-type'))
    aborted.abort()
  })

  it.each(['/topics/radio', '/events?topic=a'])('of %s opens no client, served and embedded', async path => {
    let opened = 0
    for (const hub of [server.hub, app.hub]) hub.events.on('register', () => opened++)
    for (const url of [server.url, own()]) {
      const { status, text } = await ask(url + path, 'HEAD', { headers: { accept: 'text/event-stream' } })
      expect([status, text]).toEqual([200, ''])
    }
    expect(opened).toBe(0)
  })

  it('is refused where GET is: by keys, by names, by the socket that a path is', async () => {
    expect((await ask(`${guarded.url}/api/stats`, 'HEAD')).status).toBe(401)
    expect(
      (await ask(`${guarded.url}/api/stats`, 'HEAD', { headers: { authorization: `Bearer ${key}` } })).status,
    ).toBe(200)
    expect((await ask(`${server.url}/topics/a?rolle=x`, 'HEAD')).status).toBe(400)
    expect((await ask(`${server.url}/api/clients/nobody/tail`, 'HEAD')).status).toBe(404)
    expect((await ask(`${server.url}/connection/websocket`, 'HEAD')).status).toBe(426)
    expect((await ask(`${server.url}/nothing`, 'HEAD')).status).toBe(404)
  })

  it('of a tail does not watch the client', async () => {
    const reading = new AbortController()
    await fetch(`${server.url}/topics/a?client=ada`, { signal: reading.signal })
    expect(await ask(`${server.url}/api/clients/ada/tail`, 'HEAD')).toMatchObject({
      status: 200,
      type: expect.stringContaining('text/event-stream'),
    })
    // One watcher at a time: GET could not watch if HEAD did.
    const watching = new AbortController()
    expect((await fetch(`${server.url}/api/clients/ada/tail`, { signal: watching.signal })).status).toBe(200)
    watching.abort()
    reading.abort()
  })
})

describe('OPTIONS and other methods', () => {
  it.each([
    ['/topics/a', 'GET, HEAD, POST, PUT, OPTIONS', 'PATCH'],
    ['/topics/a', 'GET, HEAD, POST, PUT, OPTIONS', 'DELETE'],
    ['/topics/a', 'GET, HEAD, POST, PUT, OPTIONS', 'PROPFIND'],
    ['/api/stats', 'GET, HEAD, OPTIONS', 'REPORT'],
    ['/metrics', 'GET, HEAD, OPTIONS', 'M-SEARCH'],
    ['/tenants/blue/topics/a', 'GET, HEAD, POST, PUT, OPTIONS', 'MKCOL'],
    ['/events?topic=a', 'GET, HEAD, OPTIONS', 'POST'],
    ['/health/live', 'GET, HEAD, OPTIONS', 'POST'],
    ['/api/publish', 'POST, OPTIONS', 'GET'],
    ['/api/publish', 'POST, OPTIONS', 'HEAD'],
    ['/api/clients/x/send', 'POST, OPTIONS', 'PUT'],
    ['/tenants/blue/topics/a', 'GET, HEAD, POST, PUT, OPTIONS', 'DELETE'],
    ['/@connections/x', 'GET, HEAD, POST, DELETE, OPTIONS', 'PUT'],
    ['/', 'GET, HEAD, OPTIONS', 'POST'],
  ])('%s says Allow: %s, to OPTIONS and to %s', async (path, allow, method) => {
    expect(await ask(server.url + path, 'OPTIONS')).toMatchObject({ status: 204, allow })
    const refused = await ask(server.url + path, method)
    expect(refused).toMatchObject({ status: 405, allow })
    if (method !== 'HEAD') expect(JSON.parse(refused.text).error.code).toBe('METHOD_NOT_ALLOWED')
  })

  it('to what a topic has under /api is told by what follows the name', async () => {
    expect(await ask(`${server.url}/api/topics/a/b/history`, 'PUT')).toMatchObject({
      status: 405,
      allow: 'GET, HEAD, OPTIONS',
    })
    expect(await ask(`${server.url}/api/topics/a/move`, 'GET')).toMatchObject({ status: 405, allow: 'POST, OPTIONS' })
    for (const [path, allow] of [
      ['/api/topics/a', 'GET, HEAD, OPTIONS'],
      ['/api/topics/a/history', 'GET, HEAD, OPTIONS'],
      ['/api/topics/a/move', 'POST, OPTIONS'],
      ['/api/topics/a/policy', 'GET, PUT, DELETE, HEAD, OPTIONS'],
    ] as const) {
      for (const method of ['PATCH', 'QUERY']) {
        expect(await ask(server.url + path, method), `${method} ${path}`).toMatchObject({ status: 405, allow })
      }
    }
  })

  it('TRACE is refused with 405: nothing repeats what a proxy has added', async () => {
    const { rawRequest } = await import('./raw-request.ts')
    const { status, head } = await rawRequest(server.url, 'TRACE /topics/a HTTP/1.1\r\nHost: localhost\r\n\r\n')
    expect(status).toBe(405)
    expect(head.toLowerCase()).toContain('allow: get, head, post, put, options')
  })

  it('are told in our form where there is nothing, also beside `origins`, which answers OPTIONS on every path', async () => {
    const shared = await startTestServer({ origins: ['https://app.example.org'], tenants: { blue: {} } })
    const methods = METHODS.filter(method => !['CONNECT', 'HEAD'].includes(method))
    for (const [url, code] of [
      ['/nothing/here', 'NOT_FOUND'],
      ['/tenants/blue/nothing', 'NOT_FOUND'],
      ['/tenants/red/topics/a', 'NOT_FOUND'],
      ['/%zz', 'REQUEST_INVALID'],
    ] as const) {
      for (const method of methods) {
        const answer = await shared.app.inject({ method: method as 'GET', url })
        expect([method, answer.json()]).toEqual([method, { error: { code, message: expect.any(String) } }])
      }
    }
    await shared.close()
  })

  it('are 404 where no method has a route', async () => {
    for (const method of ['OPTIONS', 'PATCH', 'DELETE', 'GET', 'POST', 'PROPFIND', 'REPORT']) {
      expect((await ask(`${server.url}/nothing/here`, method)).status).toBe(404)
    }
  })

  it('no route of the plugin is without an answer to any of them', async () => {
    expect(routes.size).toBeGreaterThan(30)
    for (const [url, methods] of routes) {
      expect([url, ...methods, 'CONNECT'].sort()).toEqual([url, ...METHODS].sort())
    }
  })

  it('leave the other routes of the app alone', async () => {
    for (const method of ['PUT', 'PROPFIND']) expect((await ask(`${own()}/own`, method)).status).toBe(404)
    expect((await ask(`${own()}/topics/a`, 'PATCH')).status).toBe(405)
  })
})
