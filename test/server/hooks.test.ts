import { connect, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { pino } from 'pino'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import type { SessionManager } from '../../src/core/sessions.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { hubline } from '../../src/server/fastify.ts'
import { requestLog } from '../../src/server/request-log.ts'
import { rawRequest, upgradeRequest } from './raw-request.ts'

const PATHS = ['/topics/a', '/connection/websocket']
const SUBSCRIBE = '{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"a"}}'

let app: FastifyInstance
let hub: Hub
const sockets: WebSocket[] = []
const peers: Socket[] = []
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.terminate()
  for (const peer of peers.splice(0)) peer.destroy()
  await app.close()
})

interface Options {
  readonly sessions?: SessionManager
  readonly lines?: Record<string, unknown>[]
}

async function start(prepare: (app: FastifyInstance) => void, { sessions, lines }: Options = {}): Promise<string> {
  hub = createHub()
  const write = (line: string) => void lines?.push(JSON.parse(line) as Record<string, unknown>)
  const loggerInstance: FastifyBaseLogger = lines ? pino({}, { write }) : pino({ enabled: false })
  app = Fastify({ loggerInstance, childLoggerFactory: requestLog })
  // What a hook of the app refuses before @fastify/websocket has seen it, is nobody's to close.
  app.server.on('connection', (peer: Socket) => peers.push(peer))
  prepare(app)
  await app.register(hubline, { hub, ...(sessions && { sessions }) })
  return app.listen({ port: 0, host: '127.0.0.1' })
}

/** A WebSocket that is subscribed to the topic a. */
async function open(url: string, path: string): Promise<WebSocket> {
  const socket = new WebSocket(url.replace('http', 'ws') + path)
  sockets.push(socket)
  if (path.startsWith('/connection')) socket.on('open', () => socket.send(SUBSCRIBE))
  socket.on('error', () => {})
  await until(() => socket.readyState === WebSocket.OPEN && hub.getTopic('a')?.subscribers === 1)
  return socket
}

/** A plain request for the topic a, subscribed. */
async function stream(url: string, headers: Record<string, string>): Promise<{ socket: Socket; text: string }> {
  const { hostname, port } = new URL(url)
  const lines = Object.entries({ host: `${hostname}:${port}`, ...headers }).map(([name, value]) => `${name}: ${value}`)
  const socket = connect(Number(port), hostname)
  socket.write(`${['GET /topics/a HTTP/1.1', ...lines].join('\r\n')}\r\n\r\n`)
  const peer = { socket, text: '' }
  socket.on('data', piece => {
    peer.text += piece.toString()
  })
  await until(() => hub.getTopic('a')?.subscribers === 1)
  return peer
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 5))
}

describe.each(PATHS)('a hook of the app, at an upgrade to %s', path => {
  it('is run, whether it waits or not', async () => {
    const seen: string[] = []
    const url = await start(host => {
      host.addHook('onRequest', async request => void seen.push(`${request.headers.upgrade} ${request.url}`))
      host.addHook('preHandler', (_request, _reply, done) => {
        seen.push('preHandler')
        done()
      })
    })
    await open(url, path)
    expect(seen).toEqual([`websocket ${path}`, 'preHandler'])
  })

  it('may refuse it', async () => {
    const url = await start(host => {
      host.addHook('onRequest', async (request, reply) => {
        if (request.headers.authorization === undefined) return reply.code(401).send({ own: 'who are you?' })
        return undefined
      })
    })
    const { status, body } = await rawRequest(url, upgradeRequest(path))
    expect([status, body]).toEqual([401, '{"own":"who are you?"}'])
    expect((await rawRequest(url, upgradeRequest(path, { Authorization: 'me' }))).status).toBe(101)
  })

  it('hears the end of the response, if it listens', async () => {
    let closed = false
    const url = await start(host => {
      host.addHook('onRequest', (_request, reply, done) => {
        reply.raw.on('close', () => {
          closed = true
        })
        done()
      })
    })
    const socket = await open(url, path)
    expect(closed).toBe(false)
    socket.close()
    await until(() => closed)
  })
})

const nothing: unknown = undefined
describe('a session manager that fails with nothing lets nobody in', () => {
  const cases: Record<string, SessionManager> = {
    'authenticate rejects undefined': { authenticate: () => Promise.reject(nothing), authorize: () => true },
    'authenticate throws null': {
      authenticate: () => {
        throw null
      },
      authorize: () => true,
    },
    'authorize rejects undefined': { authenticate: () => ({}), authorize: () => Promise.reject(nothing) },
    'authorize throws null': {
      authenticate: () => ({}),
      authorize: () => {
        throw null
      },
    },
  }
  it.each(Object.entries(cases))('%s', async (_name, sessions) => {
    const url = await start(() => {}, { sessions })
    expect((await fetch(`${url}/topics/a`)).status).toBe(403)
    expect((await fetch(`${url}/events?topic=a`)).status).toBe(403)
    expect((await rawRequest(url, upgradeRequest('/topics/a'))).status).toBe(403)
    expect(hub.getConnectionStats().clientsTotal).toBe(0)
  })
})

