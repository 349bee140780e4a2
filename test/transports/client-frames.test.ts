import { EventEmitter } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import type { WebSocket } from 'ws'
import { ClientFrames } from '../../src/transports/client-frames.ts'

class FakeSocket extends EventEmitter {
  isPaused = false
  pause(): void {
    this.isPaused = true
  }
  resume(): void {
    this.isPaused = false
  }
}

function opened() {
  const socket = new FakeSocket()
  const read: string[] = []
  const frames = new ClientFrames(socket as unknown as WebSocket, data => read.push(data.toString().slice(0, 1)))
  const comes = (...texts: string[]) => {
    for (const text of texts) socket.emit('message', Buffer.from(text), false)
  }
  return { socket, read, frames, comes }
}

const large = (letter: string): string => letter.repeat(64 * 1024 + 1)

it('small frames are read as they come', () => {
  const { socket, read, comes } = opened()
  comes('a', 'b', 'c')
  expect([read, socket.isPaused]).toEqual([['a', 'b', 'c'], false])
})

it('one large frame is read in a turn, the order stays, and the socket is read again at the end', async () => {
  const { socket, read, comes } = opened()
  comes('a', large('b'), 'c', large('d'), large('e'), 'f')
  const seen: string[] = []
  while (socket.isPaused) {
    seen.push(read.join(''))
    await nextTurn()
  }
  expect(seen).toEqual(['ab', 'abcd', 'abcde'])
  expect(read.join('')).toBe('abcdef')
  comes('g')
  expect(read.at(-1)).toBe('g')
})

it('what waits is forgotten at the end', async () => {
  const { socket, read, frames, comes } = opened()
  comes(large('a'), 'b')
  frames.end()
  expect(socket.isPaused).toBe(false)
  // As a close for flooding does.
  socket.pause()
  await nextTurn()
  await nextTurn()
  expect([read, socket.isPaused]).toEqual([['a'], true])
})
