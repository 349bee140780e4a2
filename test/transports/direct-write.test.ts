import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type Handle, handleOf, writeDirect } from '../../src/transports/direct-write.ts'

/** What Node's handles are like, as far as we use them, with a kernel by script. */
class WriteWrap {
  oncomplete?: (status: number) => void
  buffer?: Uint8Array
  owner = -1
  getAsyncId(): number {
    return this.owner
  }
}
type Answer = 'taken' | 'waits' | 'taken late' | 'error'
class TCP {
  answer: Answer = 'taken'
  writeQueueSize = 0
  readonly requests: WriteWrap[] = []
  writeBuffer(request: WriteWrap, bytes: Uint8Array): number {
    if (request.owner !== -1) throw new Error('this request is in use: Node would abort')
    this.requests.push(request)
    if (this.answer === 'error') return -32
    if (this.answer === 'waits') this.writeQueueSize = bytes.byteLength
    // 'taken late': the first attempt found no room and the second, within the same call, did.
    if (this.answer !== 'taken') request.owner = 7
    return 0
  }
}

const bytes = new Uint8Array(8)
const never = () => {
  throw new Error('called too early')
}

/** As a stream's write would: that is what shows the kind of request. */
function shown(): { tcp: TCP; handle: Handle } {
  const tcp = new TCP()
  const socket = { _handle: tcp } as unknown as Socket
  handleOf(socket)
  tcp.writeBuffer(new WriteWrap(), bytes)
  tcp.requests.length = 0
  return { tcp, handle: handleOf(socket)! }
}

/** Both ends of a TCP connection of this Node. */
async function pair(): Promise<{ socket: Socket; peer: Socket }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const peer = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [socket] = (await once(server, 'connection')) as [Socket]
  onTestFinished(() => {
    for (const each of [socket, peer, server]) each.unref()
    socket.destroy()
    peer.destroy()
    server.close()
  })
  return { socket, peer }
}

/** The module as it is before it has seen a write. */
async function fresh(): Promise<typeof import('../../src/transports/direct-write.ts')> {
  vi.resetModules()
  return await import('../../src/transports/direct-write.ts')
}

const written = (socket: Socket, data: Uint8Array | string) =>
  new Promise<void>((resolve, reject) => {
    socket.write(data, error => (error ? reject(error) : resolve()))
  })

// Where this fails, Node has changed what lies below its sockets: the hub goes on through the stream, and each message costs more.
describe(`the internals of Node ${process.versions.node}`, () => {
  it('a socket is written to below its stream as soon as the stream has written once', async () => {
    const direct = await fresh()
    const { socket, peer } = await pair()
    expect(direct.handleOf(socket)).toBeUndefined()
    // A string takes another way into the handle, which has no write that takes bytes.
    await written(socket, new Uint8Array([1]))
    const handle = direct.handleOf(socket)
    expect(handle).toBeDefined()
    expect(direct.writeDirect(handle!, new Uint8Array([2, 3]), never)).toBe('ok')
    let heard = Buffer.alloc(0)
    for await (const chunk of peer) {
      heard = Buffer.concat([heard, chunk as Buffer])
      if (heard.byteLength >= 3) break
    }
    expect([...heard]).toEqual([1, 2, 3])
  })

  it('a write that the kernel cannot take waits, says so, and is done when the peer has read', async () => {
    const direct = await fresh()
    const { socket, peer } = await pair()
    expect(direct.handleOf(socket)).toBeUndefined()
    await written(socket, new Uint8Array([0]))
    const handle = direct.handleOf(socket)!
    const large = new Uint8Array(16 * 1024 * 1024)
    const done = new Promise<number>(resolve => {
      expect(direct.writeDirect(handle, large, resolve)).toBe('full')
    })
    expect(handle.writeQueueSize).toBeGreaterThan(0)
    // The request that waits is not used again: Node would end the process.
    expect(direct.writeDirect(handle, new Uint8Array([9]), () => {})).toBe('full')
    let received = 0
    let last = 0
    peer.on('data', (chunk: Buffer) => {
      received += chunk.byteLength
      last = chunk.at(-1)!
    })
    expect(await done).toBe(0)
    await vi.waitUntil(() => received === 1 + large.byteLength + 1)
    expect(last).toBe(9)
  })
})

describe('another Node', () => {
  /** What the stream's first write does on it. */
  async function firstWrite(request: object, answer: number, used: boolean): Promise<unknown> {
    const direct = await fresh()
    const tcp = new TCP()
    tcp.writeBuffer = wrap => {
      if (used) wrap.owner = 7
      return answer
    }
    // As on a handle of Node, the method is its class's.
    const handle = Object.create(tcp) as TCP
    Object.defineProperty(handle, 'constructor', { value: TCP })
    const socket = { _handle: handle } as unknown as Socket
    expect(direct.handleOf(socket)).toBeUndefined()
    expect(handle.writeBuffer(request as WriteWrap, bytes)).toBe(answer)
    return direct.handleOf(socket)
  }

  it('of the known kind is learned', async () => {
    expect(await firstWrite(new WriteWrap(), 0, false)).toBeDefined()
  })

  it.each([
    ['whose requests have another name', new (class Write extends WriteWrap {})(), 0, false],
    ['whose requests have no id', new (class WriteWrap {})(), 0, false],
    ['whose requests are in use before a write', Object.assign(new WriteWrap(), { owner: 3 }), 0, false],
    ['whose requests stay in use after a write that is done', new WriteWrap(), 0, true],
    ['whose write fails', new WriteWrap(), -32, false],
  ])('%s keeps its streams', async (_, request, answer, used) => {
    expect(await firstWrite(request, answer, used)).toBeUndefined()
  })
})

