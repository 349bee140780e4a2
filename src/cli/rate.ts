import { setTimeout as sleep } from 'node:timers/promises'
import { InvalidArgumentError } from '../bundled/commander.ts'

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1000, m: 1_000_000 }

/** `128k`: bytes a second. */
export function bytesPerSecond(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([km]?)$/i.exec(text)
  const rate = match ? Number(match[1]) * UNITS[match[2]!.toLowerCase()]! : 0
  if (rate < 1) throw new InvalidArgumentError('A rate is bytes a second, such as 16000, 128k or 2m.')
  return rate
}

/** How often a piece is sent, in ms: small enough to sound steady, large enough to cost little. */
const PIECE_MS = 50

export interface Clock {
  now(): number
  wait(ms: number): Promise<unknown>
}

const realClock: Clock = { now: () => performance.now(), wait: ms => sleep(ms) }

/** Lets bytes through at a rate. Measured from the start, so that late timers do not add up. */
export async function* paced(
  source: AsyncIterable<Uint8Array>,
  rate: number,
  clock: Clock = realClock,
): AsyncGenerator<Uint8Array> {
  const size = Math.max(1, Math.round((rate * PIECE_MS) / 1000))
  const start = clock.now()
  let sent = 0
  for await (const chunk of source) {
    for (let offset = 0; offset < chunk.byteLength; offset += size) {
      const early = start + (sent / rate) * 1000 - clock.now()
      if (early > 0) await clock.wait(early)
      const piece = chunk.subarray(offset, offset + size)
      sent += piece.byteLength
      yield piece
    }
  }
}
