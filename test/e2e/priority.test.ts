import { afterEach, describe, expect, it, vi } from 'vitest'
import { buffered } from '../../src/policies/buffered.ts'
import { DEFAULT_SOCKET_BYTES } from '../../src/policies/priority.ts'
import { SlowPeer } from '../../src/testing/slow-peer.ts'
import { missingTcpProbe, tcpProbe } from '../../src/transports/tcp-probe.ts'
import { startTestServer } from '../server/test-server.ts'

const KIB = 1024
/** Of the flood. */
const MESSAGE = 16 * KIB
/** What surrounds a payload in its event, with room to spare. */
const FRAMING = 512
/** What the peer's host may have taken that the peer has not read: its receive buffer is set to 4 KiB, of which the kernel makes more. */
const RECEIVED = 32 * KIB
/** So much of the flood is published before the alarm, in bytes: less than a client may be behind. */
const FLOOD = 768 * KIB
const ALARM = 'the alarm itself'

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

/** A slow reader on a flood and on alarms. Resolves with how many bytes it had to read, from the alarm on, before it had the alarm. */
async function bytesAheadOfAlarm(policy: Record<string, unknown>): Promise<number> {
  const topics = { alarms: { priority: 'high' }, video: { priority: 'bulk' } }
  const server = await startTestServer({ policy, topics })
  open.push(() => server.close())
  const { hub } = server
  const peer = await SlowPeer.open({
    port: Number(new URL(server.url).port),
    request: 'GET /events?topic=video&topic=alarms&client=reader HTTP/1.1\r\nhost: localhost\r\n\r\n',
    pace: { kind: 'rate', bytesPerSecond: 400 * KIB },
    receiveBufferBytes: 4096,
  })
  open.push(() => peer.close())
  let tail = ''
  let alarmAt: number | undefined
  peer.onData = data => {
    tail = tail.slice(-ALARM.length) + data.toString('latin1')
    if (tail.includes(ALARM)) alarmAt ??= peer.received
  }
  const waitFor = (condition: () => boolean) => vi.waitUntil(condition, { timeout: 20_000, interval: 5 })
  await waitFor(() => hub.getClientsForTopic('alarms')[Symbol.iterator]().next().value !== undefined)
  for (let sent = 0; sent < FLOOD; sent += MESSAGE) {
    hub.routeData('video', Buffer.alloc(MESSAGE, 'x'), { contentType: 'text/plain' })
    await new Promise(resolve => setTimeout(resolve, 2))
  }
  expect(hub.getClient('reader').subscriptions.map(({ topic, priority }) => [topic, priority])).toEqual([
    ['video', 'bulk'],
    ['alarms', 'high'],
  ])
  const before = peer.received
  hub.routeData('alarms', Buffer.from(ALARM), { contentType: 'text/plain' })
  await waitFor(() => alarmAt !== undefined)
  return alarmAt! - before
}

if (tcpProbe() === undefined) {
  console.log(`Skipped: what priority bounds in the kernel. ${missingTcpProbe()}; npm install brings koffi.`)
}

describe.skipIf(tcpProbe() === undefined)('an alarm for a slow reader in a flood', () => {
  it('has little ahead of it under priority, and what the kernel took otherwise', { timeout: 60_000 }, async () => {
    const most = DEFAULT_SOCKET_BYTES + MESSAGE + FRAMING + RECEIVED
    const ahead = await bytesAheadOfAlarm({ name: 'priority' })
    expect(ahead).toBeLessThanOrEqual(most)
    // Or the test would say nothing.
    expect(await bytesAheadOfAlarm(buffered().describe())).toBeGreaterThan(most)
  })
})
