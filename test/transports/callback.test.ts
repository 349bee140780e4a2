import type { ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import { Webhook } from 'standardwebhooks'
import { afterEach, describe, expect, it } from 'vitest'
import { HubError } from '../../src/core/errors.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { CallbackClients, type CallbackOptions } from '../../src/transports/callback.ts'
import type { Resolver } from '../../src/transports/name-resolver.ts'
import { httpReceiver, type Received, type Receiver, rawReceiver } from './receiver.ts'

const LOOPBACK = ['127.0.0.1']
const FAST = { retry: { baseMs: 2 } }
const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

function setUp(options: CallbackOptions = {}): { hub: Hub; clients: CallbackClients } {
  const hub = createHub()
  const clients = new CallbackClients(hub, { allow: LOOPBACK, ...FAST, ...options })
  ends.push(
    () => clients.close(),
    () => hub.close(),
  )
  return { hub, clients }
}

async function receiver(answer: (response: ServerResponse, received: Received) => void): Promise<Receiver> {
  const opened = await httpReceiver(answer)
  ends.push(() => opened[Symbol.asyncDispose]())
  return opened
}

const code = (error: unknown): string => (error instanceof HubError ? error.code : String(error))
const outcome = (sent: Promise<unknown>): Promise<string> => sent.then(() => 'ok', code)
const codeOf = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    return code(error)
  }
  return 'nothing thrown'
}

describe('a URL that is registered', () => {
  it.each([
    ['http://127.0.0.1/', 'loopback'],
    ['http://[::1]:8080/', 'loopback'],
    ['http://[::ffff:127.0.0.1]/', 'loopback'],
    ['http://0/', 'unspecified'],
    ['http://0.0.0.0/', 'unspecified'],
    ['http://2130706433/', 'loopback'],
    ['http://0x7f.1/', 'loopback'],
    ['http://017700000001/', 'loopback'],
    ['http://169.254.169.254/latest/meta-data/', 'linkLocal'],
    ['http://10.1.2.3/', 'private'],
    ['http://172.16.0.1/', 'private'],
    ['http://192.168.1.1/', 'private'],
    ['http://[fe80::1]/', 'linkLocal'],
    ['http://[fd00::1]/', 'uniqueLocal'],
    ['http://localhost/', 'loopback'],
    ['http://LOCALHOST./', 'loopback'],
    ['unix:/var/run/docker.sock', 'unix: is not taken'],
    ['http+unix://%2Fvar%2Frun%2Fdocker.sock/', 'is not taken'],
    ['file:///etc/passwd', 'file: is not taken'],
    ['ftp://example.org/', 'ftp: is not taken'],
    ['http://user@example.org/', 'user name'],
    ['https://user:secret@example.org/', 'password'],
    ['//example.org/', 'not a URL'],
    ['', 'must be a string'],
  ])('%s is refused, by rule (%s), and nobody is registered', (url, rule) => {
    const { hub, clients } = setUp({ allow: [] })
    const register = (): unknown => clients.register({ id: 'c', url, topics: [{ name: 'news' }] })
    expect(codeOf(register)).toBe('CALLBACK_URL_INVALID')
    expect(register).toThrow(rule)
    expect(register).not.toThrow('secret')
    expect(hub.getConnectionStats()).toMatchObject({ clients: 0, clientsTotal: 0 })
  })

  it('is refused by an allow list or a secret that is none, at once', () => {
    expect(codeOf(() => setUp({ allow: ['everything'] }))).toBe('CONFIG_INVALID')
    expect(codeOf(() => setUp({ secret: 'hunter2' }))).toBe('CONFIG_INVALID')
    const { hub, clients } = setUp()
    expect(codeOf(() => clients.register({ url: 'http://example.org/', secret: 'hunter2' }))).toBe('REQUEST_INVALID')
    expect(hub.getConnectionStats().clients).toBe(0)
  })

  it('is not left registered where one of its topics is none', () => {
    const { hub, clients } = setUp()
    const topics = [{ name: 'news' }, { name: '../etc' }]
    expect(codeOf(() => clients.register({ url: 'http://example.org/', topics }))).toBe('TOPIC_INVALID')
    expect(hub.getConnectionStats()).toMatchObject({ clients: 0, subscriptions: 0 })
  })

  it.each(['register', 'subscribe'] as const)('is refused where a handler of %s gives its id to another', event => {
    for (const topics of [[{ name: 'first' }, { name: 'second' }], [{ name: 'first' }]]) {
      const { hub, clients } = setUp()
      hub.events.once(event, () => void hub.registerClient('c', new FakeConnection(), { ifExists: 'seize' }))
      expect(codeOf(() => clients.register({ id: 'c', url: 'http://example.org/', topics }))).toBe(
        'CONNECTION_NOT_FOUND',
      )
      expect(hub.getClient('c')).toMatchObject({ protocol: 'fake', subscriptions: [] })
    }
  })

  it('may be one that is taken: replaced, or refused if that is what is wanted', () => {
    const { hub, clients } = setUp()
    const url = 'http://example.org/'
    clients.register({ id: 'c', url })
    expect(codeOf(() => clients.register({ id: 'c', url, ifExists: 'refuse' }))).toBe('CLIENT_EXISTS')
    clients.register({ id: 'c', url })
    expect(hub.getConnectionStats()).toMatchObject({ clients: 1, closes: { replaced: 1 } })
  })

  it.each([undefined, null, 'http://example.org/', {}, { url: 7 }, { url: 'http://example.org/', secret: 7 }])(
    'is not restored of %j',
    stored => {
      const { clients } = setUp()
      expect(codeOf(() => clients.restore(stored, {}))).toBe('REQUEST_INVALID')
    },
  )

  it('is checked again when it is restored: rules may have changed', () => {
    const { clients } = setUp({ allow: [] })
    const restore = (): unknown => clients.restore({ transport: 'callback', url: 'http://127.0.0.1/' }, {})
    expect(codeOf(restore)).toBe('CALLBACK_URL_INVALID')
  })
})

