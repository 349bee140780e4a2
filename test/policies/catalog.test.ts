import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { HubError } from '../../src/core/errors.ts'
import { POLICY_NAMES, parsePolicy, policySchema } from '../../src/policies/catalog.ts'
import { runs } from '../property-runs.ts'

/** The sentence with which a description is refused. */
function refusal(input: unknown): string {
  try {
    parsePolicy(input)
  } catch (error) {
    expect(error).toBeInstanceOf(HubError)
    expect((error as HubError).code).toBe('POLICY_INVALID')
    expect((error as HubError).message).not.toContain('\n')
    return (error as HubError).message
  }
  throw new Error(`accepted: ${JSON.stringify(input)}`)
}

const MAX_BYTES = 256 * 1024 * 1024
const bytes = fc.integer({ min: 1, max: MAX_BYTES })
const messages = fc.integer({ min: 1, max: 1_000_000 })
const rate = fc.double({ min: 0.001, max: 1e9, noNaN: true })
const simple = fc.oneof(
  fc.constantFrom({ name: 'best-effort' }, { name: 'latest' }),
  fc.record(
    {
      name: fc.constant('buffered'),
      bytes,
      messages,
      overflow: fc.constantFrom('drop-oldest', 'drop-newest', 'close'),
    },
    { requiredKeys: ['name'] },
  ),
  fc.record(
    {
      name: fc.constant('drop-slow'),
      timeoutMs: fc.integer({ min: 1, max: 3_600_000 }),
      bytes,
      floorRate: fc.oneof(fc.integer({ min: 1, max: 1_000_000_000 }), fc.constant('none')),
      measure: fc.constantFrom('queue', 'wire'),
    },
    { requiredKeys: ['name'] },
  ),
  fc.record(
    {
      name: fc.constant('reliable'),
      window: fc.integer({ min: 1, max: 100_000 }),
      ackMs: fc.integer({ min: 100, max: 300_000 }),
      tries: fc.integer({ min: 0, max: 100 }),
      giveUp: fc.constantFrom('close', 'skip'),
      bytes,
    },
    { requiredKeys: ['name'] },
  ),
)
const limited = fc
  .record(
    {
      name: fc.constant('rate-limit'),
      messages: rate,
      bytes: rate,
      burst: fc.double({ min: 0.001, max: 3600, noNaN: true }),
      inner: simple,
    },
    { requiredKeys: ['name', 'inner'] },
  )
  .filter(limit => limit.messages !== undefined || limit.bytes !== undefined)
const prioritized = fc.record(
  { name: fc.constant('priority'), socketBytes: bytes, inner: simple },
  { requiredKeys: ['name', 'inner'] },
)

describe('a policy of its description', () => {
  it('describes itself as what it was made of, and that makes the same again', () => {
    fc.assert(
      fc.property(fc.oneof(simple, limited, prioritized), input => {
        const described = parsePolicy(input).describe()
        expect(described).toMatchObject(input)
        expect(parsePolicy(described).describe()).toEqual(described)
        expect(parsePolicy(JSON.parse(JSON.stringify(described))).describe()).toEqual(described)
      }),
      runs(100),
    )
  })

  it('may be a bare name, where nothing else is needed', () => {
    for (const name of POLICY_NAMES.filter(each => each !== 'rate-limit')) {
      expect(parsePolicy(name).describe()).toEqual(parsePolicy({ name }).describe())
    }
    expect(parsePolicy({ name: 'rate-limit', bytes: 10, inner: 'latest' }).describe()).toEqual({
      name: 'rate-limit',
      bytes: 10,
      inner: { name: 'latest' },
    })
    expect(refusal('rate-limit')).toMatch(/^policy\.messages: say how many|^policy\.inner: say what/)
  })
})

