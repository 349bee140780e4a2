import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { hubline } from '../cli/run.ts'
import { HOST } from './ambiguous.ts'
import { converse } from './connection.ts'
import { serve } from './served.ts'

const BUSY = 500

describe('SIGTERM', () => {
  it(`D2: with ${BUSY} clients takes nobody new, tells each, and exits with 0 in time`, {
    timeout: 60_000,
  }, async () => {
    await using served = await serve()
    const url = `${served.url.replace('http', 'ws')}/topics/busy`
    const sockets = await Promise.all(
      Array.from({ length: BUSY }, async () => {
        const socket = new WebSocket(url)
        await once(socket, 'open')
        return socket
      }),
    )
    const codes = sockets.map(async socket => (await once(socket, 'close'))[0])
    served.kill('SIGTERM')
    await expect
      .poll(() => converse(served.url, `GET /health/live HTTP/1.1\r\n${HOST}\r\n`, 200))
      .toMatchObject({ statuses: [] })
    expect(new Set(await Promise.all(codes))).toEqual(new Set([1012]))
    expect(await served.finished).toBe(0)
    expect(/"report":\{"outcome":"(\w+)"/.exec(served.log())?.[1]).toBe('drained')
  })

  it('D2: during the start ends it in order', { timeout: 30_000 }, async () => {
    for (const ms of [0, 50, 150, 300]) {
      const process = hubline(['serve', '--port', '0', '--log-level', 'error'])
      await new Promise(resolve => setTimeout(resolve, ms))
      process.kill('SIGTERM')
      const { code, stderr } = await process.finished
      // null: the signal came before there was anything to end in order.
      expect([0, null]).toContain(code)
      expect(stderr).toBe('')
    }
  })
})
