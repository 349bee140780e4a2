import { afterAll, beforeAll, describe, it } from 'vitest'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { type TransportPeer, transportContract } from '../../src/testing/transport-contract.ts'
import { startTestServer, type TestServer } from '../server/test-server.ts'
import { clientProtocolPeer, multipartPeer, rawPeer, ssePeer, webSocketPeer } from './peers.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer()
})
afterAll(() => server.close())

/** Bytes that no text protocol carries as they are. */
const binary = (number: number, bytes: number) => Buffer.alloc(bytes, Buffer.from([number, 0, 255, 13, 10, 0x80]))
const text = (number: number, bytes: number) => Buffer.from(`${number} é\n\n: `.padEnd(bytes - 1, 'x'))
const json = (number: number, bytes: number) => Buffer.from(JSON.stringify(`${number}`.padEnd(bytes - 2, 'x')))

interface Kind {
  readonly contentType: string
  readonly payload: (number: number, bytes: number) => Buffer
  readonly connect: (url: string, topic: string) => Promise<TransportPeer>
}

const kinds: Record<string, Kind> = {
  'http-stream': { contentType: 'application/octet-stream', payload: binary, connect: rawPeer },
  'sse, text': { contentType: 'text/plain', payload: text, connect: ssePeer },
  'sse, binary': { contentType: 'audio/mpeg', payload: binary, connect: ssePeer },
  multipart: { contentType: 'image/png', payload: binary, connect: multipartPeer },
  'websocket, text': { contentType: 'text/plain', payload: text, connect: webSocketPeer },
  'websocket, binary': { contentType: 'video/mp4', payload: binary, connect: webSocketPeer },
}

for (const [kind, { contentType, payload, connect }] of Object.entries(kinds)) {
  describe(`transport contract: ${kind}`, () => {
    const harness = () => ({
      hub: server.hub,
      contentType,
      payload,
      policies: { patient: buffered({ bytes: 32 * 1024 * 1024 }), bestEffort: bestEffort() },
      connect: (topic: string, id: string) => connect(`${server.url}/topics/${topic}?client=${id}`, topic),
    })
    for (const { name, run } of transportContract(harness)) it(name, run)
  })
}

describe('transport contract: client protocol', () => {
  const harness = () => ({
    hub: server.hub,
    contentType: 'application/json',
    payload: json,
    policies: { patient: buffered({ bytes: 32 * 1024 * 1024 }), bestEffort: bestEffort() },
    connect: (topic: string, id: string) =>
      clientProtocolPeer(`${server.url}/connection/websocket?client=${id}`, topic),
  })
  for (const { name, run } of transportContract(harness)) it(name, run)
})
