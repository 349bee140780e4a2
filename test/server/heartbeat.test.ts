import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { upgradeRequest } from './raw-request.ts'
import { startTestServer, type TestServer } from './test-server.ts'

let server: TestServer
const ends = new Map<string, string>()
beforeAll(async () => {
  server = await startTestServer({ pingMs: 100, topics: { rooms: { presence: true } } })
  server.hub.events.on('unregister', ({ id, reason }) => ends.set(id, reason))
})
afterAll(() => server.close())

describe('heartbeats', () => {
  it('keep an event stream open with comments that no reader sees', async () => {
    const stream = await fetch(`${server.url}/topics/quiet`, { headers: { accept: 'text/event-stream' } })
    let text = ''
    for await (const piece of stream.body as unknown as AsyncIterable<Uint8Array>) {
      text += Buffer.from(piece).toString()
      if (text.match(/: ping\n\n/g)?.length === 2) break
    }
    expect(text.replaceAll(': ping\n\n', '')).toMatch(/^retry: \d{4}\n\nid: [0-9a-z]+-0\n\n$/)
    expect(stream.headers.get('hubline-ping')).toBe('100')
  })

  it.each(['/api/clients/watched/tail', '/api/topics/rooms/presence?follow=true'])(
    "keep the operators' stream %s open, for a proxy ends what is silent",
    async path => {
      server.hub.registerClient('watched', new FakeConnection())
      const stream = await fetch(`${server.url}${path}`)
      let text = ''
      for await (const piece of stream.body as unknown as AsyncIterable<Uint8Array>) {
        text += Buffer.from(piece).toString()
        if (text.match(/^:$/gm)?.length === 2) break
      }
      expect(text).toMatch(/^event: state\ndata: \{.*\}\n\n:\n\n:\n\n$/)
      server.hub.unregisterClient('watched')
    },
    5000,
  )

  it('D1: keep a WebSocket that answers, and close one that does not as idle, whatever else it sends', async () => {
    const alive = new WebSocket(`${server.url.replace('http', 'ws')}/topics/quiet?client=alive`)
    let pings = 0
    alive.on('ping', () => pings++)
    const { hostname, port } = new URL(server.url)
    const deaf = connect(Number(port), hostname, () =>
      deaf.write(upgradeRequest('/topics/quiet?client=deaf&role=both')),
    )
    const bytes: Buffer[] = []
    deaf.on('data', data => bytes.push(data))
    deaf.on('error', () => {})
    // Before the answer it would be part of the request.
    await new Promise(resolve => deaf.once('data', resolve))
    // A masked text frame of one byte: chatter is no pong.
    const chatter = setInterval(() => deaf.write(Buffer.from([0x81, 0x81, 0, 0, 0, 0, 0x78])), 20)
    await new Promise(resolve => deaf.on('close', resolve))
    clearInterval(chatter)
    expect(ends.get('deaf')).toBe('idle')
    expect(Buffer.concat(bytes).includes(Buffer.from([0x11, 0x3a]))).toBe(true) // 4410
    await expect.poll(() => pings, { timeout: 5000 }).toBeGreaterThan(2)
    expect(ends.has('alive')).toBe(false)
    alive.close()
  })
})
