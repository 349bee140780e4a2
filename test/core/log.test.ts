import fc from 'fast-check'
import { expect, it } from 'vitest'
import { Budget } from '../../src/core/budget.ts'
import { parseTopicName } from '../../src/core/ids.ts'
import { Ledger } from '../../src/core/ledger.ts'
import { Log } from '../../src/core/log.ts'
import type { Message } from '../../src/core/message.ts'
import { runs } from '../property-runs.ts'
import { held } from './held.ts'

const topic = parseTopicName('t')
const message = (seq: number, bytes: number): Message => ({
  ...{
    topic,
    epoch: 'e',
    seq,
    payload: new Uint8Array(bytes),
    bytes,
    held: held(bytes, { places: 0 }),
    contentType: 'x',
    key: undefined,
    correlationId: undefined,
    at: 0,
  },
})
const sum = (messages: readonly Message[]) => messages.reduce((total, { payload }) => total + payload.byteLength, 0)

it('the log answers what a plain array would, however it was filled and trimmed', () => {
  const append = fc.record({ do: fc.constant('append' as const), bytes: fc.nat({ max: 50 }) })
  const trim = fc.record({
    ...{ do: fc.constant('trim' as const), messages: fc.constantFrom(0, 5, 30), bytes: fc.constantFrom(0, 100, 500) },
    ...{ needed: fc.option(fc.nat({ max: 40 })) },
  })
  const actions = fc.array(fc.oneof({ weight: 5, arbitrary: append }, { weight: 1, arbitrary: trim }), {
    maxLength: 300,
    size: 'max',
  })
  fc.assert(
    fc.property(
      actions,
      fc.nat({ max: 320 }),
      fc.nat({ max: 600 }),
      fc.nat({ max: 40 }),
      (steps, cursor, room, most) => {
        const budget = new Budget(() => 1000)
        const log = new Log(new Ledger(budget))
        const model: Message[] = []
        let seq = 0
        for (const step of steps) {
          if (step.do === 'append') {
            const next = message(++seq, step.bytes)
            log.append(next)
            model.push(next)
          } else {
            const keepFrom = step.needed === null ? Number.POSITIVE_INFINITY : seq - step.needed
            log.trim({ messages: step.messages, bytes: step.bytes, ageMs: 1 }, keepFrom, 0)
            const over = () => model.length > step.messages || sum(model) > step.bytes
            while (model.length > 0 && over() && model[0]!.seq < keepFrom) model.shift()
          }
        }
        const after = model.filter(each => each.seq > cursor)
        expect([...log.after(cursor)]).toEqual(after)
        expect(log.bytesAfter(cursor)).toBe(sum(after))
        expect({ count: log.count, bytes: log.bytes, used: budget.used }).toEqual({
          ...{
            count: model.length,
            bytes: sum(model),
            used: model.reduce((used, { payload }) => used + held(payload.byteLength), 0),
          },
        })
        // The floor: as much as fits from the newest on.
        let kept = 0
        while (kept < Math.min(most, model.length) && sum(model.slice(model.length - kept - 1)) <= room) kept++
        const first = model[model.length - kept]
        if (model.length > 0) expect(log.floor(most, room)).toBe(first ? first.seq - 1 : seq)
      },
    ),
    runs(300),
  )
})