describe('a receiver', () => {
  it('gets topics and sends in order on one socket, and its metrics say so', async () => {
    const got = await receiver(response => response.end())
    const { hub, clients } = setUp()
    clients.register({ id: 'c', url: got.url.href, topics: [{ name: 'news' }] })
    for (let i = 0; i < 20; i++) hub.routeData('news', Buffer.from(`${i}`), { contentType: 'text/plain' })
    expect(await hub.send('c', { n: 20 }, { correlationId: 'trace-1' })).toMatchObject({ confirmed: true })
    expect(got.requests.map(({ body }) => `${body}`)).toEqual([
      ...Array.from({ length: 20 }, (_, i) => `${i}`),
      '{"n":20}',
    ])
    expect(got.requests[20]!.headers).toMatchObject({
      ...{ 'hubline-event': 'send', 'hubline-client': 'c', 'x-correlation-id': 'trace-1' },
      'content-type': 'application/json',
    })
    expect(got.connections).toBe(1)
    expect(hub.getMetrics().operations.callback).toMatchObject({ count: 21, active: 0, errors: {}, retries: 0 })
  })

  it.each([
    ['its own', { secret: SECRET }, {}],
    ['that of all', {}, { secret: SECRET }],
  ])('verifies what is signed with %s secret, by the library of Standard Webhooks', async (_, own, all) => {
    const got = await receiver(response => response.end())
    const { hub, clients } = setUp(all)
    clients.register({ id: 'c', url: got.url.href, topics: [{ name: 'a.b/c' }], ...own })
    hub.routeData('a.b/c', Buffer.from('{"n":1}'))
    await hub.send('c', { n: 2 })
    const webhook = new Webhook(SECRET)
    const verified = got.requests.map(({ body, headers }) => webhook.verify(body.toString(), headers))
    expect(verified).toEqual([{ n: 1 }, { n: 2 }])
    const [{ body, headers }] = got.requests as [Received]
    expect(() => webhook.verify(`${body} `, headers)).toThrow()
  })

  it('G7: that redirects is not followed: its message is given up at once', async () => {
    const inside = await receiver(response => response.end())
    const got = await receiver(response => response.writeHead(302, { location: inside.url.href }).end())
    const { hub, clients } = setUp()
    clients.register({ id: 'c', url: got.url.href })
    await expect(hub.send('c', 'a')).rejects.toMatchObject({
      code: 'SEND_FAILED',
      message: expect.stringContaining('302'),
    })
    expect([got.requests.length, inside.requests.length]).toEqual([1, 0])
  })

  it('whose answer never ends costs it its time, and nobody else anything', async () => {
    const endless = await rawReceiver(socket => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n')
      const timer = setInterval(() => socket.write('1\r\nx\r\n'), 10)
      socket.on('close', () => clearInterval(timer))
    })
    ends.push(() => endless[Symbol.asyncDispose]())
    const quick = await receiver(response => response.end())
    const { hub, clients } = setUp({ timeoutMs: 100, retry: { retries: 1, baseMs: 1 } })
    clients.register({ id: 'endless', url: endless.url.href })
    clients.register({ id: 'quick', url: quick.url.href })
    const order: string[] = []
    const slow = outcome(hub.send('endless', 'a')).finally(() => order.push('endless'))
    const fast = outcome(hub.send('quick', 'a')).finally(() => order.push('quick'))
    expect(await Promise.all([slow, fast])).toEqual(['SEND_TIMEOUT', 'ok'])
    expect(order).toEqual(['quick', 'endless'])
    await endless.allClosed()
  })

  it('that says 200 and breaks off may have died over it: it gets the message again, under the same id', async () => {
    let first = true
    const got = await receiver(response => {
      if (!first) return void response.end()
      first = false
      response.writeHead(200, { 'content-length': 100 }).write('half')
      setImmediate(() => response.destroy())
    })
    const { hub, clients } = setUp()
    clients.register({ id: 'c', url: got.url.href })
    expect(await outcome(hub.send('c', 'a'))).toBe('ok')
    const ids = got.requests.map(({ headers }) => headers['idempotency-key'])
    expect([ids.length, new Set(ids).size]).toEqual([2, 1])
  })

  it('that says 200 and something that is not HTTP gets it again as well', async () => {
    const got = await rawReceiver(socket => {
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: nonsense\r\n\r\n')
    })
    ends.push(() => got[Symbol.asyncDispose]())
    const { hub, clients } = setUp({ retry: { retries: 2, baseMs: 1 } })
    clients.register({ id: 'c', url: got.url.href })
    expect(await outcome(hub.send('c', 'a'))).toBe('SEND_FAILED')
    expect(got.connections).toBe(3)
  })

  it.each([
    [200, 'ok'],
    [400, 'SEND_FAILED'],
  ])('that says %i and then 10 MiB is not read to the end', async (status, expected) => {
    let written = 0
    const body = Buffer.alloc(64 * 1024)
    const got = await receiver(response => {
      response.writeHead(status)
      const more = (): void => {
        while (written < 10 * 1024 * 1024 && !response.destroyed) {
          written += body.byteLength
          if (!response.write(body)) return void response.once('drain', more)
        }
      }
      more()
    })
    const { hub, clients } = setUp()
    clients.register({ id: 'c', url: got.url.href })
    expect(await outcome(hub.send('c', 'a'))).toBe(expected)
    await got.allClosed()
    expect(got.requests).toHaveLength(1)
    // What loopback's buffers hold goes out unread.
    expect(written).toBeLessThan(10 * 1024 * 1024)
  })

  it('is asked by Retry-After to be left alone, and is', async () => {
    const at: number[] = []
    const got = await receiver(response => {
      at.push(performance.now())
      response.writeHead(at.length === 1 ? 429 : 204, { 'retry-after': '1' }).end()
    })
    const { hub, clients } = setUp()
    clients.register({ id: 'c', url: got.url.href })
    const waits: number[] = []
    hub.events.on('retry', ({ waitMs }) => waits.push(waitMs))
    expect(await outcome(hub.send('c', 'a'))).toBe('ok')
    expect(waits).toEqual([1000])
    // Two clocks, and timers that may be a millisecond early.
    expect(at[1]! - at[0]!).toBeGreaterThan(990)
  })

  it('that is not there at all', async () => {
    const closed = createServer().listen(0, '127.0.0.1')
    await new Promise(resolve => closed.once('listening', resolve))
    const { port } = closed.address() as { port: number }
    await new Promise(resolve => closed.close(resolve))
    const { hub, clients } = setUp()
    clients.register({ id: 'c', url: `http://127.0.0.1:${port}/` })
    await expect(hub.send('c', 'a')).rejects.toMatchObject({
      ...{ code: 'SEND_FAILED', message: expect.stringContaining('tried 4 times, at last: ECONNREFUSED') },
    })
    expect(hub.getMetrics().operations.callback).toMatchObject({ retries: 3, errors: { SEND_FAILED: 1 } })
  })

  it('with 410 is removed, and its subscriptions', async () => {
    const got = await receiver(response => response.writeHead(410).end())
    const { hub, clients } = setUp()
    clients.register({ id: 'c', url: got.url.href, topics: [{ name: 'news' }] })
    expect(await outcome(hub.send('c', 'a'))).toBe('CONNECTION_STALE')
    expect(await outcome(hub.send('c', 'b'))).toBe('CONNECTION_NOT_FOUND')
    expect(hub.getConnectionStats()).toMatchObject({ clients: 0, subscriptions: 0, closes: { peer: 1 } })
    expect(got.requests).toHaveLength(1)
  })
})

