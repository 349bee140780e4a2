import { getEventListeners, once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { Webhook } from 'standardwebhooks'
import { afterEach, describe, expect, it } from 'vitest'
import {
  CallbackRequests,
  type CallbackRequestsOptions,
  type CallbackTarget,
} from '../../src/transports/callback-request.ts'
import { Egress } from '../../src/transports/egress.ts'
import type { Envelope, Outcome } from '../../src/transports/envelope.ts'
import type { Resolver } from '../../src/transports/name-resolver.ts'
import { closed, httpReceiver, type Receiver, rawReceiver } from './receiver.ts'

const KIB = 1024
const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
/** For receivers that never come to an end. */
const SHORT_MS = 200

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each[Symbol.asyncDispose]()
})

async function opened(receiver: Promise<Receiver>): Promise<Receiver> {
  open.push(await receiver)
  return receiver
}

const http = (...given: Parameters<typeof httpReceiver>) => opened(httpReceiver(...given))
const raw = (...given: Parameters<typeof rawReceiver>) => opened(rawReceiver(...given))

function requests(options: Partial<CallbackRequestsOptions> = {}): CallbackRequests {
  const made = new CallbackRequests({ egress: new Egress(['127.0.0.1/32']), ...options })
  open.push({ [Symbol.asyncDispose]: () => made.close() })
  return made
}

const MESSAGE: Envelope = {
  kind: 'message',
  id: 'e1-7',
  topic: 'video/main',
  epoch: 'e1',
  seq: 7,
  contentType: 'application/json',
  correlationId: 'order 42',
  payload: Buffer.from('{"text":"Grüße"}'),
}

interface Sending extends Partial<Omit<CallbackTarget, 'url'>> {
  readonly by?: CallbackRequests
  readonly envelope?: Partial<Envelope>
  readonly signal?: AbortSignal
}

function send(to: Receiver | URL, { by = requests(), envelope, signal, ...target }: Sending = {}): Promise<Outcome> {
  const attempt = by.attempt({ url: to instanceof URL ? to : to.url, clientId: 'ann', ...target })
  return attempt({ ...MESSAGE, ...envelope }, signal ?? new AbortController().signal)
}

