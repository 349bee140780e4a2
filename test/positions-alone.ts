import { expect } from 'vitest'
import type { Hub } from '../src/hub.ts'

/** Of all that the hub kept, nothing is left but the positions of topics that nobody uses, which are small. */
export function expectPositionsAlone(hub: Hub): void {
  const { keptBytes, retainedBytes, positions, topics } = hub.getConnectionStats()
  expect({ topics, keptBytes }).toEqual({ topics: 0, keptBytes: retainedBytes })
  expect(keptBytes).toBeLessThanOrEqual(positions * 300)
}
