import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { DeliveryPolicy } from '../../src/core/policy.ts'
import { createHub } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { latest } from '../../src/policies/latest.ts'
import { rateLimit } from '../../src/policies/rate-limit.ts'
import { reliable } from '../../src/policies/reliable.ts'
import type { ReceivedMessage } from '../../src/receiving/received-message.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { runs } from '../property-runs.ts'

const POLICIES: Record<string, DeliveryPolicy> = {
  latest: latest(),
  'best-effort': bestEffort(),
  'buffered, oldest first': buffered({ bytes: 40, overflow: 'drop-oldest' }),
  'buffered, newest first': buffered({ bytes: 40, overflow: 'drop-newest' }),
  'buffered, all': buffered({ bytes: 1_000_000 }),
  reliable: reliable({ bytes: 1_000_000 }),
  'rate-limit': rateLimit({ messages: 50 }, latest()),
}

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('publish' as const), key: fc.nat(2), size: fc.nat(30) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('take' as const), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('turn' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(200) }) },
)

/**
 * Whatever the publisher and the consumer do: messages come in order and once, and each one that was published comes or is told as a
 * gap, in its place. What is left at the end comes when the consumer reads on.
 */
it('what a consumer gets, and what it is told that it lost, is everything, in order', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...Object.keys(POLICIES)),
      fc.array(step, { maxLength: 60 }),
      async (name, steps) => {
        const clock = new ManualScheduler()
        const hub = createHub({ scheduler: clock, policy: POLICIES[name]!, topics: openTopics() })
        let [told, got, last, published] = [0, 0, 0, 0]
        const stream = hub.stream('a', {
          onGap({ from, to, count }) {
            expect(to).toBeGreaterThanOrEqual(from)
            told += count!
          },
        })
        const asked: Promise<void>[] = []
        const take = (): void => {
          const came = ({ value }: IteratorResult<ReceivedMessage, undefined>): void => {
            if (value === undefined) return
            expect(value.position.seq, 'in order and once').toBeGreaterThan(last)
            last = value.position.seq
            got++
            if (name === 'latest') expect(Number(value.key)).toBeLessThan(3)
          }
          asked.push(stream.next().then(came))
        }
        const microtasks = async (): Promise<void> => {
          for (let i = 0; i < 20; i++) await undefined
        }
        for (const each of steps) {
          if (each.kind === 'publish') {
            hub.routeData('a', new Uint8Array(each.size), { key: `${each.key}` })
            published++
          } else if (each.kind === 'take') for (let i = 0; i < each.count; i++) take()
          else if (each.kind === 'turn') clock.turn()
          else clock.advance(each.ms)
          await microtasks()
        }
        // The consumer catches up; a last message carries what is still to be told.
        for (let i = 0; i < published + 5; i++) {
          take()
          clock.settle()
          await microtasks()
          clock.advance(100)
          await microtasks()
        }
        expect({ name, sum: got + told }).toEqual({ name, sum: published })
        const [client] = [...hub.getActiveClients()]
        expect(client?.subscriptions[0]).toMatchObject({ published, delivered: got, dropped: told, pending: 0 })
        await stream.return()
        await Promise.all(asked)
        expect(hub.getConnectionStats()).toMatchObject({ clients: 0, retainedBytes: expect.any(Number) })
      },
    ),
    runs(300),
  )
})
