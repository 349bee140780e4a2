// A delivery policy of your own in a dozen lines: a client that is behind gets no burst of more than a kilobyte. Then the contract that
// every policy must keep, run on it.
//
//   npm run build && node examples/custom-policy.mjs
import { createHub, openTopics } from 'hubline'
import { ManualScheduler, policyContract } from 'hubline/testing'

const LARGE = 1024

/** @type {import('hubline').DeliveryPolicy} */
export const smallFirst = Object.freeze({
  name: 'small-first',
  backlog: { kind: 'log', messages: 1000, bytes: 512 * 1024, overflow: 'drop-oldest' },
  open: () => undefined,
  admit(link, batch) {
    if (link.writable) return 'send'
    return batch.bytes > LARGE ? 'drop' : 'defer'
  },
  describe: () => ({ name: 'small-first' }),
})

const cases = policyContract({
  policy: () => smallFirst,
  hub() {
    const scheduler = new ManualScheduler()
    const topics = openTopics({ history: { messages: 0, bytes: 0, ageMs: 0 } })
    return { scheduler, hub: createHub({ scheduler, topics }) }
  },
})

for (const { name, run } of cases) {
  await run()
  console.log(`ok: ${name}`)
}
