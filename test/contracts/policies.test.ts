import { describe, it } from 'vitest'
import type { DeliveryPolicy } from '../../src/core/policy.ts'
import { createHub } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { dropSlow } from '../../src/policies/drop-slow.ts'
import { latest } from '../../src/policies/latest.ts'
import { priority } from '../../src/policies/priority.ts'
import { rateLimit } from '../../src/policies/rate-limit.ts'
import { reliable } from '../../src/policies/reliable.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { policyContract } from '../../src/testing/policy-contract.ts'

const KIB = 1024

const policies: Record<string, () => DeliveryPolicy> = {
  'best-effort': () => bestEffort(),
  latest: () => latest(),
  'buffered, close': () => buffered(),
  'buffered, drop-oldest': () => buffered({ overflow: 'drop-oldest' }),
  'buffered, drop-newest': () => buffered({ overflow: 'drop-newest' }),
  'drop-slow 250 ms': () => dropSlow(),
  'drop-slow, strict': () => dropSlow({ floorRate: Number.POSITIVE_INFINITY }),
  'drop-slow on the wire': () => dropSlow({ measure: 'wire' }),
  'rate-limit over best-effort': () => rateLimit({ messages: 10 }, bestEffort()),
  'rate-limit over latest': () => rateLimit({ bytes: 1000 }, latest()),
  'rate-limit over drop-oldest': () => rateLimit({ messages: 10 }, buffered({ overflow: 'drop-oldest' })),
  'rate-limit over drop-slow': () => rateLimit({ messages: 10 }, dropSlow()),
  // As much again as waits may be unconfirmed: together what one client may cost.
  reliable: () => reliable({ bytes: 512 * KIB }),
  'reliable, skip': () => reliable({ bytes: 512 * KIB, window: 3, ackMs: 100, tries: 1, giveUp: 'skip' }),
  priority: () => priority(),
  'priority over best-effort': () => priority({}, bestEffort()),
  'priority over latest': () => priority({ socketBytes: 1000 }, latest()),
  'priority over drop-slow': () => priority({}, dropSlow()),
  'rate-limit over reliable': () => rateLimit({ messages: 10 }, reliable({ bytes: 512 * KIB })),
  'rate-limit over rate-limit': () => rateLimit({ messages: 10 }, rateLimit({ messages: 5 }, latest())),
  'priority over rate-limit over priority': () => priority({}, rateLimit({ messages: 10 }, priority({}, latest()))),
}

for (const [name, policy] of Object.entries(policies)) {
  describe(`policy contract: ${name}`, () => {
    const cases = policyContract({
      policy,
      hub() {
        const scheduler = new ManualScheduler()
        return {
          scheduler,
          hub: createHub({ scheduler, topics: openTopics({ history: { messages: 0, bytes: 0, ageMs: 0 } }) }),
        }
      },
    })
    for (const { name, run } of cases) it(name, run)
  })
}