describe('a wrong description', () => {
  const mistakes: [unknown, string][] = [
    ['drop-slw', 'policy: unknown name "drop-slw": did you mean "drop-slow"?'],
    [
      { name: 'toString' },
      'policy: unknown name "toString": known names: best-effort, latest, buffered, drop-slow, reliable, priority, rate-limit',
    ],
    [{ name: 'drop-slow', timeout: 5 }, 'policy: unknown option "timeout": did you mean "timeoutMs"?'],
    [{ name: 'latest', bytes: 5 }, 'policy: unknown option "bytes": it takes none'],
    [{ name: 'drop-slow', timeoutMs: 0 }, 'policy.timeoutMs must be an integer from 1 to 3600000, got 0'],
    [{ name: 'drop-slow', timeoutMs: 3_600_001 }, 'policy.timeoutMs must be an integer from 1 to 3600000, got 3600001'],
    [
      { name: 'buffered', bytes: MAX_BYTES + 1 },
      `policy.bytes must be an integer from 1 to ${MAX_BYTES}, got ${MAX_BYTES + 1}`,
    ],
    [{ name: 'rate-limit', inner: 'latest' }, 'policy.messages: say how many messages or bytes a second'],
    [{ name: 'rate-limit', bytes: 1 }, 'policy.inner: say what is limited, such as "latest"'],
    [
      { name: 'rate-limit', bytes: 1, inner: null },
      'policy.inner: give a name, such as "latest", or an object with a name',
    ],
    [{ name: 'rate-limit', bytes: 1, inner: 'latst' }, 'policy.inner: unknown name "latst": did you mean "latest"?'],
    ['relaible', 'policy: unknown name "relaible": did you mean "reliable"?'],
    [{ name: 'reliable', windows: 5 }, 'policy: unknown option "windows": did you mean "window"?'],
    [{ name: 'reliable', window: 0 }, 'policy.window must be an integer from 1 to 100000, got 0'],
    [{ name: 'reliable', window: 100_001 }, 'policy.window must be an integer from 1 to 100000, got 100001'],
    [{ name: 'reliable', ackMs: 99 }, 'policy.ackMs must be an integer from 100 to 300000, got 99'],
    [{ name: 'reliable', ackMs: 300_001 }, 'policy.ackMs must be an integer from 100 to 300000, got 300001'],
    [{ name: 'reliable', tries: -1 }, 'policy.tries must be an integer from 0 to 100, got -1'],
    [{ name: 'reliable', tries: 101 }, 'policy.tries must be an integer from 0 to 100, got 101'],
    [{ name: 'reliable', giveUp: 'drop' }, 'policy.giveUp must be one of "close", "skip", got "drop"'],
    [{ name: 'reliable', bytes: 0 }, `policy.bytes must be an integer from 1 to ${MAX_BYTES}, got 0`],
    [JSON.parse('{"name":"latest","__proto__":{}}'), 'policy: unknown option "__proto__": it takes none'],
  ]
  for (const [input, sentence] of mistakes) {
    it(`${JSON.stringify(input)} is told what to mend`, () => expect(refusal(input)).toBe(sentence))
  }

  it('of any kind and depth is refused with a sentence', () => {
    for (const input of [undefined, null, 5, '', [], {}, () => 'latest']) expect(refusal(input)).toMatch(/^policy: /)
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 3 }), input => {
        if (typeof input !== 'string') expect(refusal(input)).toMatch(/^policy/)
      }),
      runs(100),
    )
  })

  it('with a rate limit inside a rate limit is refused before it is walked', () => {
    const inner = { name: 'rate-limit', bytes: 1, inner: 'latest' }
    expect(refusal({ ...inner, inner })).toBe('policy.inner: rate-limit cannot be inside of another policy')
    const depth = 100_000
    const nested = `${'{"name":"rate-limit","bytes":1,"inner":'.repeat(depth)}"latest"${'}'.repeat(depth)}`
    expect(refusal(JSON.parse(nested))).toBe('policy.inner: rate-limit cannot be inside of another policy')
  })

  it('has the path of the field in a schema around it', () => {
    const schema = z.strictObject({ here: policySchema })
    const issueOf = (here: unknown) => schema.safeParse({ here }).error?.issues[0]
    expect(issueOf({ name: 'rate-limit', bytes: 1, inner: { name: 'drop-slow', timeoutMs: 0 } })).toMatchObject({
      path: ['here', 'inner', 'timeoutMs'],
      message: 'must be an integer from 1 to 3600000, got 0',
    })
    expect(issueOf('latst')).toMatchObject({ path: ['here'], message: 'unknown name "latst": did you mean "latest"?' })
    expect(schema.safeParse({ here: 'latest' }).data).toEqual({ here: 'latest' })
  })
})
