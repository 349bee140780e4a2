import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const PROGRAM = join(import.meta.dirname, 'churn.mjs')
const execute = promisify(execFile)
/** What the runtime's own books may grow by, in bytes: 45,000 cycles that left 10 bytes each would be more. */
const FLAT_BYTES = 400_000

it('50,000 clients that come, subscribe and go leave nothing in the books, and the heap is flat', {
  timeout: 180_000,
}, async () => {
  const env = { ...process.env, NODE_OPTIONS: '' }
  const { stdout } = await execute(process.execPath, ['--expose-gc', PROGRAM], { env })
  const { clientsTotal, left, heaps } = JSON.parse(stdout) as Record<string, unknown> & { heaps: number[] }
  expect(clientsTotal).toBe(50_000)
  expect(left).toEqual({
    ...{ clients: 0, users: 0, topics: 0, subscriptions: 0, patterns: 0 },
    // The housekeeping's.
    ...{ keptBytes: 0, pending: 0, timers: 1 },
  })
  const [first, last] = [heaps[1]!, heaps.at(-2)!]
  expect(last - first).toBeLessThan(FLAT_BYTES)
  expect(heaps.at(-1)).toBeLessThan(first + FLAT_BYTES)
})
