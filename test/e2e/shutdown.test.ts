import { connect, type Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { hubline, type Running } from '../cli/run.ts'
import { upgradeRequest } from '../server/raw-request.ts'

async function start(env: Record<string, string> = {}): Promise<{ process: Running; url: string }> {
  const process = hubline(['serve', '--port', '0', '--log-level', 'info'], env)
  await process.says('/api/stats')
  return { process, url: /http:\/\/127\.0\.0\.1:\d+/.exec(process.output())![0] }
}

/** A WebSocket that opens and then never reads. */
function stalled(url: string, topic: string): Promise<Socket> {
  const { hostname, port } = new URL(url)
  return new Promise(resolve => {
    const socket = connect(Number(port), hostname, () => socket.write(upgradeRequest(`/topics/${topic}`)))
    socket.once('data', () => {
      socket.pause()
      resolve(socket)
    })
    socket.on('error', () => {})
  })
}

describe('SIGTERM', () => {
  it('D2: with nobody there exits with 0 at once', async () => {
    const { process } = await start()
    process.kill('SIGTERM')
    expect((await process.finished).code).toBe(0)
  })

  it('D3: D4: drains open streams, a live source and a stalled client, with the right codes, in its time', async () => {
    const { process, url } = await start({ HUBLINE_DRAIN_MS: '4000' })
    const socketUrl = url.replace('http', 'ws')
    const webSocket = new WebSocket(`${socketUrl}/topics/drain`)
    const clientProtocol = new WebSocket(`${socketUrl}/connection/websocket`)
    const closes: Record<string, number> = {}
    webSocket.on('close', code => (closes.webSocket = code))
    clientProtocol.on('close', code => (closes.clientProtocol = code))
    clientProtocol.on('open', () => clientProtocol.send('{"id":1,"connect":{}}'))
    await new Promise(resolve => clientProtocol.once('message', resolve))
    const sse = await fetch(`${url}/topics/drain`, { headers: { accept: 'text/event-stream' } })
    const raw = await fetch(`${url}/topics/drain`)
    const texts = Promise.all([sse.text(), raw.text()])
    // It never reads, and its connection is full: its policy keeps it.
    const dead = await stalled(url, 'drain?policy=latest')
    const big = Buffer.alloc(512 * 1024, 'x')
    for (let i = 0; i < 16; i++) await fetch(`${url}/topics/drain`, { method: 'POST', body: big })
    const source = new TransformStream<Uint8Array, Uint8Array>()
    const writer = source.writable.getWriter()
    const put = fetch(`${url}/topics/other`, { method: 'PUT', body: source.readable, duplex: 'half' } as RequestInit)
    await writer.write(new Uint8Array(10))
    await fetch(`${url}/topics/drain`, { method: 'POST', body: 'last words' })

    const begun = performance.now()
    process.kill('SIGTERM')
    const [[sseText, rawText], answer] = await Promise.all([texts, put])
    const { code, stderr } = await process.finished
    expect(code).toBe(0)
    // Without the setting it takes 8 s or more.
    expect(performance.now() - begun).toBeLessThan(8000)
    // What was published before was handed over, and the end is a clean one.
    expect(sseText.slice(-200)).toContain('data: last words\n\n')
    expect(sseText.trim()).toMatch(/retry: \d+\n\nevent: close\ndata: {"reason":"shutdown","reconnectMs":\d+}$/)
    expect(rawText.endsWith('last words')).toBe(true)
    expect([answer.status, await answer.text()]).toEqual([503, expect.stringContaining('SHUTTING_DOWN')])
    expect(closes).toEqual({ webSocket: 1012, clientProtocol: 3001 })
    // One line for each client, with the id of the request that opened it.
    const lines = stderr
      .split('\n')
      .filter(line => line.includes('client disconnected'))
      .map(line => JSON.parse(line))
    expect(lines).toHaveLength(5)
    for (const line of lines)
      expect(line).toMatchObject({ reason: 'shutdown', reqId: expect.any(String), client: expect.any(String) })
    // And one about all of it.
    expect(logged(stderr, 'shut down')).toMatchObject([
      { report: { outcome: 'deadline', clients: { closed: 5, behind: 1 }, sends: { finished: 0, abandoned: 0 } } },
    ])
    dead.destroy()
    await writer.close().catch(() => {})
  })

  it('says that nothing was left, where nothing was', async () => {
    const { process } = await start()
    process.kill('SIGINT')
    const { code, stderr } = await process.finished
    expect(code).toBe(0)
    expect(logged(stderr, 'draining')).toMatchObject([{ signal: 'SIGINT' }])
    expect(logged(stderr, 'shut down')).toMatchObject([
      { report: { outcome: 'drained', ms: expect.any(Number), messages: { settled: 0, abandoned: 0 } } },
    ])
  })

  it('D2: a second one ends it at once, with 1', async () => {
    const { process, url } = await start()
    const dead = await stalled(url, 'drain?policy=latest')
    const big = Buffer.alloc(512 * 1024, 'x')
    for (let i = 0; i < 16; i++) await fetch(`${url}/topics/drain`, { method: 'POST', body: big })
    process.kill('SIGTERM')
    await process.logs('"draining"')
    const begun = performance.now()
    process.kill('SIGTERM')
    const { code, stderr } = await process.finished
    expect(code).toBe(1)
    // The first signal alone gives the stalled client 8 s.
    expect(performance.now() - begun).toBeLessThan(8000)
    expect(logged(stderr, 'ended at once by a second signal')).toMatchObject([{ signal: 'SIGTERM' }])
    expect(logged(stderr, 'shut down')).toEqual([])
    dead.destroy()
  })
})

/** The lines of a log with this message. */
function logged(stderr: string, message: string): Record<string, unknown>[] {
  const lines = stderr.split('\n').filter(line => line.startsWith('{'))
  return lines.map(line => JSON.parse(line)).filter(({ msg }) => msg === message)
}
