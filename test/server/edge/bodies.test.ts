import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { expect, it } from 'vitest'
import { Bodies } from '../../../src/server/edge/bodies.ts'
import { ManualScheduler } from '../../../src/testing/manual-scheduler.ts'

const LIMIT_MS = 10_000
const SWEEP_MS = 1000

/** Bodies that are swept, and when each was given up. */
function setUp() {
  const scheduler = new ManualScheduler()
  const lateAt: number[] = []
  const bodies = new Bodies(LIMIT_MS, SWEEP_MS, () => lateAt.push(scheduler.now()))
  scheduler.every(SWEEP_MS, () => bodies.sweep())
  return { scheduler, bodies, lateAt }
}

it('a body may take its time, and no more than a sweep longer', () => {
  const { scheduler, bodies, lateAt } = setUp()
  scheduler.advance(500)
  bodies.expect(new IncomingMessage(new Socket()))
  scheduler.advance(LIMIT_MS + 2 * SWEEP_MS)
  expect(lateAt).toEqual([11_000])
})

it('a body is not judged by time in which the process was stopped', () => {
  const { scheduler, bodies, lateAt } = setUp()
  bodies.expect(new IncomingMessage(new Socket()))
  for (let stops = 0; stops < 6; stops++) {
    scheduler.advance(1500)
    scheduler.block(60_000)
  }
  // It has run for 9 s, and for 19 s at the end.
  expect(lateAt).toEqual([])
  scheduler.advance(LIMIT_MS)
  expect(lateAt).toHaveLength(1)
})
