import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { runs } from '../property-runs.ts'
import { ask } from '../server/http.ts'
import { startTestServer, type TestServer } from '../server/test-server.ts'
import { Peer } from '../transports/client-peer.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer()
  await fetch(`${server.url}/topics/a`, { method: 'POST', body: 'x' })
})
afterAll(() => server.close())
afterEach(() => {
  expect(Object.keys(Object.prototype)).toEqual([])
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
})

type Route = readonly [method: 'PUT' | 'POST', path: string]
/** Every route that reads JSON. */
const ROUTES: readonly Route[] = [
  ['PUT', '/api/topics/a/policy'],
  ['PUT', '/api/clients/nobody/policy'],
  ['POST', '/api/clients'],
  ['POST', '/api/clients/nobody/subscriptions'],
  ['POST', '/api/clients/nobody/ack'],
  ['POST', '/api/broadcast'],
]

const send = ([method, path]: Route, body: string, type = 'application/json') =>
  ask(server.url + path, { method, body, headers: { 'content-type': type } })
const nested = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`

const BAD: Readonly<Record<string, string>> = {
  'half a value': '{"name":',
  nothing: '',
  'two values': '{}{}',
  'a comment': '{/**/}',
  'a word that is none': 'NaN',
  'what would be a prototype': '{"name":"latest","__proto__":{"polluted":1}}',
  'the same, escaped': '{"name":"latest","\\u005f_proto__":{"polluted":1}}',
  'the same, by its constructor': '{"name":"latest","constructor":{"prototype":{"polluted":1}}}',
  'the same, further in': '{"name":"latest","data":{"__proto__":{"polluted":1}}}',
}

describe.each(ROUTES)('%s %s', (...route) => {
  it.each(Object.entries(BAD))('E16: answers %s with 400', async (_what, body) => {
    expect(await send(route, body)).toMatchObject({ status: 400, body: { error: { code: 'REQUEST_INVALID' } } })
  })

  it.each([257, 40_000])('E17: answers %i levels with 400 and the limit, before they are parsed', async levels => {
    for (const body of [nested(levels), `{"clients":[],"data":${nested(levels)}}`, '{"a":'.repeat(levels)]) {
      const { status, body: told } = await send(route, body)
      expect([status, told.error.message]).toEqual([400, 'body: JSON nests at most 256 levels here'])
    }
  })

  it('E19: takes JSON that says so, and nothing else: 415', async () => {
    const types = [
      'text/plain',
      'application/xml',
      'application/json garbage',
      'application/jsonp',
      'multipart/form-data',
    ]
    for (const type of [...types, 'application/x-www-form-urlencoded']) {
      expect([type, await send(route, '{}', type)]).toMatchObject([type, { status: 415 }])
    }
    const { status, body } = await ask(server.url + route[1], { method: route[0], body: new Uint8Array([0x7b, 0x7d]) })
    expect(status).toBe(415)
    expect(JSON.stringify(body)).toContain('content-type: application/json')
  })

  it('E19: says 413 of a body over its limit', async () => {
    const { status, body } = await send(route, `"${'x'.repeat(9 * 1024 * 1024)}"`)
    expect([status, body.error.code]).toEqual([413, 'MESSAGE_TOO_LARGE'])
  })
})

describe('commands of the client protocol', () => {
  const url = () => `${server.url.replace('http', 'ws')}/connection/websocket`

  it.each([
    ['half a value', '{"id":2,"subscribe":'],
    ['more levels than there may be', `{"id":2,"publish":{"channel":"a","data":${nested(300)}}}`],
    ['40,000 levels', nested(40_000)],
    ['an array', '[{"id":2}]'],
    ['an id that is none', '{"id":"__proto__","subscribe":{"channel":"a"}}'],
  ])('E18: %s end the connection with 3501', async (_what, frame) => {
    await using peer = await Peer.connect(url())
    peer.webSocket.send(frame)
    expect((await peer.closed).code).toBe(3501)
  })

  it.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf'])(
    'E18: %s is a name like any other',
    async name => {
      await using peer = await Peer.connect(`${url()}?client=${name}`)
      expect(await peer.call({ id: 2, subscribe: { channel: name } })).toMatchObject({ id: 2, subscribe: {} })
      expect(server.hub.getClient(name).subscriptions).toMatchObject([{ topic: name }])
      peer.say({ id: 3, publish: { channel: name, data: { [name]: 1 } } })
      expect(await peer.take(2)).toContainEqual(
        expect.objectContaining({ push: expect.objectContaining({ channel: name }) }),
      )
      peer.webSocket.send(`{"id":4,"${name}":{"polluted":true}}`)
      expect(await peer.next()).toMatchObject({ id: 4, error: { code: 104 } })
      expect(server.hub.getDeliveryPolicy(name).describe()).toEqual({ ...server.hub.getDeliveryPolicy('a').describe() })
    },
  )

  it('E18: whatever the frame says, it is answered or the connection ends with a code of ours', async () => {
    const faults: unknown[] = []
    server.hub.events.on('fault', ({ error }) => faults.push(error))
    const key = fc.constantFrom(
      'id',
      'subscribe',
      'publish',
      'rpc',
      'send',
      'channel',
      'data',
      '__proto__',
      'method',
      'recover',
      'offset',
    )
    const value = fc.letrec(tie => ({
      any: fc.oneof(
        { maxDepth: 3 },
        fc.constantFrom(null, true, 1, 2, -1, 1e300, '', 'a', '\ud800'),
        fc.dictionary(key, tie('any'), { maxKeys: 4 }),
        fc.array(tie('any'), { maxLength: 3 }),
      ),
    })).any
    const line = fc.oneof(
      fc.dictionary(key, value, { maxKeys: 4 }).map(object => JSON.stringify(object)),
      fc.string(),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(line, { minLength: 1, maxLength: 4 }), async lines => {
        const peer = await Peer.connect(url())
        peer.webSocket.send(lines.join('\n'))
        peer.webSocket.send('{"id":4294967295,"ping":{}}')
        const alive = (async () => {
          while (!Object.hasOwn(await peer.next(), 'ping'));
        })()
        const code = await Promise.race([alive, peer.closed.then(closed => closed.code)])
        peer.webSocket.terminate()
        expect(code === undefined || (code >= 3000 && code < 3600)).toBe(true)
      }),
      runs(200),
    )
    expect(faults).toEqual([])
  })
})
