import assert from 'node:assert/strict'
import type { CloseReason } from '../core/connection.ts'
import type { ConnectionManager } from '../core/manager.ts'
import { callable, checkValue } from '../core/options.ts'
import type { DeliveryPolicy } from '../core/policy.ts'
import type { ContractCase } from './policy-contract.ts'

/** A real client of the transport under test, on a real socket. */
export interface TransportPeer {
  /** The payloads that came so far, joined. */
  received(): Buffer
  /** Resolves when so many payload bytes have come; rejects when the connection ends before. */
  receive(bytes: number): Promise<Buffer>
  /** How many messages the peer was told that it lost; null where the protocol has no room for that. */
  lost(): number | null
  /** Stops reading from the socket. */
  pause(): void
  resume(): void
  /** Leaves. */
  close(): void
  /** Resolves when the connection is over: clean if the protocol said that it is. */
  readonly ended: Promise<{ readonly clean: boolean }>
}

export interface TransportHarness {
  readonly hub: ConnectionManager
  /** A payload of about so many bytes that this protocol can carry; different for different numbers. */
  payload(number: number, bytes: number): Buffer
  readonly contentType: string
  /** patient: keeps at least 32 MiB for a client that is behind. */
  readonly policies: { readonly patient: DeliveryPolicy; readonly bestEffort: DeliveryPolicy }
  /** Opens a client of that id on the topic; resolves when it is subscribed. */
  connect(topic: string, clientId: string): Promise<TransportPeer>
}

const MIB = 1024 * 1024

/**
 * What every transport must keep. Each case uses a topic and clients of its own, so all may share one server. `harness`
 * is called once a case, so that a server may be started in a hook.
 */
