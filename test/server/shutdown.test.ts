import { connect, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { httpReceiver, type Receiver } from '../transports/receiver.ts'
import { ask, askJson, type Listener, listen, until } from './http.ts'
import { upgradeRequest } from './raw-request.ts'
import { startTestServer, type TestServer } from './test-server.ts'

const sockets: Socket[] = []
const receivers: Receiver[] = []
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  for (const receiver of receivers.splice(0)) await receiver[Symbol.asyncDispose]()
})

/** A client that holds more than its connection takes, and never reads. */
async function stall(server: TestServer): Promise<void> {
  const { hostname, port } = new URL(server.url)
  const socket = connect(Number(port), hostname, () =>
    socket.write(upgradeRequest('/topics/big?client=stalled&policy=latest')),
  )
  sockets.push(socket)
  socket.on('error', () => {})
  await new Promise<void>(resolve => socket.once('data', () => resolve(void socket.pause())))
  const body = Buffer.alloc(1024 * 1024)
  while (server.hub.getClient('stalled').writable) await fetch(`${server.url}/topics/big`, { method: 'POST', body })
  await fetch(`${server.url}/topics/big`, { method: 'POST', body })
}

async function receive(
  server: TestServer,
  id: string,
  ...[answer]: Parameters<typeof httpReceiver>
): Promise<Receiver> {
  const receiver = await httpReceiver(answer)
  receivers.push(receiver)
  await askJson(`${server.url}/api/clients`, { id, url: receiver.url.href, topics: ['jobs'] })
  return receiver
}

/** A connection that is kept alive, for a request that comes later. */
function keptAlive(server: TestServer): { request(text: string): Promise<string> } {
  const { hostname, port } = new URL(server.url)
  const socket = connect(Number(port), hostname)
  sockets.push(socket)
  return {
    request: text =>
      new Promise(resolve => {
        let answer = ''
        socket.on('data', piece => {
          answer += piece
          if (answer.includes('}')) resolve(answer)
        })
        socket.write(text)
      }),
  }
}

const allow = { callbacks: { allow: ['127.0.0.1'] } }

describe('closing a server', () => {
  it('D4: lets what is under way come to its end, and reports', async () => {
    const server = await startTestServer(allow)
    const held: (() => void)[] = []
    const receiver = await receive(server, 'slow', response => void held.push(() => response.end()))
    await fetch(`${server.url}/topics/jobs`, { method: 'POST', body: 'one' })
    const sent = ask(`${server.url}/api/clients/slow/send`, { method: 'POST', body: 'two' })
    await until(() => server.hub.getMetrics().operations.send.active === 1 && held.length === 1)
    const closed = server.close()
    await until(() => server.hub.draining)
    held.shift()!()
    await until(() => held.length === 1)
    held.shift()!()
    expect((await sent).status).toBe(200)
    expect(await closed).toMatchObject({
      outcome: 'drained',
      sends: { finished: 1, abandoned: 0 },
      messages: { settled: 1, abandoned: 0 },
      clients: { closed: 1, behind: 0 },
    })
    expect(receiver.requests.map(({ body }) => `${body}`)).toEqual(['one', 'two'])
  })

  it('ends in its time, whatever a client does, and says what was left', async () => {
    const server = await startTestServer({ ...allow, drainMs: 1200 })
    await stall(server)
    await receive(server, 'hangs', () => {})
    const sent = ask(`${server.url}/api/clients/hangs/send`, { method: 'POST', body: 'x' })
    await until(() => server.hub.getMetrics().operations.send.active === 1)
    const begun = performance.now()
    const report = await server.close()
    expect(performance.now() - begun).toBeGreaterThanOrEqual(1190)
    // Without the setting it takes 8 s or more.
    expect(performance.now() - begun).toBeLessThan(8000)
    expect(report).toMatchObject({
      outcome: 'deadline',
      sends: { finished: 0, abandoned: 1 },
      clients: { closed: 2, behind: 2 },
    })
    const { status, body } = await sent
    expect([status, body.error.code]).toEqual([503, 'SHUTTING_DOWN'])
  })

  it('does not count time in which the process did not run', async () => {
    const server = await startTestServer({ drainMs: 600 })
    await stall(server)
    const begun = performance.now()
    const closed = server.close()
    await until(() => server.hub.draining)
    // The event loop is blocked.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000)
    expect((await closed)?.outcome).toBe('deadline')
    // The look that is due in the block comes within 100 ms of its beginning: they count.
    expect(performance.now() - begun).toBeGreaterThan(1000 + 600 - 200)
  })

  it('ends at once when it is told to', async () => {
    const server = await startTestServer()
    await stall(server)
    const impatient = new AbortController()
    const closed = server.close({ signal: impatient.signal })
    await until(() => server.hub.draining)
    const begun = performance.now()
    impatient.abort()
    expect(await closed).toMatchObject({ outcome: 'aborted', clients: { closed: 1, behind: 1 } })
    // Without the signal it takes the default drainMs or more: 8 s.
    expect(performance.now() - begun).toBeLessThan(8000)
    const other = await startTestServer()
    await stall(other)
    expect(await other.close({ signal: AbortSignal.abort() })).toMatchObject({ outcome: 'aborted' })
  })

  it('closes clients one after the other, each with a hint when to come back', async () => {
    const server = await startTestServer({ shutdown: { spreadMs: 400, reconnectMs: 100 } })
    const clients: Listener[] = []
    for (const id of ['a', 'b', 'c', 'd']) clients.push(await listen(server.url, id))
    const begun = performance.now()
    const ends = clients.map(async ({ closed }) => ({ ...(await closed), at: performance.now() - begun }))
    await server.close()
    const told = await Promise.all(ends)
    for (const { code, reason } of told) {
      expect(code).toBe(1012)
      const [, ms] = /^shutdown: come back in (\d+) ms$/.exec(reason)!
      expect(Number(ms)).toBeLessThanOrEqual(100)
    }
    // From when it began, and not from when the first was heard of: a busy machine may hear of it late.
    expect(told.at(-1)!.at).toBeGreaterThan(250)
  })

  it('refuses new work on connections that are there, in our own words', async () => {
    const server = await startTestServer()
    await stall(server)
    const [ready, publishing, sending, registering, gateway] = Array.from({ length: 5 }, () => keptAlive(server))
    // The server must have accepted them before the port closes: those that wait in the backlog are reset.
    const { server: http } = server.app
    const accepted = () => new Promise<number>(resolve => http.getConnections((_, count) => resolve(count)))
    await expect.poll(accepted).toBeGreaterThanOrEqual(sockets.length)
    const impatient = new AbortController()
    const closed = server.close({ signal: impatient.signal })
    await until(() => server.hub.draining)
    const body = '{"url":"http://127.0.0.1/"}'
    const post = (path: string) =>
      `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
    const answers = await Promise.all([
      ready!.request('GET /health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n'),
      publishing!.request(post('/topics/a')),
      sending!.request(post('/api/clients/stalled/send')),
      registering!.request(post('/api/clients')),
      gateway!.request(post('/@connections/stalled')),
    ])
    for (const answer of answers) expect(answer).toMatch(/^HTTP\/1\.1 503 /)
    expect(answers[0]).toContain('"draining"')
    for (const answer of answers.slice(1, 4)) expect(answer).toContain('SHUTTING_DOWN')
    expect(answers[4]).toContain('ServiceUnavailableException')
    impatient.abort()
    await closed
  })
})