describe('a request', () => {
  it('carries the payload, and what it is', async () => {
    const receiver = await http(response => response.end())
    const url = new URL(`${receiver.url}?room=1`)
    expect(await send(url, { by: requests({ now: () => 1_700_000_000_999 }) })).toEqual({ kind: 'ok' })
    const [{ method, path, headers, body }] = receiver.requests as [(typeof receiver.requests)[0]]
    expect([method, path]).toEqual(['POST', '/hook?room=1'])
    expect(body).toEqual(MESSAGE.payload)
    expect(headers).toEqual({
      host: url.host,
      connection: 'keep-alive',
      'user-agent': 'hubline',
      'content-length': `${MESSAGE.payload.byteLength}`,
      'content-type': 'application/json',
      'idempotency-key': 'e1-7',
      'webhook-id': 'e1-7',
      'webhook-timestamp': '1700000000',
      'hubline-client': 'ann',
      'hubline-event': 'message',
      'hubline-topic': 'video/main',
      'hubline-seq': '7',
      'hubline-epoch': 'e1',
      'x-correlation-id': 'order 42',
    })
  })

  it('leaves away what is not known, and may be empty', async () => {
    const receiver = await http(response => response.end())
    const alone: Envelope = { kind: 'send', id: 's-1', contentType: 'text/plain', payload: Buffer.alloc(0) }
    const attempt = requests().attempt({ url: receiver.url, clientId: 'ann' })
    expect(await attempt(alone, new AbortController().signal)).toEqual({ kind: 'ok' })
    const { headers, body } = receiver.requests[0]!
    expect(body.byteLength).toBe(0)
    expect(headers['content-length']).toBe('0')
    expect(Object.keys(headers).filter(name => /^hubline-|correlation|signature/.test(name))).toEqual([
      'hubline-event',
      'hubline-client',
    ])
  })

  it('is signed with the secret, as a verifier of somebody else reads it', async () => {
    const receiver = await http(response => response.end())
    expect(await send(receiver, { secret: SECRET })).toEqual({ kind: 'ok' })
    const { headers, body } = receiver.requests[0]!
    expect(new Webhook(SECRET).verify(body.toString(), headers)).toEqual({ text: 'Grüße' })
  })

  it('has an id without dots, which would part a signature elsewhere, and a valid signature with it', async () => {
    const receiver = await http(response => response.end())
    await send(receiver, { secret: SECRET, envelope: { kind: 'gap', id: 'gap-a.1700000000.b-1-2' } })
    const { headers, body } = receiver.requests[0]!
    expect(headers['webhook-id']).toBe('gap-a%2E1700000000%2Eb-1-2')
    expect(headers['idempotency-key']).toBe(headers['webhook-id'])
    // And not the one of another message, whose id looks like that.
    await send(receiver, { envelope: { id: 'gap-a%2E1700000000%2Eb-1-2' } })
    expect(receiver.requests[1]!.headers['webhook-id']).toBe('gap-a%252E1700000000%252Eb-1-2')
    expect(new Webhook(SECRET).verify(body.toString(), headers)).toEqual({ text: 'Grüße' })
  })

  it('has the same id and another time when it is made again', async () => {
    const receiver = await http(response => response.end())
    let now = 1_700_000_000_000
    const by = requests({ now: () => now })
    await send(receiver, { by, secret: SECRET })
    now += 60_000
    await send(receiver, { by, secret: SECRET })
    const [first, second] = receiver.requests.map(({ headers }) => headers)
    expect(second!['webhook-id']).toBe(first!['webhook-id'])
    expect([first!['webhook-timestamp'], second!['webhook-timestamp']]).toEqual(['1700000000', '1700000060'])
    expect(second!['webhook-signature']).not.toBe(first!['webhook-signature'])
  })

  it.each(['a\r\nx-evil: 1', 'a\nb', 'a\0b', 'Ā', '', ' '])('stays whole where a publisher wrote %j', async value => {
    const receiver = await http(response => response.end())
    expect(await send(receiver, { envelope: { contentType: value, correlationId: value } })).toEqual({ kind: 'ok' })
    const { headers } = receiver.requests[0]!
    expect(headers['content-type']).toBe('application/octet-stream')
    expect(headers).not.toHaveProperty('x-correlation-id')
    expect(headers).not.toHaveProperty('x-evil')
  })

  it('is not made with an id that would break it', async () => {
    const receiver = await http(response => response.end())
    const outcome = await send(receiver, { envelope: { id: 'a\r\nx-evil: 1' } })
    expect(outcome).toEqual({ kind: 'refused', why: 'invalid idempotency-key header' })
    expect(receiver.requests).toEqual([])
  })

  it('wants a secret that is one', () => {
    const url = new URL('http://example.org/')
    expect(() => requests().attempt({ url, clientId: 'ann', secret: 'whsec_c2hvcnQ=' })).toThrow(/^secret: it must be/)
  })
})

