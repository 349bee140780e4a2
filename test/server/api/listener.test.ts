import { afterEach, describe, expect, it } from 'vitest'
import { loadConfig } from '../../../src/server/config.ts'
import { ask, askJson, listen, until } from '../http.ts'
import { startTestServer, type TestServer } from '../test-server.ts'

const servers: TestServer[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close()
})
async function start(flags: object = {}, options: object = {}): Promise<TestServer> {
  const server = await startTestServer({ ...flags }, options)
  servers.push(server)
  return server
}

describe('a listener of its own', () => {
  it('has what operators call, and the public one answers 404', async () => {
    const server = await start({ admin: { port: 0 } })
    const admin = server.adminUrl!
    expect(new URL(admin).hostname).toBe('127.0.0.1')
    expect(admin).not.toBe(server.url)
    const paths = ['/api/stats', '/api/clients', '/api/openapi.json', '/api/docs', '/metrics', '/@connections/nobody']
    for (const path of paths) {
      const [there, here] = await Promise.all([fetch(admin + path), fetch(server.url + path)])
      expect([path, here.status]).toEqual([path, 404])
      expect([path, there.status]).toEqual([path, path.startsWith('/@') ? 410 : 200])
    }
    for (const path of ['/topics/a', '/events?topic=a', '/connection/websocket', '/']) {
      expect([path, (await fetch(admin + path)).status]).toEqual([path, 404])
    }
    for (const url of [server.url, admin]) expect((await fetch(`${url}/health/ready`)).status).toBe(200)
  })

  it('is of the same hub', async () => {
    const server = await start({ admin: { port: 0 } })
    const { heard, webSocket } = await listen(server.url, 'ada', 'shared')
    await askJson(`${server.adminUrl}/api/publish`, { publications: [{ topic: 'shared', text: 'hello' }] })
    await until(() => heard.length === 1)
    expect((await ask(`${server.adminUrl}/api/clients/ada`)).body.id).toBe('ada')
    webSocket.terminate()
  })

  it('says which port is in use, and leaves none open', async () => {
    const first = await start({ admin: { port: 0 } })
    const port = Number(new URL(first.adminUrl!).port)
    await expect(startTestServer({ admin: { port } })).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: `admin.port: ${port} on 127.0.0.1 is in use; choose another`,
    })
  })

  it('G2: is on loopback, unless somebody accepts what others may do then', () => {
    const load = (flags: object) => loadConfig({ env: {}, flags: flags as Record<string, unknown> })
    expect(load({ admin: { port: 1 } }).admin).toEqual({ host: '127.0.0.1', port: 1 })
    expect(() => load({ admin: { port: 1, host: '0.0.0.0' } })).toThrow(/^admin\.host: 0\.0\.0\.0 is open to others/)
    expect(load({ admin: { port: 1, host: '0.0.0.0' }, insecure: true }).admin.host).toBe('0.0.0.0')
  })
})

describe('POST /api/drain', () => {
  it('refuses what is new, closes who is there, and leaves operators in', async () => {
    const server = await start()
    const { closed } = await listen(server.url, 'ada')
    expect((await ask(`${server.url}/api/drain`)).body).toEqual({ state: 'serving' })
    const begun = await ask(`${server.url}/api/drain`, { method: 'POST' })
    expect([begun.status, begun.body]).toEqual([202, { state: 'draining' }])
    const ready = await ask(`${server.url}/health/ready`)
    expect([ready.status, ready.body]).toEqual([503, { status: 'draining' }])
    expect(await closed).toMatchObject({ code: 1012 })
    for (const [path, body] of [
      ['/topics/a', { n: 1 }],
      ['/api/publish', { publications: [{ topic: 'a', text: 'x' }] }],
    ] as const) {
      const { status, body: answer } = await askJson(server.url + path, body)
      expect([path, status, answer.error.code]).toEqual([path, 503, 'SHUTTING_DOWN'])
    }
    let state = ''
    while (state !== 'drained') state = (await ask(`${server.url}/api/drain`)).body.state
    const { report } = (await ask(`${server.url}/api/drain`)).body
    expect(report).toMatchObject({ outcome: 'drained', clients: { closed: 1, behind: 0 } })
    // Again changes nothing, and a signal after it waits for nothing.
    expect((await ask(`${server.url}/api/drain`, { method: 'POST' })).body).toEqual({ state: 'drained', report })
    expect((await fetch(`${server.url}/api/stats`)).status).toBe(200)
    servers.splice(servers.indexOf(server), 1)
    expect(await server.close()).toEqual(report)
  })
})
