import { once } from 'node:events'
import fc from 'fast-check'
import Fastify from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createHub } from '../../src/hub.ts'
import { hubline } from '../../src/server/fastify.ts'
import { runs } from '../property-runs.ts'
import { startTestServer, type TestServer } from '../server/test-server.ts'
import { AMBIGUOUS, CHUNKED, get, HIDDEN, HOST, post, toApi } from './ambiguous.ts'
import { converse, open } from './connection.ts'

/** How long a body may take. */
const BODY_MS = 1500

let server: TestServer
beforeAll(async () => {
  server = await startTestServer({ timeouts: { headersMs: 1000, bodyMs: BODY_MS } })
})
afterAll(() => server.close())

const say = (text: string) => converse(server.url, text)
describe('requests that could be read in two ways', () => {
  it.each(Object.entries(AMBIGUOUS))('E10: %s is answered with 400 and ends the connection', async (_what, text) => {
    const { statuses, closed } = await say(text)
    expect([statuses, closed]).toEqual([[400], true])
    expect(server.hub.getTopic('hidden')).toBeNull()
    expect(server.hub.getTopic('front')).toBeNull()
  })

  it.each([
    ['no request', 'GET / HTTP/1.1\r\nno colon\r\n\r\n', 'REQUEST_INVALID'],
    ['without a host', 'GET / HTTP/1.1\r\n\r\n', 'REQUEST_INVALID'],
    ['without a host, at no path', 'GET /nowhere HTTP/1.1\r\n\r\n', 'REQUEST_INVALID'],
    ['without a host, in absolute form', 'GET http://localhost/topics/a HTTP/1.1\r\n\r\n', 'REQUEST_INVALID'],
    [
      'an offer to upgrade with too many headers',
      get(`${HOST}Connection: upgrade\r\nUpgrade: h2c\r\n${'a: 1\r\n'.repeat(1100)}`),
      'HEADERS_TOO_MANY',
    ],
  ])('E10: what is %s is told in our own form', async (_what, request, code) => {
    const { text, closed } = await say(request)
    expect([closed, text.toLowerCase()]).toEqual([true, expect.stringContaining('\r\nconnection: close\r\n')])
    expect(JSON.parse(text.slice(text.indexOf('\r\n\r\n')))).toMatchObject({ error: { code } })
  })

  it('E10: a tunnel is not opened', async () => {
    expect(await say(`CONNECT example.org:443 HTTP/1.1\r\n${HOST}\r\n`)).toMatchObject({ statuses: [], closed: true })
  })

  it('E10: what comes after a well-formed body is the next request, and no part of it', async () => {
    const second = post(`Connection: close\r\n${CHUNKED}`, '5\r\nthere\r\n0\r\n\r\n')
    const { statuses } = await say(post('Content-Length: 5\r\n', 'hello') + second)
    expect(statuses).toEqual([202, 202])
    expect(server.hub.getTopic('front')?.published).toBe(2)
  })
})

describe('requests that are too large', () => {
  it.each([
    ['a header of 17 KiB', get(`${HOST}X: ${'a'.repeat(17_000)}\r\n`), 431, 'HEADERS_TOO_MANY'],
    ['a URL of 17 KiB', get(HOST).replace('/api', `/${'a'.repeat(17_000)}`), 431, 'HEADERS_TOO_MANY'],
    ['chunk extensions of 20 KiB', post(CHUNKED, `1;${'a'.repeat(20_000)}\r\nx\r\n`), 413, 'MESSAGE_TOO_LARGE'],
    ['a body that says to be of a terabyte', post('Content-Length: 1099511627776\r\n'), 413, 'MESSAGE_TOO_LARGE'],
    [
      'a topic of 10,000 characters',
      get(`${HOST}Connection: close\r\n`).replace('/api/stats', `/topics/${'a'.repeat(10_000)}`),
      400,
      'TOPIC_',
    ],
  ])('E12: %s', async (_what, text, status, code) => {
    const answer = await say(text)
    expect(answer.statuses).toEqual([status])
    expect(answer.text).toContain(code)
  })

  it.each([1000, 2100])('E13: of %i headers none is overlooked: 431', async count => {
    const headers = Array.from({ length: count }, () => 'a: 1\r\n').join('')
    const { statuses, text } = await say(get(`${HOST}Connection: close\r\n${headers}Authorization: Bearer token\r\n`))
    expect(statuses).toEqual([431])
    expect(text).toContain('HEADERS_TOO_MANY')
  })
})