export function transportContract(harness: () => TransportHarness): ContractCase[] {
  checkValue(harness, callable, 'harness')
  let serial = 0

  async function setUp() {
    const { hub, contentType, connect, payload } = harness()
    const topic = `contract/${++serial}`
    const publish = (number: number, size: number): Buffer => {
      const data = payload(number, size)
      void hub.publishBytes(topic, data, { contentType })
      return data
    }
    const ends = new Map<string, CloseReason>()
    hub.events.on('unregister', ({ id, reason }) => ends.set(id, reason))
    const name = (which: string) => `${which}-${serial}`
    // The content type of the topic must be known before a client comes: a stream's head says it.
    publish(0, 20)
    await turn()
    return { hub, topic, publish, ends, name, connect: (which: string) => connect(topic, name(which)) }
  }

  return [
    {
      name: 'delivers byte for byte, in order, from the first message after subscribing',
      async run() {
        const { publish, connect } = await setUp()
        const peer = await connect('one')
        const sent: Buffer[] = []
        for (let i = 1; i <= 50; i++) {
          sent.push(publish(i, 10 + i))
          if (i % 7 === 0) await turn()
        }
        const expected = Buffer.concat(sent)
        assert.deepEqual(await peer.receive(expected.byteLength), expected)
        peer.close()
      },
    },
    {
      name: 'delivers a large message whole, between small ones of the same tick',
      async run() {
        const { publish, connect } = await setUp()
        const peer = await connect('one')
        const expected = Buffer.concat([publish(1, 30), publish(2, 300_000), publish(3, 30), publish(4, 70_000)])
        assert.deepEqual(await peer.receive(expected.byteLength), expected)
        peer.close()
      },
    },
    {
      name: 'takes a message of every length around the borders of its framing',
      async run() {
        const { publish, connect } = await setUp()
        const peer = await connect('one')
        const sizes = [12, 15, 16, 17, 124, 125, 126, 127, 128, 255, 256, 4095, 4096, 65_534, 65_535, 65_536, 65_537]
        const expected = Buffer.concat(sizes.map((size, i) => publish(i, size)))
        assert.deepEqual(await peer.receive(expected.byteLength), expected)
        peer.close()
      },
    },
    {
      name: 'a peer that pauses and reads on gets everything, in order',
      async run() {
        const { hub, topic, publish, connect, name } = await setUp()
        hub.setDeliveryPolicy(topic, harness().policies.patient)
        const peer = await connect('one')
        peer.pause()
        const sent: Buffer[] = []
        for (let i = 0; i < 250; i++) {
          sent.push(publish(i, 64 * 1024))
          await turn()
        }
        assert.equal(hub.getClient(name('one')).writable, false)
        peer.resume()
        const expected = Buffer.concat(sent)
        assert.ok(expected.equals(await peer.receive(expected.byteLength)))
        peer.close()
      },
    },
    {
      name: 'a peer that never reads costs the others nothing, the hub at most 1 MiB, and is reset as slow',
      async run() {
        const { hub, publish, connect, name, ends } = await setUp()
        const stalled = await connect('stalled')
        const healthy = await Promise.all([1, 2, 3].map(i => connect(`healthy-${i}`)))
        stalled.pause()
        const sent: Buffer[] = []
        let most = 0
        for (let i = 0; i < 250; i++) {
          sent.push(publish(i, 64 * 1024))
          const expected = sent.reduce((sum, data) => sum + data.byteLength, 0)
          await Promise.all(healthy.map(peer => peer.receive(expected)))
          if (!ends.has(name('stalled'))) most = Math.max(most, hub.getConnectionStats().queuedBytes)
        }
        assert.equal(ends.get(name('stalled')), 'slow')
        assert.ok(most <= MIB, `${most} bytes were queued`)
        const expected = Buffer.concat(sent)
        for (const peer of healthy) assert.ok(expected.equals(peer.received()))
        stalled.resume()
        assert.equal((await stalled.ended).clean, false)
        for (const peer of healthy) peer.close()
      },
    },
    {
      name: 'tells what was lost, where the protocol can',
      async run() {
        const { hub, topic, publish, connect, name } = await setUp()
        hub.setDeliveryPolicy(topic, harness().policies.bestEffort)
        const peer = await connect('one')
        peer.pause()
        for (let i = 0; i < 250; i++) {
          publish(i, 64 * 1024)
          await turn()
        }
        const { dropped } = hub.getSubscription(name('one'), topic)!
        assert.ok(dropped > 0)
        peer.resume()
        const before = hub.getSubscription(name('one'), topic)!.delivered
        await until(() => hub.getClient(name('one')).writable)
        publish(1, 1000)
        await until(() => hub.getSubscription(name('one'), topic)!.delivered > before)
        if (peer.lost() !== null) await until(() => peer.lost() === dropped)
        peer.close()
      },
    },
    {
      name: 'notices a peer that leaves, without a write',
      async run() {
        const { hub, connect, name, ends } = await setUp()
        const peer = await connect('one')
        peer.close()
        await until(() => ends.has(name('one')))
        assert.match(ends.get(name('one'))!, /^(peer|lost)$/)
        assert.ok(![...hub.getActiveClients()].some(({ id }) => id === name('one')))
      },
    },
    {
      name: 'ends a client with a clean end of the protocol, after what was published before',
      async run() {
        const { hub, publish, connect, name } = await setUp()
        const peer = await connect('one')
        const last = publish(1, 100)
        hub.unregisterClient(name('one'), 'denied')
        assert.equal((await peer.ended).clean, true)
        assert.deepEqual(peer.received(), last)
      },
    },
    {
      name: 'closes the older of two clients with one id, and the newer goes on',
      async run() {
        const { publish, connect } = await setUp()
        const older = await connect('one')
        const newer = await connect('one')
        await older.ended
        const data = publish(1, 50)
        assert.deepEqual(await newer.receive(data.byteLength), data)
        newer.close()
      },
    },
  ]
}

function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}

/** Waits for what the event loop will bring; the test runner's own timeout is the deadline. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 5))
}
