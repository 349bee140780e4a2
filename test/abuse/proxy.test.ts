import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startTestServer, type TestServer } from '../server/test-server.ts'
import { AMBIGUOUS } from './ambiguous.ts'
import { converse } from './connection.ts'
import { type Nginx, startNginx, withoutNginx } from './nginx.ts'

describe.skipIf(withoutNginx)('behind nginx, whose connections to the hub serve everybody', () => {
  let server: TestServer
  let nginx: Nginx
  beforeAll(async () => {
    server = await startTestServer()
    nginx = await startNginx(server.url)
  })
  afterAll(async () => {
    await nginx[Symbol.asyncDispose]()
    await server.close()
  })

  const victim = (n: number) =>
    converse(
      nginx.patientUrl,
      `POST /topics/victim-${n} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx`,
      5000,
    )

  it('E11: whatever an attacker says, the next one gets the answer to what it asked', { timeout: 60_000 }, async () => {
    let hidden = 0
    for (const [n, text] of Object.values(AMBIGUOUS).entries()) {
      const [first, attack] = await Promise.all([victim(n), converse(nginx.url, text)])
      const second = await victim(n)
      for (const { statuses, text } of [first, second]) {
        expect(statuses).toEqual([202])
        expect(text).toContain(`"topic":"victim-${n}"`)
      }
      expect(server.hub.getTopic(`victim-${n}`)?.published).toBe(2)
      hidden += attack.text.split('"topic":"hidden"').length - 1
    }
    // nginx reads some of them more kindly than the hub. What it took for a request was one to the hub as well, with an answer of its own.
    expect(server.hub.getTopic('hidden')?.published ?? 0).toBe(hidden)
  })

  it('E11: an upgrade that the hub refuses leaves no tunnel behind', async () => {
    for (const path of ['api/stats', 'health/live', 'topics/a?rolle=both']) {
      const hidden = `POST /topics/tunnel HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx`
      const { statuses } = await converse(
        nginx.url,
        `GET /sockets/${path} HTTP/1.1\r\nHost: localhost\r\n\r\n${hidden}`,
      )
      expect(statuses[0]).toBeGreaterThanOrEqual(400)
      expect(statuses).not.toContain(101)
    }
    // What came behind it was a request to nginx, and was answered as one, or not at all: never read as the inside of a tunnel.
    expect(server.hub.getTopic('tunnel')?.published ?? 0).toBeLessThanOrEqual(3)
  })
})