describe('peers that take their time', () => {
  const SLOW: readonly (readonly [string, string, string])[] = [
    ['says nothing', '', ''],
    ['never ends its headers', `GET /api/stats HTTP/1.1\r\n${HOST}`, 'X: y\r\n'],
    ['never ends its request line', 'GET /', 'a'],
    ['never sends the body that it promised', post('Content-Length: 100\r\n'), ''],
    ['sends the body byte by byte', post('Content-Length: 100\r\n'), 'x'],
    ['sends the API its body byte by byte', toApi('Content-Length: 100\r\n'), '1'],
    ['publishes nowhere', post('Content-Length: 100\r\n').replace('/topics/front', '/nowhere'), 'x'],
  ]

  it('E14: are answered with 408 within their time, whatever they are slow with', { timeout: 60_000 }, async () => {
    const begun = performance.now()
    const ends = SLOW.map(async ([what, first, then]) => {
      const socket = open(server.url)
      let text = ''
      socket.on('data', data => {
        text += data
      })
      socket.write(first)
      const trickle = setInterval(() => then !== '' && socket.writable && socket.write(then), 100)
      await new Promise(resolve => socket.on('close', resolve))
      clearInterval(trickle)
      return [what, Number(text.split(' ')[1]), performance.now() - begun] as const
    })
    const answers = await Promise.all(ends)
    const soonest = Math.min(...answers.filter(([, status]) => status === 408).map(([, , ms]) => ms))
    for (const [what, status, ms] of answers) {
      const nowhere = what.startsWith('publishes nowhere')
      expect([what, status]).toEqual([what, nowhere ? 404 : 408])
      // Node's own limits are a minute and more. A path that is not there is not worth a wait.
      expect(ms, what).toBeLessThan(nowhere ? soonest : 30_000)
    }
  })

  it('E14: a live source may be slow: it is one request for days', async () => {
    const socket = open(server.url)
    socket.write(`PUT /topics/source HTTP/1.1\r\n${HOST}${CHUNKED}\r\n`)
    const begun = performance.now()
    const trickle = setInterval(() => socket.write('1\r\nx\r\n'), 100)
    await expect.poll(() => performance.now() - begun, { timeout: 10_000 }).toBeGreaterThan(1.2 * BODY_MS)
    const published = server.hub.getTopic('source')!.published
    await expect.poll(() => server.hub.getTopic('source')!.published, { timeout: 10_000 }).toBeGreaterThan(published)
    clearInterval(trickle)
    socket.destroy()
  }, 30_000)
})

