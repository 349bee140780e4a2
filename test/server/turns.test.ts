import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { HubError } from '../../src/core/errors.ts'
import { parseClientId, parseTopicName } from '../../src/core/ids.ts'
import type { ConnectionManager } from '../../src/core/manager.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { listClients } from '../../src/server/api/client-list.ts'
import { MESSAGES_PER_TURN, publishSource } from '../../src/server/publisher.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import type { TopicsOwner } from '../../src/transports/client-gate.ts'
import { ENDS_PER_TURN, Grants } from '../../src/transports/client-grants.ts'
import { turnTime } from '../../src/transports/turn-time.ts'
import { startTestServer } from './test-server.ts'

/** Calls of `run` in each turn of the event loop, until `done`. */
async function callsPerTurn(run: { readonly mock: { readonly calls: readonly unknown[] } }, done: Promise<unknown>) {
  const turns: number[] = []
  let before = run.mock.calls.length
  let over = false
  const watched = done.finally(() => (over = true))
  while (!over) {
    await new Promise(resolve => setImmediate(resolve))
    turns.push(run.mock.calls.length - before)
    before = run.mock.calls.length
  }
  await watched
  return turns
}

function join(hub: Hub, id: string): void {
  const connection = new FakeConnection()
  connection.client = hub.registerClient(id, connection)
}

const NEWS = parseTopicName('news')

function ownerOf(id: string): TopicsOwner {
  return { id: parseClientId(id), current: true, reply: () => undefined, hint: () => undefined }
}

const hubs: Hub[] = []
function openHub(): Hub {
  const hub = createHub()
  hubs.push(hub)
  return hub
}
afterEach(async () => {
  vi.restoreAllMocks()
  await Promise.all(hubs.splice(0).map(hub => hub.close()))
})

describe('lines of a live source', () => {
  const LINES = 5000

  it('are published so many in a turn, all of them and in their order', async () => {
    const hub = openHub()
    const published: string[] = []
    const publish = vi.spyOn(hub, 'publishBytes')
    publish.mockImplementation((_topic, data) => {
      published.push(Buffer.from(data).toString())
      return { position: { epoch: 'e', seq: published.length }, matched: 0, behind: 0, unsupported: 0 }
    })
    const body = new IncomingMessage(new Socket())
    const options = { split: 'lines', maxBytes: 1000, signal: new AbortController().signal } as const
    const ended = publishSource(hub as ConnectionManager, 'lines', body, options)
    const lines = Array.from({ length: LINES }, (_, i) => String(i))
    body.push(Buffer.from(lines.join('\n')))
    body.push(null)
    const turns = await callsPerTurn(publish, ended)
    expect(published).toEqual(lines)
    expect(await ended).toMatchObject({ messages: LINES })
    expect(Math.max(...turns)).toBeLessThanOrEqual(MESSAGES_PER_TURN)
    expect(turns.filter(count => count > 0).length).toBeGreaterThanOrEqual(LINES / MESSAGES_PER_TURN)
  })

  it('fail with the first error, and a publication that fails later is no unhandled rejection', async () => {
    const hub = openHub()
    const rejections: unknown[] = []
    const note = (error: unknown): void => void rejections.push(error)
    process.on('unhandledRejection', note)
    try {
      vi.spyOn(turnTime, 'over', 'get').mockReturnValue(false)
      let refuse!: (error: Error) => void
      const waiting = new Promise<never>((_, reject) => (refuse = reject))
      vi.spyOn(hub, 'publishBytes').mockReturnValue(waiting)
      const body = new IncomingMessage(new Socket())
      const options = { split: 'lines', maxBytes: 1000, signal: new AbortController().signal } as const
      const ended = publishSource(hub as ConnectionManager, 'lines', body, options)
      const failed = expect(ended).rejects.toMatchObject({ code: 'MESSAGE_TOO_LARGE' })
      body.push(Buffer.from(`short\n${'x'.repeat(1001)}\n`))
      await failed
      refuse(new HubError('RATE_LIMITED', 'topic: it takes no more'))
      for (let turn = 0; turn < 3; turn++) await new Promise(resolve => setImmediate(resolve))
      expect(rejections).toEqual([])
    } finally {
      process.off('unhandledRejection', note)
    }
  })

  it('that are published in later turns are checked again: a publisher who was revoked meanwhile publishes no more', async () => {
    const hub = openHub()
    const publish = vi.spyOn(hub, 'publishBytes')
    let revoked = false
    const check = (): void => {
      if (revoked) throw new HubError('PERMISSION_DENIED', 'session: it was revoked')
    }
    const body = new IncomingMessage(new Socket())
    const options = { split: 'lines', maxBytes: 1000, signal: new AbortController().signal, check } as const
    const ended = publishSource(hub as ConnectionManager, 'lines', body, options)
    const failed = expect(ended).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
    body.push(Buffer.from('line\n'.repeat(LINES)))
    body.push(null)
    while (publish.mock.calls.length === 0) await new Promise(resolve => setImmediate(resolve))
    revoked = true
    const before = publish.mock.calls.length
    await failed
    expect(publish.mock.calls.length).toBe(before)
  })
})

