import { once } from 'node:events'
import type { Socket } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { joinSmall } from '../../../src/server/edge/socket-bounds.ts'
import { BINARY, frame, PING } from '../../abuse/frame-peer.ts'
import { runs } from '../../property-runs.ts'
import { startTestServer, type TestServer } from '../test-server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer({ history: { bytes: 4_000_000 } })
})
afterAll(() => server.close())

interface Opened {
  readonly client: WebSocket
  readonly raw: Socket
  /** The server's end: what is emitted as `data` is one read of the socket. */
  readonly served: Socket
  readonly receiver: { readonly _buffers: Buffer[]; readonly _fragments: Buffer[] }
}

async function open(path: string): Promise<Opened> {
  const client = new WebSocket(`${server.url.replace('http', 'ws')}${path}`)
  const [served] = (await Promise.all([
    once(server.app.websocketServer, 'connection').then(([webSocket]) => webSocket),
    once(client, 'open'),
  ])) as unknown as [{ _socket: Socket; _receiver: Opened['receiver'] }, unknown]
  return {
    client,
    raw: (client as unknown as { _socket: Socket })._socket,
    served: served._socket,
    receiver: served._receiver,
  }
}

const kept = (topic: string): Buffer => Buffer.from(server.hub.history(topic).messages[0]!.payload)
const payload = (bytes: number): Buffer => Buffer.from(Array.from({ length: bytes }, (_, at) => (at * 7) & 0xff))

describe('a message', () => {
  it.each([
    [1, 50_000],
    [250, 300_000],
    [900, 1_000_000],
  ])('in reads of %s bytes is taken, whatever their number', async (piece, bytes) => {
    const topic = `bounds/reads-${piece}`
    const { client, served } = await open(`/topics/${topic}?role=publisher`)
    const data = payload(bytes)
    const wire = frame({ opcode: BINARY, payload: data })
    for (let at = 0; at < wire.byteLength; at += piece) served.emit('data', wire.subarray(at, at + piece))
    expect(kept(topic).equals(data)).toBe(true)
    client.terminate()
  })

  it.each([
    [1, 20_000],
    [60, 300_000],
    [1000, 1_000_000],
  ])('in fragments of %s bytes is taken, whatever their number', async (piece, bytes) => {
    const topic = `bounds/fragments-${piece}`
    const { client, raw } = await open(`/topics/${topic}?role=publisher`)
    const data = payload(bytes)
    for (let at = 0; at < bytes; at += piece) {
      const part = { payload: data.subarray(at, at + piece), fin: at + piece >= bytes }
      raw.write(frame({ opcode: at === 0 ? BINARY : 0, ...part }))
    }
    await expect.poll(() => server.hub.getTopic(topic)?.position.seq).toBe(1)
    expect(kept(topic).equals(data)).toBe(true)
    client.terminate()
  })

  it('that has not come as a whole costs little beside its bytes', async () => {
    const { client, served, receiver } = await open('/topics/bounds/open?role=publisher')
    const wire = frame({ opcode: BINARY, payload: payload(60_000) })
    let most = 0
    for (const byte of wire.subarray(0, 50_000)) {
      served.emit('data', Buffer.from([byte]))
      most = Math.max(most, receiver._buffers.length)
    }
    expect(most).toBeLessThanOrEqual(256 + 50_000 / 4096 + 1)
    served.emit('data', wire.subarray(50_000))
    served.emit('data', frame({ opcode: BINARY, fin: false, payload: 'x' }))
    for (let n = 0; n < 5000; n++) {
      served.emit('data', frame({ opcode: 0, fin: false, payload: 'x' }))
      most = Math.max(most, receiver._fragments.length)
    }
    expect(most).toBeLessThanOrEqual(256 + 50_000 / 4096 + 1)
    client.terminate()
  })

  it('joined or not is the same bytes, and few of its pieces are small', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 6000 }), { maxLength: 1500 }), sizes => {
        const pieces: Buffer[] = []
        for (const [at, size] of sizes.entries()) {
          pieces.push(Buffer.alloc(size, at))
          joinSmall(pieces)
        }
        const all = Buffer.concat(sizes.map((size, at) => Buffer.alloc(size, at)))
        expect(Buffer.concat(pieces).equals(all)).toBe(true)
        let run = 0
        for (const { byteLength } of pieces) run = byteLength < 4096 ? run + 1 : 0
        expect(run).toBeLessThan(256)
      }),
      runs(50),
    )
  })
})

describe('pings in one burst', () => {
  it.each([
    ['/topics/bounds/ping', 10],
    ['/topics/bounds/ping?role=both', 10],
    ['/connection/websocket', 10],
    ['/topics/bounds/ping', 10_000],
  ])('at %s: %s of them are answered, the newest last, and nobody is cut off', async (path, pings) => {
    const { client, raw } = await open(path)
    const answered: number[] = []
    client.on('pong', data => answered.push(Number(data)))
    raw.write(Buffer.concat(Array.from({ length: pings }, (_, n) => frame({ opcode: PING, payload: `${n}` }))))
    await expect.poll(() => answered.at(-1)).toBe(pings - 1)
    expect(answered).toEqual([...answered].sort((a, b) => a - b))
    if (pings === 10) expect(answered).toHaveLength(10)
    expect(client.readyState).toBe(WebSocket.OPEN)
    client.terminate()
  })
})