describe('an answer', () => {
  it.each<[number, Record<string, string>, Outcome]>([
    [200, {}, { kind: 'ok' }],
    [204, {}, { kind: 'ok' }],
    [302, { location: '/elsewhere' }, { kind: 'refused', why: 'status 302, a redirect, which is not followed' }],
    [307, { location: '/elsewhere' }, { kind: 'refused', why: 'status 307, a redirect, which is not followed' }],
    [400, {}, { kind: 'refused', why: 'status 400' }],
    [410, {}, { kind: 'gone', why: 'status 410' }],
    [429, { 'retry-after': '7' }, { kind: 'retry', why: 'status 429', afterMs: 7000 }],
    [429, {}, { kind: 'retry', why: 'status 429' }],
    [500, {}, { kind: 'retry', why: 'status 500' }],
    [503, { 'retry-after': '3600' }, { kind: 'retry', why: 'status 503', afterMs: 60_000 }],
  ])('of status %i with %j', async (status, headers, outcome) => {
    const receiver = await http(response => response.writeHead(status, headers).end())
    expect(await send(receiver)).toEqual(outcome)
    expect(receiver.requests.map(({ path }) => path)).toEqual(['/hook'])
  })

  it('has its Retry-After reckoned from the injected clock', async () => {
    const receiver = await http(response => {
      response.writeHead(503, { 'retry-after': 'Sat, 21 Nov 2026 12:00:30 GMT' }).end()
    })
    const by = requests({ now: () => Date.parse('2026-11-21T12:00:00Z') })
    expect(await send(receiver, { by })).toEqual({ kind: 'retry', why: 'status 503', afterMs: 30_000 })
  })

  it('may be preceded by others that only inform', async () => {
    const receiver = await raw(socket => {
      socket.write('HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n')
    })
    expect(await send(receiver)).toEqual({ kind: 'retry', why: 'status 500' })
  })

  const ENDLESS = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n'
  const brokeOff = (why: string) => expect.stringMatching(new RegExp(`^status 200, but the answer broke off: ${why}$`))

  it.each<[string, (socket: Socket) => void, Outcome]>([
    [
      'ends in the middle of its body',
      socket => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf'),
      { kind: 'retry', why: brokeOff('the receiver closed the connection') },
    ],
    [
      'has chunks that are none',
      socket => socket.end(`${ENDLESS}secret words\r\n`),
      { kind: 'retry', why: brokeOff('it is not HTTP') },
    ],
    ['is not HTTP', socket => socket.end('SSH-2.0-OpenSSH_9.6\r\n'), { kind: 'retry', why: 'it is not HTTP' }],
    ['is none', socket => socket.end(), { kind: 'retry', why: 'the receiver closed the connection' }],
    ['is a reset', socket => socket.resetAndDestroy(), { kind: 'retry', why: 'ECONNRESET' }],
    [
      'has a head without end',
      socket => socket.write(`HTTP/1.1 200 OK\r\n${'x-more: and more\r\n'.repeat(2000)}`),
      { kind: 'retry', why: 'the head of the answer is too large' },
    ],
    [
      'is an upgrade that nobody asked for',
      socket => socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'),
      { kind: 'retry', why: 'the receiver closed the connection' },
    ],
    [
      'says no before its body breaks',
      socket => socket.end('HTTP/1.1 400 No\r\ncontent-length: 100\r\n\r\nhalf'),
      { kind: 'refused', why: 'status 400' },
    ],
  ])('that %s', async (_, answer, outcome) => {
    expect(await send(await raw(answer))).toEqual(outcome)
  })

  it('that is reset in the middle of its body', async () => {
    const receiver = await raw(socket => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf', () => socket.resetAndDestroy())
    })
    // Whether the head was read before the reset overtook it is for the kernel to say.
    expect(await send(receiver)).toMatchObject({ kind: 'retry' })
  })

  it('that is too large is taken for its status, and its socket given up', async () => {
    const receiver = await http(response => response.end(Buffer.alloc(10 * KIB * KIB)))
    const by = requests()
    for (let i = 0; i < 2; i++) expect(await send(receiver, { by })).toEqual({ kind: 'ok' })
    expect(receiver.connections).toBe(2)
  })

  it('that is as large as it may be leaves the socket for the next', async () => {
    const receiver = await http(response => response.end(Buffer.alloc(64 * KIB)))
    const by = requests()
    for (let i = 0; i < 3; i++) expect(await send(receiver, { by })).toEqual({ kind: 'ok' })
    expect(receiver.connections).toBe(1)
  })
})