describe('messages of many requests', () => {
  it('wait while the turn has no time left', async () => {
    const server = await startTestServer()
    try {
      const over = vi.spyOn(turnTime, 'over', 'get').mockReturnValue(true)
      const publish = vi.spyOn(server.hub, 'publishBytes')
      const answers = ['1', '2'].map(body => fetch(`${server.url}/topics/busy`, { method: 'POST', body }))
      await vi.waitUntil(() => over.mock.calls.length > 4)
      expect(publish).not.toHaveBeenCalled()
      over.mockReturnValue(false)
      expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([202, 202])
      expect(publish).toHaveBeenCalledTimes(2)
    } finally {
      await server.close()
    }
  })
})

describe('the list of clients', () => {
  const CLIENTS = 5000

  it('is made in several turns; who leaves meanwhile is not on it, and all others are', async () => {
    const hub = openHub()
    for (let i = 0; i < CLIENTS; i++) join(hub, `c${String(i).padStart(5, '0')}`)
    const looks = vi.spyOn(hub, 'getClient')
    const listed = listClients(hub, { behind: false, limit: 1000, sort: 'id' })
    hub.unregisterClient('c00900')
    hub.unregisterClient('c04999')
    const turns = await callsPerTurn(looks, listed)
    const { clients, total, next } = await listed
    expect(total).toBe(CLIENTS - 2)
    const ids = Array.from({ length: 1001 }, (_, i) => `c${String(i).padStart(5, '0')}`)
    expect(clients.map(({ id }) => id)).toEqual(ids.filter(id => id !== 'c00900'))
    expect(next).toBe('c01000')
    // 256 looks at all clients; the last of these and the first 50 of the page may share a turn.
    expect(Math.max(...turns)).toBeLessThanOrEqual(256 + 50)
    expect(turns.length).toBeGreaterThan(CLIENTS / 300)
  })
})

describe('subscriptions whose tokens are over', () => {
  const GRANTS = 500

  it('end so many in a turn, but for one that got a newer token between two turns', () => {
    vi.useFakeTimers()
    try {
      const ended: string[] = []
      const grants = new Grants((_owner, topic) => void ended.push(topic))
      const owners = Array.from({ length: GRANTS }, (_, i) => ownerOf(`c${i}`))
      for (const owner of owners) grants.set(owner, NEWS, Date.now() + 5000)
      vi.advanceTimersByTime(4000)
      expect(ended).toEqual([])
      // The timer's own part, and nothing that it defers.
      while (ended.length === 0) vi.advanceTimersToNextTimer()
      expect(ended.length).toBe(ENDS_PER_TURN)
      grants.set(owners.at(-1)!, NEWS, Date.now() + 60_000)
      grants.forget(owners.at(-2)!)
      for (let before = -1; before !== ended.length; ) {
        before = ended.length
        vi.advanceTimersToNextTimer()
        expect(ended.length - before).toBeLessThanOrEqual(ENDS_PER_TURN)
      }
      expect(ended).toHaveLength(GRANTS - 2)
      vi.advanceTimersByTime(61_000)
      expect(ended).toHaveLength(GRANTS - 1)
      expect(vi.getTimerCount()).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  })
})
