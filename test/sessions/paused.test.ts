import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { callbackSessions } from '../../src/sessions/callback-sessions.ts'
import { KeySetByUrl } from '../../src/sessions/jwks.ts'
import { answerWithin } from '../../src/stores/redis-client.ts'

/**
 * A process that was stopped: here its event loop is blocked for longer than the time limit, and the answer comes meanwhile. The peer is a
 * thread, so that it runs on.
 */

const LIMIT_MS = 150
const STOP_MS = 500
const PEER = `
  const { parentPort } = require('node:worker_threads')
  const server = require('node:http').createServer((request, response) => {
    parentPort.postMessage('asked')
    // What stops the other process has begun by then; were it later, the answer would be in time anyway.
    setTimeout(() => response.end('{"keys":[],"user":"ada"}'), ${LIMIT_MS / 3})
  })
  server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port))
`

let peer: Worker
let url: string
beforeEach(async () => {
  peer = new Worker(PEER, { eval: true })
  const [port] = await once(peer, 'message')
  url = `http://127.0.0.1:${port}/`
})
afterEach(() => peer.terminate())

function stop(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STOP_MS)
}

it('the application that answers meanwhile is heard', async () => {
  const sessions = callbackSessions({ url, timeoutMs: LIMIT_MS })
  peer.once('message', stop)
  await expect(sessions.authenticate({ protocol: 'http' })).resolves.toMatchObject({ user: 'ada' })
  await sessions.close()
})

it('a key set that comes meanwhile is taken', async () => {
  const keys = new KeySetByUrl({ url: new URL(url), timeoutMs: LIMIT_MS })
  peer.once('message', stop)
  // AUTH_UNAVAILABLE would say that there is no set; this one is there, and has no key.
  await expect(keys.find({ alg: 'ES256', kid: 'a' }, { payload: '', signature: '' })).rejects.toMatchObject({
    code: 'ERR_JWKS_NO_MATCHING_KEY',
  })
})

it('an answer that a Redis command gets meanwhile is heard', async () => {
  peer.once('message', stop)
  const answer = fetch(url).then(response => response.text())
  await expect(answerWithin(LIMIT_MS, answer)).resolves.toContain('ada')
})

it('an answer that does not come is given up all the same', async () => {
  await expect(answerWithin(20, new Promise(() => {}))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
})