describe('G7: a name that changes its mind', () => {
  /** Answers each look-up with the next of the lists, and goes on with the last. */
  function resolver(...answers: string[][]): { resolve: Resolver; asked: string[] } {
    const asked: string[] = []
    const resolve: Resolver = (hostname, _options, callback) => {
      const addresses = answers[Math.min(asked.length, answers.length - 1)]!
      asked.push(hostname)
      callback(
        null,
        addresses.map(address => ({ address, family: address.includes(':') ? 6 : 4 })),
      )
    }
    return { resolve, asked }
  }

  it.each([['127.0.0.1'], ['::1'], ['10.0.0.1'], ['169.254.169.254'], ['::ffff:127.0.0.1']])(
    'leads nowhere once it is %s: the look-up of the connection decides',
    async address => {
      const inside = await receiver(response => response.end())
      const { resolve, asked } = resolver([address])
      const { hub, clients } = setUp({ allow: [], resolve })
      clients.register({ id: 'c', url: `http://rebind.example:${inside.port}/`, topics: [{ name: 'news' }] })
      const sent = hub.send('c', 'a')
      await expect(sent).rejects.toMatchObject({ code: 'SEND_FAILED', message: expect.not.stringContaining(address) })
      expect([inside.connections, asked]).toEqual([0, ['rebind.example']])
    },
  )

  it('between two connections: the second goes nowhere', async () => {
    const allowed = await receiver((response, { body }) => {
      // It ends its socket, so that the next message needs a look-up of its own.
      response.writeHead(200, { connection: 'close' }).end(body)
    })
    const { resolve, asked } = resolver(['127.0.0.1'], ['127.0.0.2'])
    const { hub, clients } = setUp({ allow: ['127.0.0.1'], resolve })
    clients.register({ id: 'c', url: `http://rebind.example:${allowed.port}/` })
    expect(await outcome(hub.send('c', 'a'))).toBe('ok')
    expect(await outcome(hub.send('c', 'b'))).toBe('SEND_FAILED')
    expect(asked).toHaveLength(2)
    expect(allowed.requests.map(({ body }) => `${body}`)).toEqual(['a'])
  })

  it('is reached by the public one of its addresses alone', async () => {
    const got = await receiver(response => response.end())
    const { resolve } = resolver(['10.0.0.1', '127.0.0.1', '192.168.0.1'])
    const { hub, clients } = setUp({ allow: ['127.0.0.1'], resolve })
    clients.register({ id: 'c', url: `http://rebind.example:${got.port}/` })
    expect(await outcome(hub.send('c', 'a'))).toBe('ok')
    expect(got.requests[0]!.headers.host).toBe(`rebind.example:${got.port}`)
  })
})

