import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { HubEvents } from '../../src/core/events.ts'
import type { Codec, Gap } from '../../src/core/message.ts'
import type { DeliveryPolicy } from '../../src/core/policy.ts'
import { createHub } from '../../src/hub.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { latest } from '../../src/policies/latest.ts'
import { priority } from '../../src/policies/priority.ts'
import { rateLimit } from '../../src/policies/rate-limit.ts'
import { reliable } from '../../src/policies/reliable.ts'
import { FakeConnection, fakeCodec } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { clientCodec } from '../../src/transports/client-codec.ts'
import { httpCodecs } from '../../src/transports/codecs.ts'
import type { Outcome } from '../../src/transports/envelope.ts'
import { SseReader } from '../../src/wire/sse-reader.ts'
import { runs } from '../property-runs.ts'
import { FAILS, OK, REFUSES, ScriptedReceiver } from '../transports/scripted-receiver.ts'

const TOPIC = 'a'
const JSON_TYPE = { contentType: 'application/json' }

/** What a receiver learns, in order: a message's number, or a notice. */
type Heard = number | Pick<Gap, 'from' | 'to' | 'count'>

/**
 * A receiver's own account. Each number after `base` arrived, or is within a notice. Where every notice has a count, they sum up to what did
 * not arrive. A notice without one covers what its span says, and nothing else that was lost is outside of all spans.
 */
function expectAccountedFor(heard: readonly Heard[], base: number, last: number): void {
  const arrived = new Set(heard.filter(each => typeof each === 'number'))
  const gaps = heard.filter(each => typeof each !== 'number')
  const lost: number[] = []
  for (let seq = base + 1; seq <= last; seq++) if (!arrived.has(seq)) lost.push(seq)
  const trace = JSON.stringify(heard)
  for (const seq of lost)
    expect(
      gaps.some(({ from, to }) => from <= seq && seq <= to),
      `${seq} of ${trace}`,
    ).toBe(true)
  if (gaps.some(({ count }) => count === null)) return
  expect(
    gaps.reduce((sum, { count }) => sum + count!, 0),
    trace,
  ).toBe(lost.length)
}

const POLICIES: readonly DeliveryPolicy[] = [
  bestEffort(),
  latest(),
  buffered({ messages: 2, overflow: 'drop-oldest' }),
  buffered({ messages: 2, overflow: 'drop-newest' }),
  rateLimit({ messages: 20 }, latest()),
  priority({}, latest()),
]

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      count: fc.integer({ min: 1, max: 4 }),
      key: fc.nat(2),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('read' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(0, 30, 200, 31_000) }) },
)

/** The texts of WebSocket frames that are shorter than 64 KiB. */
function textsOf(bytes: Buffer): string[] {
  const texts: string[] = []
  for (let at = 0; at < bytes.length; ) {
    const short = bytes[at + 1]!
    const start = at + (short < 126 ? 2 : 4)
    at = start + (short < 126 ? short : bytes.readUInt16BE(at + 2))
    texts.push(bytes.toString('utf8', start, at))
  }
  return texts
}

/** What the bytes that a peer was sent mean, by the protocol's own reader. */
const PROTOCOLS: Record<string, { codec: Codec; read: (bytes: Buffer) => Heard[] }> = {
  'server-sent events': {
    codec: httpCodecs.sse.single.text.bare,
    read: bytes =>
      [...new SseReader().push(bytes.toString())].flatMap<Heard>(({ event, id, data }) =>
        event === 'gap' ? [JSON.parse(data) as Gap] : event === 'message' ? [Number(id!.split('-')[1])] : [],
      ),
  },
  'client protocol': {
    codec: clientCodec,
    read: bytes =>
      textsOf(bytes).flatMap<Heard>(text => {
        const { pub, gap } = (JSON.parse(text) as { push: { pub?: { offset: number }; gap?: Gap } }).push
        return pub ? [pub.offset] : gap ? [gap] : []
      }),
  },
  'the fake protocol': {
    codec: fakeCodec,
    read: bytes =>
      bytes
        .toString()
        .split('\n')
        .filter(line => line !== '')
        .map(line => JSON.parse(line))
        .flatMap(each => (each.kind === 'gap' ? [each.gap] : each.kind === 'message' ? [each.seq] : [])),
  },
}

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

function play(
  steps: readonly Step[],
  publish: (key: string) => void,
  scheduler: ManualScheduler,
  read: () => void,
): void {
  for (const each of steps) {
    if (each.do === 'publish') for (let n = 0; n < each.count; n++) publish(`${each.key}`)
    else if (each.do === 'wait') scheduler.advance(each.ms)
    else read()
    scheduler.settle()
  }
}

