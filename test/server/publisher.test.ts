import { expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { contentTypeOf } from '../../src/sending/content-type.ts'
import { ask, until } from './http.ts'
import { startTestServer } from './test-server.ts'

const TEXT = 'text/plain; charset=utf-8'
const JSON_TYPE = 'application/json'

it.each([
  ['{"a":1}', JSON_TYPE],
  [' \n\t[1]', JSON_TYPE],
  ['"text"', JSON_TYPE],
  ['-1.5', JSON_TYPE],
  ['true', JSON_TYPE],
  ['false', JSON_TYPE],
  ['null', JSON_TYPE],
  ['never', TEXT],
  ['{half', TEXT],
  ['hello', TEXT],
  ['é', TEXT],
  ['', TEXT],
  [' \n', TEXT],
])('what %j is, where nobody says so: %s', (body, type) => {
  expect(contentTypeOf(undefined, undefined, Buffer.from(body))).toBe(type)
})

it('what is not UTF-8 is bytes', () => {
  expect(contentTypeOf(undefined, undefined, Buffer.from([0x7b, 0xff, 0x7d]))).toBe('application/octet-stream')
})

it('a live source learns how many subscribers could not receive its messages, where there are any', async () => {
  const server = await startTestServer()
  const put = (body: string, type: string) =>
    ask(`${server.url}/topics/t?split=lines`, { method: 'PUT', body, headers: { 'content-type': type } })
  const peer = new WebSocket(`${server.url.replace('http', 'ws')}/connection/websocket`)
  peer.on('open', () => peer.send('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"t"}}'))
  await until(() => server.hub.getConnectionStats().subscriptions === 1)
  expect((await put('1\n2', JSON_TYPE)).body).toEqual({ topic: 't', messages: 2, bytes: 2 })
  expect((await put('one\ntwo', TEXT)).body).toEqual({ topic: 't', messages: 2, bytes: 6, unsupported: 2 })
  peer.terminate()
  await server.close()
})
