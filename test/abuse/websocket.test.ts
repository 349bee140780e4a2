import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rawRequest, upgradeRequest } from '../server/raw-request.ts'
import { startTestServer, type TestServer } from '../server/test-server.ts'
import { BINARY, CLOSE, closing, type FrameOptions, FramePeer, frame, PING, TEXT } from './frame-peer.ts'

/** Every place where a WebSocket opens. What comes from a mere subscriber is refused anyway, but by the same rules first. */
const PATHS = ['/topics/abuse', '/topics/abuse?role=both', '/connection/websocket'] as const

let server: TestServer
beforeAll(async () => {
  server = await startTestServer()
})
afterAll(() => server.close())

/** How the hub ends a WebSocket on which these frames were said. */
async function endOf(path: string, ...frames: readonly FrameOptions[]) {
  const peer = await FramePeer.open(server.url, path)
  peer.say(...frames)
  return peer.ended()
}

const CONTINUATION = 0
/** Of a message of 1 MiB, and of what a command may have around it. */
const MOST_BYTES = BigInt(1024 * 1024 + 64 * 1024)
const half = (opcode: number): FrameOptions => ({ opcode, fin: false, payload: new Uint8Array(500_000) })
const start: FrameOptions = { opcode: TEXT, payload: 'half', fin: false }
const MALFORMED: Readonly<Record<string, readonly FrameOptions[]>> = {
  'no mask': [{ opcode: TEXT, payload: 'x', masked: false }],
  'the bit of compression, which was not agreed on': [{ opcode: TEXT, payload: 'x', reserved: 4 }],
  'the second reserved bit': [{ opcode: TEXT, payload: 'x', reserved: 2 }],
  'the third reserved bit': [{ opcode: TEXT, payload: 'x', reserved: 1 }],
  'the unknown opcode 3': [{ opcode: 3, payload: 'x' }],
  'the unknown control opcode 11': [{ opcode: 11, payload: 'x' }],
  'a continuation of nothing': [{ opcode: CONTINUATION, payload: 'x' }],
  'a text inside of fragments': [start, { opcode: TEXT, payload: 'x' }],
  'a ping in fragments': [{ opcode: PING, payload: 'x', fin: false }],
  'a ping of 126 bytes': [{ opcode: PING, payload: 'x'.repeat(126) }],
  'a close of one byte': [{ opcode: CLOSE, payload: 'x' }],
  'a close with code 999': [{ opcode: CLOSE, payload: closing(999) }],
  'a close with code 1005, which is never said': [{ opcode: CLOSE, payload: closing(1005) }],
}

describe.each(PATHS)('a WebSocket at %s', path => {
  it.each(Object.entries(MALFORMED))('E1: is closed with 1002 over %s', async (_what, frames) => {
    expect(await endOf(path, ...frames)).toMatchObject({ code: 1002 })
  })

  it.each([
    ['a text that is no UTF-8', [{ opcode: TEXT, payload: new Uint8Array([0x61, 0xff]) }]],
    ['a close whose reason is no UTF-8', [{ opcode: CLOSE, payload: closing(1000, new Uint8Array([0xff])) }]],
    ['a lone surrogate', [{ opcode: TEXT, payload: new Uint8Array([0xed, 0xa0, 0x80]) }]],
  ])('E2: is closed with 1007 over %s', async (_what, frames) => {
    expect(await endOf(path, ...frames)).toMatchObject({ code: 1007 })
  })

  it.each([
    ['of a terabyte', [{ opcode: BINARY, saidLength: 2n ** 40n }]],
    ['of more than a number can say', [{ opcode: BINARY, saidLength: 2n ** 63n }]],
    ['one byte too long', [{ opcode: BINARY, saidLength: MOST_BYTES + 1n }]],
    ['in fragments that are too much together', [half(BINARY), half(CONTINUATION), half(CONTINUATION)]],
  ])('E3: is closed with 1009 over a message %s, as soon as its length is said', async (_what, frames) => {
    expect(await endOf(path, ...frames)).toMatchObject({ code: 1009 })
  })

  it('E3: is closed with 1008 over a message of ever more fragments of nothing', async () => {
    const peer = await FramePeer.open(server.url, path)
    const none = frame({ opcode: CONTINUATION, fin: false })
    peer.say({ opcode: TEXT, fin: false })
    peer.socket.write(Buffer.alloc(none.byteLength * (Number(MOST_BYTES) + 1024), none))
    expect(await peer.ended()).toMatchObject({ code: 1008 })
  })

  it('E4: is never compressed, whatever the peer offers: no bomb can be sent', async () => {
    const offer = 'permessage-deflate; client_max_window_bits, x-webkit-deflate-frame'
    const { head, status } = await rawRequest(server.url, upgradeRequest(path, { 'Sec-WebSocket-Extensions': offer }))
    expect(status).toBe(101)
    expect(head.toLowerCase()).not.toContain('sec-websocket-extensions')
  })

  it('E5: is gone two seconds after our close, though the peer ignores that and goes on talking', async () => {
    const peer = await FramePeer.open(server.url, `${path}${path.includes('?') ? '&' : '?'}client=deaf`)
    if (path.startsWith('/connection')) peer.say({ opcode: TEXT, payload: '{"id":1,"connect":{}}' })
    await expect.poll(() => [...server.hub.getActiveClients()].map(({ id }) => id)).toEqual(['deaf'])
    const begun = performance.now()
    server.hub.unregisterClient('deaf', 'ended')
    const talk = setInterval(() => peer.say({ opcode: PING, payload: 'still here' }), 50)
    await new Promise(resolve => peer.socket.once('close', resolve))
    clearInterval(talk)
    expect(performance.now() - begun).toBeGreaterThan(1000)
    // Without our limit ws waits 30 s or more.
    expect(performance.now() - begun).toBeLessThan(30_000)
    expect(peer.frames.filter(({ opcode }) => opcode === CLOSE)).toHaveLength(1)
  })
})

