import { afterEach, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/server/config.ts'
import { rawRequest } from './raw-request.ts'
import { startTestServer, type TestServer } from './test-server.ts'

let server: TestServer | undefined
afterEach(async () => {
  await server?.close()
  server = undefined
})

const REQUEST = 'GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n'

describe('timeouts.keepAliveMs', () => {
  it('is 72 s, longer than proxies keep a connection, and is told with each answer', async () => {
    server = await startTestServer({ admin: { port: 0 } })
    for (const url of [server.url, server.adminUrl!]) {
      expect((await rawRequest(url, REQUEST)).head.toLowerCase()).toContain('keep-alive: timeout=72')
    }
    expect(server.app.server.keepAliveTimeout).toBe(72_000)
  })

  it('is a setting of the file, the environment and the range', async () => {
    const config = (env: Record<string, string>, flags = {}) => loadConfig({ env, flags }).timeouts.keepAliveMs
    expect(config({ HUBLINE_TIMEOUTS_KEEP_ALIVE_MS: '610000' })).toBe(610_000)
    expect(config({}, { timeouts: { keepAliveMs: 0 } })).toBe(0)
    expect(() => config({ HUBLINE_TIMEOUTS_KEEP_ALIVE_MS: '-1' })).toThrow(/timeouts\.keepAliveMs/)
    expect(() => config({}, { timeouts: { keepAliveMs: 3_600_001 } })).toThrow(/timeouts\.keepAliveMs/)
    server = await startTestServer({ timeouts: { keepAliveMs: 5000 } })
    expect((await rawRequest(server.url, REQUEST)).head.toLowerCase()).toContain('keep-alive: timeout=5')
  })

  it('is no limit where it is 0', async () => {
    server = await startTestServer({ timeouts: { keepAliveMs: 0 }, admin: { port: 0 } })
    for (const url of [server.url, server.adminUrl!]) {
      expect((await rawRequest(url, REQUEST)).head.toLowerCase()).not.toContain('timeout=')
    }
  })
})