describe('who may do what', () => {
  const asked: string[] = []
  const sessions = (wait: <T>(answer: T) => T | Promise<T>): SessionManager => ({
    authenticate: ({ protocol, address, headers }) => {
      asked.push(`${protocol} ${address} ${headers?.host !== undefined}`)
      return wait({ user: 'somebody' })
    },
    authorize: ({ user }, action, topic) => {
      asked.push(`${user} ${action} ${topic}`)
      return wait(action === 'subscribe')
    },
  })
  // Of another library's making: later, and what `then` returns says nothing.
  const thenable = <T>(answer: T): Promise<T> => {
    // biome-ignore lint/suspicious/noThenProperty: that is what is tested
    const later = { then: (done: (answer: T) => void) => void setImmediate(done, answer) }
    return later as unknown as Promise<T>
  }

  it.each([
    ['at once', <T>(answer: T) => answer],
    ['with a promise', <T>(answer: T) => Promise.resolve(answer)],
    ['with anything that can be waited for', thenable],
  ])('is asked once, before 101 is said, and may be answered %s', async (_how, wait) => {
    const url = await start(() => {}, { sessions: sessions(wait) })
    asked.length = 0
    const refused = await rawRequest(url, upgradeRequest('/topics/a?role=both'))
    expect([refused.status, JSON.parse(refused.body)]).toEqual([
      403,
      { error: { code: 'PERMISSION_DENIED', message: 'topic: this session may not publish to a' } },
    ])
    expect(asked).toEqual(['websocket 127.0.0.1 true', 'somebody subscribe a', 'somebody publish a'])
    await open(url, '/topics/a')
    expect([...hub.getActiveClients()]).toMatchObject([{ user: 'somebody', address: '127.0.0.1' }])
  })
})

describe('what an open connection keeps', () => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const refs: Record<string, WeakRef<object>> = {}

  function remember(request: FastifyRequest, reply: FastifyReply): void {
    Object.assign(refs, { request: new WeakRef(request), reply: new WeakRef(reply) })
    Object.assign(refs, { raw: new WeakRef(request.raw), response: new WeakRef(reply.raw) })
  }

  async function kept(): Promise<string[]> {
    // A WeakRef holds what it was asked for until the turn ends.
    for (let i = 0; i < 3; i++) {
      await turn()
      gc()
    }
    return Object.keys(refs).filter(name => refs[name]!.deref() !== undefined)
  }

  const remembering = (host: FastifyInstance) => {
    host.addHook('onRequest', (request, reply, done) => {
      remember(request, reply)
      done()
    })
  }

  it.each([...PATHS, '/topics/a?role=both'])('of an upgrade to %s: nothing', async path => {
    const url = await start(remembering)
    const socket = await open(url, path)
    expect(await kept()).toEqual([])
    expect(socket.readyState).toBe(WebSocket.OPEN)
  })

  it.each(['text/event-stream', '*/*'])('of a request for %s: what Node keeps, without the headers', async accept => {
    const url = await start(remembering)
    const peer = await stream(url, { accept })
    expect(await kept()).toEqual(['raw', 'response'])
    expect((refs.raw!.deref() as FastifyRequest['raw']).headers).toEqual({})
    hub.routeData('a', Buffer.from('hello'), { contentType: 'text/plain' })
    await until(() => peer.text.includes('hello'))
    peer.socket.destroy()
    await until(() => hub.getTopic('a')?.subscribers === 0)
  })

  it('the headers as well, where a hook waits for the end', async () => {
    let host: string | undefined
    const url = await start(app => {
      app.addHook('onRequest', (request, reply, done) => {
        reply.raw.on('close', () => {
          host = request.headers.host
        })
        done()
      })
    })
    const peer = await stream(url, {})
    peer.socket.destroy()
    await until(() => host !== undefined)
    expect(url).toContain(host)
  })
})

describe('the lines of a connection', () => {
  it.each(PATHS)('have the id of the request that opened it: %s', async path => {
    const lines: Record<string, unknown>[] = []
    const url = await start(() => {}, { lines })
    const socket = await open(url, path)
    // A frame that no client may send: reserved bits.
    ;(socket as WebSocket & { _socket: { write(bytes: Buffer): void } })._socket.write(
      Buffer.from([0xf1, 0x80, 0, 0, 0, 0]),
    )
    await until(() => lines.some(({ msg }) => msg === 'client disconnected'))
    const own = lines.filter(line => 'reqId' in line && line.req === undefined && line.res === undefined)
    expect(own.map(({ msg }) => msg)).toEqual(['client connected', 'websocket failed', 'client disconnected'])
    expect(new Set(own.map(({ reqId }) => reqId)).size).toBe(1)
  })
})
