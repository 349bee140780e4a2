import { EventEmitter } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { WebSocket } from 'ws'
import { ClientFrames } from '../../src/transports/client-frames.ts'
import { TurnTime } from '../../src/transports/turn-time.ts'

class FakeSocket extends EventEmitter {
  isPaused = false
  pause(): void {
    this.isPaused = true
  }
  resume(): void {
    this.isPaused = false
  }
}

/** Reads letters; a capital takes the rest of the turn. */
function opened() {
  const socket = new FakeSocket()
  const read: string[] = []
  const turn = { over: false }
  const take = (data: Buffer): void => {
    const letter = data.toString()
    read.push(letter)
    if (letter !== letter.toLowerCase()) {
      turn.over = true
      setImmediate(() => {
        turn.over = false
      })
    }
  }
  const frames = new ClientFrames(socket as unknown as WebSocket, take, turn)
  const comes = (...texts: string[]) => {
    for (const text of texts) socket.emit('message', Buffer.from(text), false)
  }
  return { socket, read, frames, comes }
}

it('frames are read as they come while there is time', () => {
  const { socket, read, comes } = opened()
  comes('a', 'b', 'c')
  expect([read, socket.isPaused]).toEqual([['a', 'b', 'c'], false])
})

it('frames wait for a turn with time in their order, and then the socket is read again', async () => {
  const { socket, read, comes } = opened()
  comes('a', 'B', 'c', 'D', 'E', 'f')
  const seen: string[] = []
  while (socket.isPaused) {
    seen.push(read.join(''))
    await nextTurn()
  }
  expect(seen).toEqual(['aB', 'aBcD', 'aBcDE'])
  expect(read.join('')).toBe('aBcDEf')
  comes('g')
  expect(read.at(-1)).toBe('g')
})

it('what waits is forgotten at the end', async () => {
  const { socket, read, frames, comes } = opened()
  comes('A', 'b')
  frames.end()
  expect(socket.isPaused).toBe(false)
  // As a close for flooding does.
  socket.pause()
  await nextTurn()
  await nextTurn()
  expect([read, socket.isPaused]).toEqual([['A'], true])
})

describe('the time of a turn', () => {
  it('is over after 8 ms of all questions together, and begins anew in the next turn', () => {
    let now = 0
    const deferred: (() => void)[] = []
    const turn = new TurnTime({ now: () => now, defer: run => void deferred.push(run) })
    const overAt = (ms: number): boolean => {
      now = ms
      return turn.over
    }
    expect([overAt(10), overAt(17.9), overAt(18)]).toEqual([false, false, true])
    for (const run of deferred.splice(0)) run()
    expect([overAt(20), overAt(27.9), overAt(28)]).toEqual([false, false, true])
    expect(deferred).toHaveLength(1)
  })
})