describe('what is behind a stream on its connection', () => {
  const STREAM = `GET /topics/stream HTTP/1.1\r\n${HOST}\r\n`
  const none = () => expect.poll(() => server.hub.getTopic('stream')?.subscribers ?? 0, { timeout: 5000 }).toBe(0)

  it('E15: is not done, and ends both', async () => {
    const { text, closed } = await say(STREAM + HIDDEN.repeat(1000))
    expect(closed).toBe(true)
    expect(text).not.toContain('hidden')
    expect(server.hub.getTopic('hidden')).toBeNull()
    await none()
  })

  it('E15: also where it comes later', async () => {
    const socket = open(server.url)
    socket.write(STREAM)
    await once(socket, 'data')
    socket.write(`GET /nowhere HTTP/1.1\r\n${HOST}\r\n`)
    await once(socket, 'close')
    await none()
  })

  it.each([
    ['by length', 'Content-Length: 1000000\r\n\r\n'],
    ['in chunks', `${CHUNKED}\r\nf4240\r\n`],
  ])('E15: a stream is asked for without a body %s: a peer that left would not be missed', async (_how, headers) => {
    const socket = open(server.url)
    socket.write(STREAM.replace('\r\n\r\n', `\r\n${headers}`) + 'x'.repeat(300_000))
    const [data] = (await once(socket, 'data')) as [Buffer]
    expect(data.toString()).toMatch(/^HTTP\/1\.1 400 [\s\S]*a GET has none/)
    socket.destroy()
    await none()
  })

  it('E15: garbage in place of a next request ends the stream, and writes nothing into it', async () => {
    const socket = open(server.url)
    let text = ''
    socket.on('data', data => {
      text += data
    })
    socket.write(STREAM)
    await once(socket, 'data')
    socket.write('garbage\r\n\r\n')
    await once(socket, 'close')
    expect(text).toContain('HTTP/1.1 200')
    expect(text).not.toContain('REQUEST_INVALID')
    await none()
  })

  it('E15: a peer whose wishes fill the connection before the stream begins is no client', async () => {
    const health = `GET /health/live HTTP/1.1\r\n${HOST}\r\n`
    const socket = open(server.url)
    socket.write(health + STREAM + health.repeat(1000))
    await new Promise<void>(resolve => socket.on('data', () => resolve()).on('close', () => resolve()))
    socket.destroy()
    await none()
  })

  it('E15: nor while it is asked who wants the stream', async () => {
    const app = Fastify()
    const hub = createHub()
    const admit: (() => void)[] = []
    const authenticate = () => new Promise<object>(resolve => admit.push(() => resolve({})))
    await app.register(hubline, { hub, sessions: { authenticate, authorize: () => true } })
    const socket = open(await app.listen())
    const closed = once(socket, 'close')
    socket.write(STREAM + HIDDEN)
    await expect.poll(() => admit.length).toBe(1)
    admit[0]!()
    await closed
    expect(admit).toHaveLength(1)
    await expect.poll(() => [...hub.getActiveClients()]).toEqual([])
    await app.close()
  })

  it('E15: an expectation that nobody has heard of is not met: 417', async () => {
    expect((await say(post('Expect: wonders\r\nConnection: close\r\nContent-Length: 1\r\n', 'x'))).statuses).toEqual([
      417,
    ])
  })
})

describe('names of topics', () => {
  it('E20: any bytes are a topic by the rule, or 400: on no path is there a 500', async () => {
    const piece = fc.oneof(
      fc.constantFrom(
        '%zz',
        '%00',
        '%2e%2e%2f',
        '..',
        '/',
        '//',
        '*',
        '#',
        '+',
        '%3E',
        '%',
        '%c0%af',
        '%ED%A0%80',
        ';',
      ),
      fc.string({ unit: 'grapheme-ascii', maxLength: 4 }).map(text => text.replace(/[\r\n\s?]/g, '_')),
      fc.string({ unit: 'binary', maxLength: 4 }).map(text => encodeURIComponent(text.replace(/\p{Surrogate}/gu, ''))),
    )
    const path = fc.array(piece, { minLength: 1, maxLength: 8 }).map(pieces => pieces.join(''))
    await fc.assert(
      fc.asyncProperty(path, async name => {
        const prefix = name.startsWith('#') ? '%23' : ''
        const { statuses } = await converse(
          server.url,
          post('Connection: close\r\nContent-Length: 1\r\n', 'x').replace('front', () => prefix + name),
        )
        expect(statuses).toHaveLength(1)
        expect([202, 400]).toContain(statuses[0])
      }),
      runs(300),
    )
    for (const { name } of server.hub.getTopics()) expect(name).toMatch(/^[A-Za-z0-9_.:-]+(\/[A-Za-z0-9_.:-]+)*$/)
  })
})

describe('paths', () => {
  it.each([
    '/..%2fpackage.json',
    '/../package.json',
    '/%2e%2e/package.json',
    '/..%5cpackage.json',
    '//package.json',
    '/..;/x',
    '/.git/config',
    '/%00',
    '/dist/cli/main.js',
  ])('E22: there is no file at %s', async path => {
    const { statuses, text } = await say(`GET ${path} HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`)
    expect([400, 404]).toContain(statuses[0])
    expect(text).not.toContain('"name": "hubline"')
  })
})