describe('the end', () => {
  it('of the hub cancels what is under way, and the pool closes its sockets', async () => {
    const got = await receiver(() => {})
    const { hub, clients } = setUp()
    clients.register({ id: 'c', url: got.url.href, topics: [{ name: 'news' }] })
    hub.routeData('news', Buffer.from('a'))
    const sent = outcome(hub.send('c', 'b'))
    await got.connected()
    await hub.close()
    expect(await sent).toBe('SHUTTING_DOWN')
    await clients.close()
    await got.allClosed()
    expect(hub.getMetrics().operations).toMatchObject({ callback: { active: 0 }, send: { active: 0 } })
  })

  it('of a shutdown waits for what is under way, and reports it', async () => {
    const got = await receiver(response => setTimeout(() => response.end(), 50))
    const { hub, clients } = setUp()
    clients.register({ id: 'c', url: got.url.href, topics: [{ name: 'news' }] })
    hub.routeData('news', Buffer.from('a'))
    const sent = outcome(hub.send('c', 'b'))
    const report = await hub.shutdown({ deadlineMs: 5000 })
    expect(await sent).toBe('ok')
    expect(report).toMatchObject({
      outcome: 'drained',
      sends: { finished: 1, abandoned: 0 },
      messages: { settled: 1, abandoned: 0 },
      clients: { closed: 1, behind: 0 },
    })
    expect(got.requests).toHaveLength(2)
  })
})