describe('the time limit', () => {
  const late = `timeout after ${SHORT_MS} ms`

  /** Goes on with `more` for as long as somebody takes it. */
  function drip(head: string, more: string): (socket: Socket) => void {
    return socket => {
      socket.write(head)
      const timer = setInterval(() => socket.write(more), 50)
      socket.on('close', () => clearInterval(timer))
    }
  }

  it.each<[string, (socket: Socket) => void, Outcome]>([
    ['who never answers', () => {}, { kind: 'retry', why: late, timedOut: true }],
    ['whose head never ends', drip('HTTP/1.1 200 OK\r\n', 'x: y\r\n'), { kind: 'retry', why: late, timedOut: true }],
    [
      'whose body never ends',
      drip('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n', '1\r\nx\r\n'),
      { kind: 'retry', why: `status 200, but the answer broke off: ${late}`, timedOut: true },
    ],
    [
      'who is gone, at length',
      drip('HTTP/1.1 410 Gone\r\ntransfer-encoding: chunked\r\n\r\n', '1\r\nx\r\n'),
      { kind: 'gone', why: 'status 410' },
    ],
  ])('ends an attempt at a receiver %s, and the socket with it', async (_, answer, outcome) => {
    const receiver = await raw(answer)
    expect(await send(receiver, { by: requests({ timeoutMs: SHORT_MS }) })).toEqual(outcome)
    await receiver.allClosed()
    expect(receiver.connections).toBe(1)
  })

  it('holds for a name that is not found out, and nothing is sent when it is after all', async () => {
    const receiver = await http(response => response.end())
    const { hooks, by, url } = heldLookup(receiver, { timeoutMs: SHORT_MS })
    expect(await send(url, { by })).toEqual({ kind: 'retry', why: late, timedOut: true })
    const [answer] = hooks
    await afterItCloses(receiver, answer!)
    expect(receiver.requests).toEqual([])
  })
})

/** A name whose resolver answers when the test says so. */
function heldLookup(receiver: Receiver, options: Partial<CallbackRequestsOptions> = {}) {
  const hooks: (() => void)[] = []
  const resolve: Resolver = (_hostname, _options, callback) => {
    hooks.push(() => callback(null, [{ address: '127.0.0.1', family: 4 }]))
  }
  const by = requests({ egress: new Egress(['127.0.0.1'], { resolve }), ...options })
  return { hooks, by, url: new URL(`http://hook.example.org:${receiver.port}/hook`) }
}

/** Lets a connection come about, and waits until it is gone again. */
async function afterItCloses(receiver: Receiver, connect: () => void): Promise<void> {
  const connected = receiver.connected()
  connect()
  await closed(await connected)
}

describe('who cancels', () => {
  it('before it begins has no socket opened', async () => {
    const receiver = await http(response => response.end())
    const by = requests()
    expect(await send(receiver, { by, signal: AbortSignal.abort() })).toEqual({ kind: 'retry', why: 'cancelled' })
    expect(await send(receiver, { by })).toEqual({ kind: 'ok' })
    expect(receiver.connections).toBe(1)
  })

  it('while it looks up a name has nothing sent', async () => {
    const receiver = await http(response => response.end())
    const { hooks, by, url } = heldLookup(receiver)
    const owner = new AbortController()
    const outcome = send(url, { by, signal: owner.signal })
    await expect.poll(() => hooks).toHaveLength(1)
    owner.abort()
    expect(await outcome).toEqual({ kind: 'retry', why: 'cancelled' })
    await afterItCloses(receiver, hooks[0]!)
    expect(receiver.requests).toEqual([])
  })

  it('while it waits for the answer has the socket closed', async () => {
    const owner = new AbortController()
    const receiver = await raw(() => owner.abort())
    expect(await send(receiver, { signal: owner.signal })).toEqual({ kind: 'retry', why: 'cancelled' })
    await receiver.allClosed()
  })

  it('while it reads the answer has the socket closed', async () => {
    const owner = new AbortController()
    const receiver = await raw(socket => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf', () => setImmediate(() => owner.abort()))
    })
    expect(await send(receiver, { signal: owner.signal })).toMatchObject({ kind: 'retry' })
    await receiver.allClosed()
  })

  it('is not listened to any more after the attempt', async () => {
    const receiver = await http(response => response.end())
    const { signal } = new AbortController()
    expect(await send(receiver, { signal })).toEqual({ kind: 'ok' })
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })
})

