import { readdir } from 'node:fs/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createHub, type Hub } from '../../../src/hub.ts'
import { openTopics } from '../../../src/open-topics.ts'
import type { HubContext } from '../../../src/server/context.ts'
import { demoPlugin, demoTopics } from '../../../src/server/demo/plugin.ts'
import { errorHandler } from '../../../src/server/errors.ts'
import { FakeConnection } from '../../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../../src/testing/manual-scheduler.ts'

describe('the demo plugin', () => {
  let scheduler: ManualScheduler
  let hub: Hub
  let app: FastifyInstance

  beforeEach(async () => {
    scheduler = new ManualScheduler()
    hub = createHub({ scheduler, topics: openTopics({}, demoTopics) })
    app = Fastify()
    app.setErrorHandler(errorHandler(1024 * 1024))
    await app.register(demoPlugin, { hub, scheduler })
  })

  afterEach(() => app.close())

  const get = (url: string) => app.inject({ url })
  const setSpeed = (payload: string, contentType = 'application/json') =>
    app.inject({ method: 'POST', url: '/demo/speed', headers: { 'content-type': contentType }, payload })

  test("publishes nothing before the app is ready, then at each source's rate, and nothing after close", async () => {
    scheduler.advance(1000)
    expect([...hub.getTopics()]).toEqual([])
    await app.ready()
    const idle = scheduler.timers
    scheduler.advance(2000)
    const published = (topic: string) => hub.getTopic(topic)?.published
    expect(published('demo/camera')).toBe(21)
    expect(published('demo/telemetry')).toBe(21)
    expect(published('demo/audio')).toBe(21)
    expect(published('demo/simulated')).toBe(11)
    expect([...hub.getActiveClients()].map(({ id }) => id).sort()).toEqual([
      'simulated-best-effort',
      'simulated-buffered-close',
      'simulated-buffered-drop-oldest',
      'simulated-drop-slow',
      'simulated-latest',
      'simulated-rate-limit-latest',
      'socket-latest',
    ])
    await app.close()
    expect([...hub.getActiveClients()]).toEqual([])
    expect(scheduler.timers).toBeLessThanOrEqual(idle - 5)
    scheduler.advance(1000)
    expect(published('demo/camera')).toBe(21)
  })

  test('its messages are what their content types say', async () => {
    await app.ready()
    const connection = new FakeConnection()
    hub.registerClient('viewer', connection)
    for (const topic of ['demo/telemetry', 'demo/simulated']) hub.subscribe('viewer', topic)
    scheduler.advance(1000)
    for (const text of connection.texts()) expect(JSON.parse(text)).toBeTypeOf('object')
    const kept = (topic: string) => hub.getTopic(topic)?.contentType
    expect(['camera', 'audio', 'telemetry', 'simulated'].map(name => kept(`demo/${name}`))).toEqual([
      'image/png',
      'audio/wav',
      'application/json',
      'application/json',
    ])
  })

  test('a hub that closes first is no fault', async () => {
    await app.ready()
    scheduler.advance(500)
    await hub.close()
    expect(() => scheduler.advance(5000)).not.toThrow()
  })

  test('leaves as soon as the server says that it drains, with slow clients behind', async () => {
    const draining = new AbortController()
    const server = Fastify()
    server.decorate('hubContext', { closing: draining.signal } as unknown as HubContext)
    await server.register(demoPlugin, { hub, scheduler })
    await server.ready()
    await server.inject({ method: 'POST', url: '/demo/speed', payload: { bytesPerSecond: 0 } })
    scheduler.advance(1000)
    expect(hub.getConnectionStats().pending).toBeGreaterThan(0)
    draining.abort()
    expect(hub.getConnectionStats()).toMatchObject({ clients: 0, pending: 0 })
    await server.close()
  })

  test('serves the page under a policy that lets no foreign and no inline script in', async () => {
    const page = await get('/')
    expect(page.statusCode).toBe(200)
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8')
    expect(page.headers['content-security-policy']).toMatch(/^default-src 'self';/)
    expect(page.headers['content-security-policy']).not.toContain('unsafe')
    expect(page.headers['x-content-type-options']).toBe('nosniff')
    expect(page.body).not.toMatch(/\son\w+=|style=|<style|<script>|https?:\/\//)
    expect(page.body).not.toContain('autoplay')
  })

  test('serves every file of web/, and every file that the page asks for', async () => {
    const all = await readdir(new URL('../../../web/', import.meta.url), { withFileTypes: true })
    // web/api is another page.
    const files = all.flatMap(entry => (entry.isFile() && entry.name !== 'index.html' ? [entry.name] : []))
    const types: Record<string, string> = { js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' }
    const asked = [...(await get('/')).body.matchAll(/(?:src|href)="\/([\w.]+)"/g)].map(match => match[1]!)
    for (const file of files.filter(name => name.endsWith('.js'))) {
      const { body } = await get(`/${file}`)
      asked.push(...[...body.matchAll(/from '\.\/([\w.]+)'/g)].map(match => match[1]!))
      expect(body, file).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write/)
    }
    expect([...new Set(asked)].sort()).toEqual([...new Set([...files, 'metrics'])].sort())
    for (const file of files) {
      const reply = await get(`/${file}`)
      expect(reply.statusCode, file).toBe(200)
      expect(reply.headers['content-type'], file).toContain(types[file.split('.')[1]!])
      expect(reply.headers['x-content-type-options'], file).toBe('nosniff')
    }
  })

  test('the speed can be set and read', async () => {
    await app.ready()
    expect((await get('/demo/speed')).json()).toEqual({ bytesPerSecond: 1_000_000 })
    for (const bytesPerSecond of [0, 1234.5, 10_000_000]) {
      const reply = await setSpeed(JSON.stringify({ bytesPerSecond }))
      expect([reply.statusCode, reply.json()]).toEqual([200, { bytesPerSecond }])
      expect((await get('/demo/speed')).json()).toEqual({ bytesPerSecond })
    }
  })

  test.each([
    ['{"bytesPerSecond":-1}', 'bytesPerSecond'],
    ['{"bytesPerSecond":10000001}', 'bytesPerSecond'],
    ['{"bytesPerSecond":"5"}', 'bytesPerSecond'],
    ['{"bytesPerSecond":null}', 'bytesPerSecond'],
    ['{"bytesPerSecond":5,"policy":"latest"}', 'policy'],
    ['{}', 'bytesPerSecond'],
    ['[]', 'object'],
    ['{', 'JSON'],
    ['', 'empty'],
    ['{"__proto__":{"bytesPerSecond":5}}', 'JSON'],
  ])('refuses the speed %s and says why', async (body, why) => {
    await app.ready()
    const reply = await setSpeed(body)
    expect(reply.statusCode).toBe(400)
    expect(reply.json().error.message).toContain(why)
    expect((await get('/demo/speed')).json()).toEqual({ bytesPerSecond: 1_000_000 })
  })

  test.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])(
    'takes no speed as %s: a form of a foreign page could send it',
    async contentType => {
      expect((await setSpeed('{"bytesPerSecond":5}', contentType)).statusCode).toBe(415)
    },
  )
})
