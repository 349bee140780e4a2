import { afterEach, expect, test, vi } from 'vitest'
import { eventLoop } from '../../../src/event-loop.ts'
import { createHub } from '../../../src/hub.ts'
import { openTopics } from '../../../src/open-topics.ts'
import { Simulation } from '../../../src/server/demo/simulation.ts'
import { socketPair } from '../../../src/server/demo/socket-connection.ts'

const TOPIC = 'demo/camera'
const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

/** The one client of the simulation that has a real socket, beside a source of 400 KB/s. */
async function start() {
  const hub = createHub({ scheduler: eventLoop, topics: openTopics({}) })
  const pair = await socketPair()
  const simulation = new Simulation({
    ...{ hub, scheduler: eventLoop, topic: TOPIC, stateTopic: 'state', publish: () => {}, pair },
  })
  const source = setInterval(() => hub.routeData(TOPIC, new Uint8Array(20_000)), 50)
  ends.push(
    () => hub.close(),
    () => simulation.stop(),
    () => clearInterval(source),
  )
  const figures = () => simulation.state().clients.find(({ network }) => network === 'socket')!
  const until = (condition: () => boolean) => vi.waitUntil(condition, { timeout: 15_000, interval: 10 })
  return { hub, simulation, pair, figures, until }
}

test('a reader on a real socket reads at the speed that is set, and falls behind like any client', async () => {
  const { hub, simulation, figures, until } = await start()
  await until(() => figures().received >= 10)
  expect(figures()).toMatchObject({ state: 'connected', dropped: 0 })
  simulation.setSpeed(0)
  await until(() => !hub.getClient('socket-latest').writable)
  const { received } = figures()
  // What is under way grows older while nobody reads.
  await until(() => Number(figures().delayMs) > 500)
  // One buffer and one picture at most are read ahead.
  expect(figures().received).toBeLessThanOrEqual(received + 1)
  expect(hub.getClient('socket-latest')).toMatchObject({ protocols: ['tcp'] })
  simulation.setSpeed(1_000_000)
  await until(() => figures().received > received + 10 && Number(figures().delayMs) < 500)
  simulation.stop()
  expect(hub.getConnectionStats().clients).toBe(0)
})

test('comes back on a new socket after the hub has closed it', async () => {
  const { hub, pair, figures, until } = await start()
  await until(() => figures().received > 0)
  pair.peer.socket.destroy()
  await until(() => figures().state === 'disconnected')
  const { received } = figures()
  await until(() => figures().state === 'connected' && figures().received > received)
  expect(figures().disconnects).toBe(1)
  expect([...hub.getActiveClients()].filter(({ id }) => id === 'socket-latest')).toHaveLength(1)
})