describe('where it may not go', () => {
  it.each(['127.0.0.1', '[::ffff:127.0.0.1]', '2130706433'])(
    'a literal %s is refused without a connection',
    async host => {
      const receiver = await http(response => response.end())
      const url = new URL(`http://${host}:${receiver.port}/`)
      const outcome = await send(url, { by: requests({ egress: new Egress() }) })
      expect(outcome).toMatchObject({ kind: 'refused', why: expect.stringContaining('is not public (loopback)') })
      expect(receiver.connections).toBe(0)
    },
  )

  it('a name is refused that was public when its URL was checked', async () => {
    const receiver = await http(response => response.end())
    const resolve: Resolver = (_hostname, _options, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }])
    const egress = new Egress([], { resolve })
    const url = egress.checkUrl(`http://rebind.example.org:${receiver.port}/`)
    const outcome = await send(url, { by: requests({ egress }) })
    const why = 'rebind.example.org has no address that is public or allowed'
    expect(outcome).toEqual({ kind: 'refused', why })
    expect(receiver.connections).toBe(0)
  })

  it('a name is reached by the address that was allowed', async () => {
    const receiver = await http(response => response.end())
    const { hooks, by, url } = heldLookup(receiver)
    const outcome = send(url, { by })
    await expect.poll(() => hooks).toHaveLength(1)
    hooks[0]!()
    expect(await outcome).toEqual({ kind: 'ok' })
    expect(receiver.requests[0]!.headers.host).toBe(`hook.example.org:${receiver.port}`)
  })

  it('a port where nobody listens is for later', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    await new Promise(resolve => server.close(resolve))
    expect(await send(new URL(`http://127.0.0.1:${port}/`))).toEqual({ kind: 'retry', why: 'ECONNREFUSED' })
  })

  it('another protocol is refused', async () => {
    const outcome = await send(new URL('ftp://example.org/'))
    expect(outcome).toMatchObject({ kind: 'refused' })
  })
})

describe('sockets', () => {
  it('are used again', async () => {
    const receiver = await http(response => response.end('thanks'))
    const by = requests()
    for (let i = 0; i < 20; i++) expect(await send(receiver, { by })).toEqual({ kind: 'ok' })
    expect(receiver.requests).toHaveLength(20)
    expect(receiver.connections).toBe(1)
  })

  it('are not shared at a time: who hangs holds up nobody', async () => {
    const receiver = await http((response, { headers }) => {
      if (headers['hubline-client'] !== 'c0') response.end()
    })
    const by = requests()
    const owner = new AbortController()
    let ended = false
    const hanging = send(receiver, { by, clientId: 'c0', signal: owner.signal })
    void hanging.then(() => {
      ended = true
    })
    await expect.poll(() => receiver.requests).toHaveLength(1)
    const others = Array.from({ length: 99 }, (_, i) => send(receiver, { by, clientId: `c${i + 1}` }))
    expect(await Promise.all(others)).toEqual(Array(99).fill({ kind: 'ok' }))
    expect(ended).toBe(false)
    owner.abort()
    expect(await hanging).toEqual({ kind: 'retry', why: 'cancelled' })
  })

  it('are no more to one origin than there may be', async () => {
    const receiver = await http(response => response.end())
    const by = requests({ maxSocketsPerOrigin: 3 })
    const all = Array.from({ length: 30 }, () => send(receiver, { by }))
    expect(await Promise.all(all)).toEqual(Array(30).fill({ kind: 'ok' }))
    expect(receiver.mostOpen).toBe(3)
  })

  it('are closed in the end, with what is under way', async () => {
    const receiver = await raw(() => {})
    const by = requests()
    const outcome = send(receiver, { by })
    await once(await receiver.connected(), 'data')
    await by.close()
    expect(await outcome).toEqual({ kind: 'retry', why: 'the hub is closing' })
    await receiver.allClosed()
    expect(await send(receiver, { by })).toEqual({ kind: 'retry', why: 'the hub is closing' })
  })

  it('are not waited for in the end while a name is looked up', async () => {
    const receiver = await http(response => response.end())
    const { hooks, by, url } = heldLookup(receiver)
    const outcome = send(url, { by })
    await expect.poll(() => hooks).toHaveLength(1)
    await by.close()
    expect(await outcome).toEqual({ kind: 'retry', why: 'the hub is closing' })
  })
})
