import assert from 'node:assert/strict'
import { MESSAGE_BYTES, PLACE_BYTES } from '../core/ledger.ts'
import type { ConnectionManager } from '../core/manager.ts'
import { checkValue, having } from '../core/options.ts'
import type { DeliveryPolicy } from '../core/policy.ts'
import { FakeConnection } from './fake-connection.ts'
import type { ManualScheduler } from './manual-scheduler.ts'

/** One case of a contract: run it in any test runner, as in `for (const { name, run } of cases) it(name, run)`. */
export interface ContractCase {
  readonly name: string
  run(): void | Promise<void>
}

export interface PolicyHarness {
  /** A new policy of the kind under test. */
  policy(): DeliveryPolicy
  /** A new hub on a manual clock, whose topics keep no history, so that all that is kept is kept for the slow. */
  hub(): { hub: ConnectionManager; scheduler: ManualScheduler }
}

const TOPIC = 'contract'
const bytes = (size: number): Uint8Array => new Uint8Array(size).fill(120)

const harnessRule = having('a harness', 'policy', 'hub')

/** What every delivery policy must keep, whatever else it decides. */
export function policyContract(harness: PolicyHarness): ContractCase[] {
  checkValue(harness, harnessRule, 'harness')
  const { policy, hub: newHub } = harness
  function setUp(window?: number) {
    const { hub, scheduler } = newHub()
    const faults: unknown[] = []
    hub.events.on('fault', ({ error }) => faults.push(error))
    hub.setDeliveryPolicy(TOPIC, policy())
    // Where a message is delivered only when its receiver confirms it, this one confirms what it reads.
    const acknowledges = policy().confirm === true
    const connect = (id: string, size?: number): FakeConnection => {
      const connection = new FakeConnection({ acknowledges, ...(size !== undefined && { window: size }) })
      connection.client = hub.registerClient(id, connection)
      hub.subscribe(id, TOPIC)
      return connection
    }
    return { hub, scheduler, faults, connect, connection: connect('one', window) }
  }

  return [
    {
      name: 'a client that keeps up gets the first message in the tick it was published in',
      run() {
        const { hub, scheduler, connection } = setUp()
        hub.routeData(TOPIC, bytes(10))
        scheduler.settle()
        assert.deepEqual(connection.seqs(), [1])
      },
    },
    {
      name: 'sequence numbers rise, whatever is dropped (I1)',
      run() {
        const { hub, scheduler, connection } = setUp(500)
        for (let i = 0; i < 200; i++) {
          hub.routeData(TOPIC, bytes(20))
          if (i % 3 === 0) scheduler.advance(7)
          if (i % 10 === 0) connection.read()
        }
        const seqs = connection.seqs()
        assert.ok(seqs.length > 0)
        for (let i = 1; i < seqs.length; i++) assert.ok(seqs[i]! > seqs[i - 1]!, `${seqs[i - 1]} then ${seqs[i]}`)
      },
    },
    {
      name: 'published = delivered + dropped + pending at every moment (I6)',
      run() {
        const { hub, scheduler, connection, faults } = setUp(300)
        for (let i = 0; i < 100; i++) {
          hub.routeData(TOPIC, bytes(30))
          scheduler.advance(i % 5)
          if (i % 20 === 0) connection.read()
          const link = hub.getSubscription('one', TOPIC)
          if (link === undefined) break
          assert.equal(link.delivered + link.dropped + link.pending, link.published)
          assert.ok(link.pending >= 0)
        }
        assert.deepEqual(faults, [])
      },
    },
    {
      name: 'a client that never reads costs the others nothing and the hub no more than 1 MiB',
      run() {
        const { hub, scheduler, connection: stalled, connect } = setUp(0)
        // Under a rate limit everybody falls behind: then the bound is that of the stalled client alone.
        const healthy = Array.from({ length: policy().stepwise ? 0 : 5 }, (_, i) => connect(`healthy-${i}`))
        let most = 0
        for (let i = 0; i < 400; i++) {
          hub.routeData(TOPIC, bytes(16 * 1024))
          scheduler.advance(5)
          most = Math.max(most, hub.getConnectionStats().keptBytes)
        }
        assert.ok(stalled.seqs().length < 400)
        for (const one of healthy) {
          assert.equal(one.closedFor, undefined)
          assert.equal(one.seqs().length, 400)
        }
        // The bound is one of payloads.
        const objects = 64 * (MESSAGE_BYTES + PLACE_BYTES)
        assert.ok(most <= 1024 * 1024 + objects, `${most} bytes were kept`)
      },
    },
    {
      name: 'every drop is told, once, as gaps whose counts add up to the drops',
      run() {
        const { hub, scheduler, connection } = setUp(200)
        for (let i = 0; i < 60; i++) {
          hub.routeData(TOPIC, bytes(50))
          scheduler.advance(30)
        }
        for (let i = 0; i < 100 && connection.closedFor === undefined; i++) {
          connection.read()
          scheduler.advance(1000)
        }
        if (connection.closedFor !== undefined) return
        const link = hub.getSubscription('one', TOPIC)!
        assert.equal(link.pending, 0)
        const told = connection.gaps().reduce((sum, gap) => sum + (gap.count ?? 0), 0)
        assert.equal(told, link.dropped)
      },
    },
    {
      name: 'it can be taken off and put on while clients are behind',
      run() {
        const { hub, scheduler, connection, faults } = setUp(200)
        for (let i = 0; i < 30; i++) {
          hub.routeData(TOPIC, bytes(50))
          scheduler.settle()
          if (connection.closedFor !== undefined) return
          hub.setDeliveryPolicy(TOPIC, i % 2 === 0 ? null : policy())
        }
        for (let i = 0; i < 100; i++) {
          connection.read()
          scheduler.advance(1000)
        }
        const link = hub.getSubscription('one', TOPIC)
        assert.equal(link === undefined || link.pending === 0, true)
        assert.deepEqual(faults, [])
      },
    },
    {
      name: 'its description is plain JSON and names it',
      run() {
        const description = policy().describe()
        assert.deepEqual(JSON.parse(JSON.stringify(description)), description)
        assert.ok(policy().name.startsWith(description.name))
      },
    },
  ]
}
