import { once } from 'node:events'
import type { Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { rawRequest, upgradeRequest } from './raw-request.ts'
import { startTestServer, type TestServer } from './test-server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer({ history: { messages: 3, bytes: 1_000_000 } })
})
afterAll(() => server.close())

type Heard = { readonly seq: number } | { readonly notice: Record<string, Record<string, unknown>> }

/** A message of 64 KiB that begins with its number. */
const picture = (seq: number): Buffer => Buffer.concat([Buffer.from(`${seq} `), Buffer.alloc(64 * 1024)])

async function open(path: string): Promise<{ client: WebSocket; socket: Socket; heard: Heard[] }> {
  const client = new WebSocket(`${server.url.replace('http', 'ws')}${path}`)
  const heard: Heard[] = []
  client.on('message', (data: Buffer, binary) =>
    heard.push(binary ? { seq: Number.parseInt(`${data.subarray(0, 12)}`, 10) } : { notice: JSON.parse(`${data}`) }),
  )
  await once(client, 'open')
  return { client, socket: (client as unknown as { _socket: Socket })._socket, heard }
}

describe('a WebSocket with ?gaps', () => {
  it.each([
    ['best-effort', 'best-effort'],
    ['latest', 'latest'],
    ['drop-oldest', JSON.stringify({ name: 'buffered', bytes: 200_000, overflow: 'drop-oldest' })],
  ])('under %s is told every loss before the next message', async (name, policy) => {
    const topic = `gaps/${name}`
    const { client, socket, heard } = await open(
      `/topics/${topic}?gaps&policy=${encodeURIComponent(policy)}&client=${name}`,
    )
    await expect.poll(() => heard.length).toBe(1)
    socket.pause()
    const waiting = (): number => {
      const { published: all, delivered } = server.hub.getSubscription(name, topic)!
      return all - delivered
    }
    let published = 0
    // As much as the kernel takes, and then more than the policy keeps.
    while (waiting() < 40) {
      server.hub.routeData(topic, picture(++published), { contentType: 'image/png' })
      await new Promise(resolve => setImmediate(resolve))
    }
    socket.resume()
    const lost = published
    // A message may still find the connection full: the next one does not.
    await expect
      .poll(
        () => {
          server.hub.routeData(topic, picture(++published), { contentType: 'image/png' })
          return heard.some(each => 'seq' in each && each.seq > lost)
        },
        { timeout: 10_000 },
      )
      .toBe(true)
    const [first, ...rest] = heard
    expect(first).toMatchObject({ notice: { position: { topic, position: expect.stringMatching(/-0$/) } } })
    let at = 0
    let missed = 0
    let told = 0
    let toldUpTo = 0
    for (const each of rest) {
      if ('seq' in each) {
        missed += each.seq - at - 1
        // Told before the message, and in full.
        expect(told).toBeGreaterThanOrEqual(missed)
        if (each.seq > at + 1) expect(toldUpTo).toBeGreaterThanOrEqual(each.seq - 1)
        at = each.seq
      } else {
        const gap = each.notice.gap as { to: number; count: number }
        told += gap.count
        toldUpTo = gap.to
      }
    }
    expect(told).toBe(missed)
    expect(at).toBeGreaterThan(lost)
    expect(rest.some(each => 'notice' in each)).toBe(true)
    client.terminate()
  })

  it('is told where it resumes, and what is no longer kept', async () => {
    const topic = 'gaps/resume'
    for (let seq = 1; seq <= 7; seq++)
      server.hub.routeData(topic, Buffer.from(`${seq} `), { contentType: 'text/plain' })
    const { epoch } = server.hub.getTopic(topic)!.position
    const { client, heard } = await open(`/topics/${topic}?gaps&since=${epoch}-1`)
    await expect.poll(() => heard.length).toBe(5)
    expect(heard).toEqual([
      { notice: { position: { topic, position: `${epoch}-1`, recovered: false } } },
      { notice: { gap: { topic, from: 2, to: 4, count: 3, reason: 'trimmed' } } },
      { seq: 5 },
      { seq: 6 },
      { seq: 7 },
    ])
    client.terminate()
    const anew = await open('/topics/gaps/anew?gaps&since=abc-5')
    await expect.poll(() => anew.heard.length).toBe(2)
    expect(anew.heard[1]).toMatchObject({ notice: { gap: { count: null, reason: 'epoch' } } })
    anew.client.terminate()
  })

  it('tells a message for this client alone from those of the topic', async () => {
    const { client, heard } = await open('/topics/gaps/direct?gaps&client=direct')
    await server.hub.send('direct', 'hello')
    await server.hub.send('direct', Uint8Array.of(255), { contentType: 'image/png' })
    await expect.poll(() => heard.length).toBe(3)
    expect(heard.slice(1)).toMatchObject([
      { notice: { direct: { text: 'hello' } } },
      { notice: { direct: { contentType: 'image/png', base64: '/w==' } } },
    ])
    client.terminate()
  })

  it('is asked for by a WebSocket that subscribes, and changes nothing for others', async () => {
    for (const request of [
      'GET /topics/a?gaps HTTP/1.1\r\nHost: localhost\r\n\r\n',
      upgradeRequest('/topics/a?gaps&role=publisher'),
    ]) {
      const { status, body } = await rawRequest(server.url, request)
      expect({ status, message: JSON.parse(body).error.message }).toMatchObject({
        status: 400,
        message: expect.stringContaining('gaps'),
      })
    }
    const topic = 'gaps/plain'
    const { client, heard } = await open(`/topics/${topic}?client=plain`)
    server.hub.routeData(topic, picture(1), { contentType: 'image/png' })
    await expect.poll(() => heard).toEqual([{ seq: 1 }])
    client.terminate()
  })
})
