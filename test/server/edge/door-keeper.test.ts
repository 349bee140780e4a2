import { Server } from 'node:http'
import { Socket } from 'node:net'
import { expect, it } from 'vitest'
import { RunningTime } from '../../../src/running-time.ts'
import { AddressTable } from '../../../src/server/edge/addresses.ts'
import { DoorKeeper } from '../../../src/server/edge/door-keeper.ts'
import { DEFAULT_EDGE_LIMITS } from '../../../src/server/edge/limits.ts'
import { ManualScheduler } from '../../../src/testing/manual-scheduler.ts'
import { Networks } from '../../../src/transports/networks.ts'

it('a connection over the limit may take 2 s to ask, and a stop of the process is none of them', () => {
  const scheduler = new ManualScheduler()
  const door = new DoorKeeper(new RunningTime(scheduler), () => {})
  const server = new Server()
  server.removeAllListeners('connection')
  const entry = new AddressTable(new Networks([]), new Networks([])).of('192.0.2.1')
  const limits = { ...DEFAULT_EDGE_LIMITS, maxConnections: 0 }
  door.watch(
    server,
    () => entry,
    () => limits,
  )
  const socket = new Socket()
  server.emit('connection', socket)
  scheduler.advance(1500)
  scheduler.block(60_000)
  scheduler.advance(300)
  expect(socket.destroyed).toBe(false)
  scheduler.advance(300)
  expect(socket.destroyed).toBe(true)
})
