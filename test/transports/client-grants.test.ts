import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { ClientId, TopicName } from '../../src/core/ids.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import type { TopicsOwner } from '../../src/transports/client-gate.ts'
import { Grants } from '../../src/transports/client-grants.ts'

const TOPIC = 'news' as TopicName
const owner: TopicsOwner = { id: 'ada' as ClientId } as TopicsOwner

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: 0 })
})
afterEach(() => {
  vi.useRealTimers()
})

it('a newer token that came while the process was stopped is read before the older one ends anything', () => {
  const scheduler = new ManualScheduler()
  const expired: TopicName[] = []
  const grants = new Grants((_, topic) => expired.push(topic), scheduler)
  grants.set(owner, TOPIC, 3000)
  scheduler.advance(1000)
  vi.setSystemTime(5000)
  scheduler.block(4000)
  expect(expired).toEqual([])
  grants.set(owner, TOPIC, 60_000)
  scheduler.advance(2000)
  expect(expired).toEqual([])
})

it('a token whose time ended while the process was stopped ends at the next look', () => {
  const scheduler = new ManualScheduler()
  const expired: TopicName[] = []
  const grants = new Grants((_, topic) => expired.push(topic), scheduler)
  grants.set(owner, TOPIC, 3000)
  vi.setSystemTime(5000)
  scheduler.block(4000)
  scheduler.advance(1000)
  expect(expired).toEqual([TOPIC])
  expect(scheduler.timers).toBe(0)
})
