import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { payloadOf, stamp } from '../../bench/load/marker.mjs'
import { MarkerReader } from '../../bench/load/marker-reader.mjs'
import { Tally } from '../../bench/load/tally.mjs'
import { runs } from '../property-runs.ts'

const PAYLOAD = 64

/** What a server sends: payloads with some bytes of its protocol before each. */
function stream(messages: readonly { topic?: number; seq: number; before?: number }[]): Buffer {
  const payload = payloadOf(PAYLOAD)
  return Buffer.concat(
    messages.flatMap(({ topic = 0, seq, before = 3 }) => {
      stamp(payload, topic, seq, 1000)
      return [Buffer.alloc(before, '~'), Buffer.from(payload)]
    }),
  )
}

/** Reads it in pieces of these sizes, each from the same buffer, as the sockets do. */
function read(bytes: Buffer, sizes: readonly number[], late = false) {
  const tally = new Tally()
  tally.payloadBytes = PAYLOAD
  tally.begin()
  const reader = new MarkerReader(tally, late)
  const shared = Buffer.alloc(4096, '~!~')
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const count = Math.min(sizes[i % sizes.length]!, bytes.length - at)
    bytes.copy(shared, 0, at, at + count)
    reader.read(shared, count, 3000)
    at += count
  }
  return tally.report()
}

const numbered = (count: number) => Array.from({ length: count }, (_, seq) => ({ seq }))

describe('the load generator counts', () => {
  it('every payload once, in order, wherever the reads end', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 9 }), { minLength: 1, maxLength: 30 }),
        fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 20 }),
        (gaps, sizes) => {
          const bytes = stream(gaps.map((before, seq) => ({ seq, before })))
          expect(read(bytes, sizes)).toMatchObject({
            deliveries: gaps.length,
            bytes: bytes.length,
            lost: 0,
            disordered: 0,
          })
        },
      ),
      runs(2000),
    )
  })

  it('in reads of one byte', () => {
    expect(read(stream(numbered(20)), [1])).toMatchObject({ deliveries: 20, lost: 0, disordered: 0 })
  })

  it('a payload only when all of it is there', () => {
    const bytes = stream(numbered(2))
    expect(read(bytes.subarray(0, -1), [100])).toMatchObject({ deliveries: 1 })
  })

  it('what was skipped as lost, and what comes again or late as out of order', () => {
    expect(read(stream([{ seq: 0 }, { seq: 3 }, { seq: 4 }]), [50])).toMatchObject({ deliveries: 3, lost: 2 })
    expect(read(stream([{ seq: 0 }, { seq: 1 }, { seq: 1 }]), [50])).toMatchObject({ lost: 0, disordered: 1 })
    expect(read(stream([{ seq: 2 }]), [50])).toMatchObject({ lost: 2 })
  })

  it('each topic by itself', () => {
    const mixed = [0, 1, 2].flatMap(seq => [5, 6, 7].map(topic => ({ topic, seq })))
    expect(read(stream(mixed), [77])).toMatchObject({ deliveries: 9, lost: 0, disordered: 0 })
    expect(read(stream([...mixed, { topic: 6, seq: 9 }]), [77])).toMatchObject({ lost: 6 })
  })

  it('one that joins late from the first that it sees', () => {
    expect(read(stream([{ seq: 7 }, { seq: 8 }]), [50], true)).toMatchObject({ deliveries: 2, lost: 0 })
    expect(read(stream([{ seq: 7 }, { seq: 9 }]), [50], true)).toMatchObject({ lost: 1 })
  })

  it('the time from publish to the read', () => {
    const { latencyMs } = read(stream(numbered(3)), [500])
    expect(latencyMs.p50).toBeCloseTo(2, 1)
    expect(latencyMs.p99).toBeCloseTo(2, 1)
  })
})
