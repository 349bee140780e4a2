import type { Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { describe, expect, it } from 'vitest'
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