describe('writing below the stream', () => {
  it('is not known how before a stream has written', () => {
    const tcp = new TCP()
    expect(handleOf({ _handle: tcp } as unknown as Socket)).toBeUndefined()
    expect(Object.hasOwn(tcp, 'writeBuffer')).toBe(true)
    // What looks is gone after one look.
    tcp.writeBuffer(new WriteWrap(), bytes)
    expect(Object.hasOwn(tcp, 'writeBuffer')).toBe(false)
  })

  it('one request serves all writes that the kernel takes at once', () => {
    const { tcp, handle } = shown()
    for (let i = 0; i < 3; i++) expect(writeDirect(handle, bytes, never)).toBe('ok')
    expect(new Set(tcp.requests).size).toBe(1)
  })

  it('a write that waits keeps its request, and its bytes from the garbage collector', () => {
    const { tcp, handle } = shown()
    tcp.answer = 'waits'
    const done = () => {}
    expect(writeDirect(handle, bytes, done)).toBe('full')
    expect(tcp.requests[0]).toMatchObject({ oncomplete: done, buffer: bytes })
    const other = shown()
    expect(writeDirect(other.handle, bytes, never)).toBe('ok')
    expect(other.tcp.requests[0]).not.toBe(tcp.requests[0])
  })

  it('a request is in use although nothing waits any more, where the second attempt of the same call found room', () => {
    const { tcp, handle } = shown()
    tcp.answer = 'taken late'
    expect(writeDirect(handle, bytes, () => {})).toBe('full')
    tcp.answer = 'taken'
    expect(writeDirect(handle, bytes, never)).toBe('ok')
    expect(tcp.requests[0]).not.toBe(tcp.requests[1])
  })

  it('an error is a peer that has gone', () => {
    const { tcp, handle } = shown()
    tcp.answer = 'error'
    expect(writeDirect(handle, bytes, never)).toBe('gone')
  })

  it('a socket with a timeout keeps its stream, whose writes alone count as activity', () => {
    const { tcp } = shown()
    expect(handleOf({ _handle: tcp, timeout: 0 } as unknown as Socket)).toBe(tcp)
    expect(handleOf({ _handle: tcp, timeout: 1000 } as unknown as Socket)).toBeUndefined()
  })

  it('whatever is no TCP handle of the known kind keeps its stream', () => {
    shown()
    expect(handleOf({} as Socket)).toBeUndefined()
    expect(handleOf({ _handle: null } as unknown as Socket)).toBeUndefined()
    expect(handleOf(new PassThrough() as unknown as Socket)).toBeUndefined()
    class Pipe extends TCP {}
    expect(handleOf({ _handle: new Pipe() } as unknown as Socket)).toBeUndefined()
    const { writeQueueSize: _, ...without } = new TCP()
    Object.setPrototypeOf(without, TCP.prototype)
    expect(handleOf({ _handle: without } as unknown as Socket)).toBeUndefined()
  })
})

describe('a Node that makes a request only for a write that waits (24.22 and later)', () => {
  /** The answers of its handle, one for each write. */
  async function scripted(...answers: (number | object)[]) {
    const direct = await fresh()
    const tcp = new TCP()
    const next = [0, ...answers]
    const requests: unknown[] = []
    Object.assign(tcp, {
      writeBuffer(request: unknown) {
        requests.push(request)
        return next.shift()
      },
    })
    const handle = Object.create(tcp) as TCP
    Object.defineProperty(handle, 'constructor', { value: TCP })
    const socket = { _handle: handle } as unknown as Socket
    expect(direct.handleOf(socket)).toBeUndefined()
    handle.writeBuffer(null as never, bytes)
    expect(direct.handleOf(socket)).toBe(handle)
    return { write: (done: () => void) => direct.writeDirect(handle as unknown as Handle, bytes, done), requests }
  }

  it('is learned from a write without a request, and gets none', async () => {
    const { write, requests } = await scripted(0, 0)
    expect([write(never), write(never)]).toEqual(['ok', 'ok'])
    expect(requests).toEqual([null, null, null])
  })

  it('a write that waits is told by its request, which keeps the bytes from the garbage collector', async () => {
    const request = { writeStatus: null }
    const { write } = await scripted(request)
    const done = () => {}
    expect(write(done)).toBe('full')
    expect(request).toMatchObject({ oncomplete: done, buffer: bytes })
  })

  it('a write that was over within the call is done, or its peer has gone', async () => {
    const { write } = await scripted({ writeStatus: 0 }, { writeStatus: -32 }, -32)
    expect([write(never), write(never), write(never)]).toEqual(['ok', 'gone', 'gone'])
  })
})
