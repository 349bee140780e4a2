import { describe, expect, it } from 'vitest'
import { bytesPerSecond, paced } from '../../src/cli/rate.ts'
import { noticeOf } from '../../src/cli/subscribe.ts'

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

describe('a paced source', () => {
  it('lets bytes through at the rate, whole and in order, also when the timers are late', async () => {
    const source = Uint8Array.from({ length: 10_000 }, (_, i) => i)
    for (const late of [0, 13]) {
      let now = 0
      const clock = {
        now: () => now,
        wait: async (ms: number) => {
          now += ms + late
        },
      }
      const pieces: Uint8Array[] = []
      for await (const piece of paced(one(source), 1000, clock)) pieces.push(piece)
      expect(Buffer.concat(pieces).equals(source)).toBe(true)
      expect(pieces[0]!.byteLength).toBe(50)
      expect(now).toBeGreaterThanOrEqual(9950)
      expect(now).toBeLessThanOrEqual(9950 + late)
    }
  })

  it('reads rates with units and refuses others', () => {
    expect([bytesPerSecond('16000'), bytesPerSecond('128k'), bytesPerSecond('1.5M')]).toEqual([
      16_000, 128_000, 1_500_000,
    ])
    for (const text of ['', 'fast', '0', '-1', '1g', '1kk']) expect(() => bytesPerSecond(text)).toThrow(/128k/)
  })
})

describe('notices', () => {
  it('say what was lost and why the hub closed', () => {
    expect(noticeOf({ event: 'gap', id: '', data: '{"count":3,"reason":"behind"}' })).toBe('[lost 3 messages: behind]')
    expect(noticeOf({ event: 'gap', id: '', data: '{"count":null,"reason":"epoch"}' })).toBe(
      '[lost an unknown number of messages: epoch]',
    )
    expect(noticeOf({ event: 'close', id: '', data: '{"reason":"shutdown"}' })).toBe('[closed by the hub: shutdown]')
  })
})