describe('a malformed frame in the statistics', () => {
  it.each([
    ['/topics/abuse?client=', ''],
    ['/connection/websocket?client=', '{"id":1,"connect":{}}'],
  ])('of %s ends its client as protocol, not as peer', async (path, first) => {
    const reasons: string[] = []
    const heard = ({ client, reason }: { client: { id: string }; reason: string }): void => {
      if (client.id === 'rude') reasons.push(reason)
    }
    server.hub.events.on('unregister', heard)
    const peer = await FramePeer.open(server.url, `${path}rude`)
    if (first !== '') peer.say({ opcode: TEXT, payload: first })
    await expect.poll(() => [...server.hub.getActiveClients()].map(({ id }) => id)).toContain('rude')
    peer.say({ opcode: 3, payload: 'x' })
    expect(await peer.ended()).toMatchObject({ code: 1002 })
    await expect.poll(() => reasons).toEqual(['protocol'])
    server.hub.events.off('unregister', heard)
  })
})

describe('what a peer says beside its messages', () => {
  it('E2: a character in two fragments is one character', async () => {
    const peer = await FramePeer.open(server.url, '/topics/split?role=both')
    const [first, second] = [new Uint8Array([0xe2, 0x82]), new Uint8Array([0xac])]
    peer.say({ opcode: TEXT, payload: first, fin: false }, { opcode: CONTINUATION, payload: second })
    await expect.poll(() => peer.frames.length).toBe(1)
    peer.say({ opcode: CLOSE, payload: closing(1000) })
    const { code, heard } = await peer.ended()
    expect([code, Buffer.from(heard[0]!, 'latin1').toString()]).toEqual([1000, '€'])
  })

  it('E5: what comes behind its close is not published', async () => {
    const peer = await FramePeer.open(server.url, '/topics/late?role=both')
    const message = (payload: string): FrameOptions => ({ opcode: TEXT, payload })
    peer.say(message('before'), { opcode: CLOSE, payload: closing(1000) }, message('behind'))
    expect(await peer.ended()).toMatchObject({ code: 1000 })
    expect(server.hub.getTopic('late')?.position.seq).toBe(1)
  })

  it('E25: bytes are bad on the client protocol, which is text: 3501; a topic takes text and bytes as they are', async () => {
    const bytes: FrameOptions = { opcode: BINARY, payload: new Uint8Array([0, 255]) }
    const refused = await endOf('/connection/websocket', bytes)
    expect([refused.code, refused.reason]).toEqual([3501, expect.stringContaining('binary frames')])
    const peer = await FramePeer.open(server.url, '/topics/kinds?role=both')
    peer.say(bytes, { opcode: TEXT, payload: 'text' })
    await expect.poll(() => peer.frames.map(({ opcode }) => opcode)).toEqual([BINARY, TEXT])
    peer.socket.destroy()
  })

  it('E25: a mere subscriber that sends anything is closed with 4400', async () => {
    const ends = [{ opcode: TEXT, payload: 'x' }, { opcode: BINARY }].map(sent => endOf('/topics/abuse', sent))
    for (const end of await Promise.all(ends)) expect(end).toMatchObject({ code: 4400, reason: 'bad message' })
  })
})