async function playOn(url: ScriptedReceiver, steps: readonly Step[], publish: (key: string) => void): Promise<void> {
  for (const each of steps) {
    if (each.do === 'publish') for (let n = 0; n < each.count; n++) publish(`${each.key}`)
    await url.run(each.do === 'wait' ? each.ms % 1000 : 1)
  }
}

/** What the receiver of requests took: those that the script answered with ok. */
function heardBy({ made }: ScriptedReceiver, answers: readonly Outcome[], scripted: number): Heard[] {
  const taken = made.filter((_, n) => n >= scripted || (answers[n] ?? OK).kind === 'ok')
  return taken.map(({ envelope: { kind, seq, payload } }) =>
    kind === 'message' ? seq! : (JSON.parse(Buffer.from(payload).toString()) as Gap),
  )
}

describe.each(Object.entries(PROTOCOLS))('%s', (_name, { codec, read }) => {
  it('tells what was lost: exactly, or as a span that covers it, also after the end of a life', () => {
    fc.assert(
      fc.property(
        fc.nat(POLICIES.length - 1),
        fc.constantFrom('now' as const, 'elsewhere' as const, 'start' as const),
        fc.nat(6),
        fc.array(step, { maxLength: 25 }),
        (policy, begins, before, steps) => {
          const scheduler = new ManualScheduler()
          const hub = createHub({ scheduler })
          const publish = (key: string) => hub.routeData(TOPIC, Buffer.from('1'), { ...JSON_TYPE, key })
          for (let n = 0; n < before; n++) publish('k')
          scheduler.settle()
          const sent: Uint8Array[] = []
          let full = false
          const connection = new FakeConnection({ codec })
          connection.write = frame => {
            sent.push(frame)
            return full ? 'full' : 'ok'
          }
          const client = hub.registerClient('c', connection)
          const epoch = hub.positionOf(TOPIC)?.epoch ?? 'none'
          const after = { now: undefined, elsewhere: { epoch: 'other', seq: 3 }, start: { epoch, seq: 0 } }[begins]
          // From the first frame on it is full: everything else happens before it has taken the notice.
          full = true
          client.send(codec.gap!({ topic: TOPIC as never, from: 0, to: 0, count: 0, reason: 'behind' }))
          scheduler.settle()
          hub.subscribe('c', TOPIC, { policy: POLICIES[policy]!, after })
          const base = begins === 'now' ? before : 0
          const drain = () => {
            full = false
            client.drained()
            scheduler.settle()
          }
          play(steps, publish, scheduler, () => {
            drain()
            full = true
          })
          for (let n = 0; n < 3; n++) {
            drain()
            scheduler.advance(2000)
          }
          const heard = read(Buffer.concat(sent)).slice(1)
          expectAccountedFor(heard, base, hub.positionOf(TOPIC)!.seq)
        },
      ),
      runs(150),
    )
  })
})

describe('requests', () => {
  it('tell what was lost, however often the receiver refuses the notice', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom<DeliveryPolicy>(buffered(), reliable({ ackMs: 100 }), latest(), bestEffort()),
        fc.boolean(),
        fc.array(fc.constantFrom(OK, REFUSES, FAILS), { maxLength: 20 }),
        fc.array(step, { maxLength: 12 }),
        async (policy, elsewhere, answers, steps) => {
          const url = new ScriptedReceiver({ topics: [], retry: { retries: 1 }, breaker: { failures: 1000 } })
          url.open()
          url.answers = [...answers]
          const publish = (key: string) => url.hub.routeData(TOPIC, Buffer.from('1'), { key })
          publish('k')
          await url.run(1)
          const after = elsewhere ? { epoch: 'other', seq: 3 } : undefined
          url.hub.subscribe('url', TOPIC, { policy, after })
          const base = elsewhere ? 0 : 1
          await playOn(url, steps, publish)
          await url.run(5000)
          // The receiver is well again. A notice comes without a message, in a while.
          const scripted = url.made.length
          url.answers = []
          await url.run(40_000)
          const subscription = url.hub.getSubscription('url', TOPIC)
          if (subscription === undefined) {
            // A message that is never confirmed ends its client: it resumes after its position, and is owed no notice.
            expect(policy.name).toBe('reliable')
          } else {
            expectAccountedFor(heardBy(url, answers, scripted), base, url.hub.positionOf(TOPIC)!.seq)
            // An event for each loss, and not for each attempt to tell it.
            const events = url.of('gap') as HubEvents['gap'][0][]
            const counted = events.reduce((sum, { gap: { count } }) => sum + (count ?? Number.NaN), 0)
            if (!elsewhere) expect(counted).toBe(subscription.dropped)
          }
          await url.hub.close()
        },
      ),
      runs(30),
    )
  })
})
