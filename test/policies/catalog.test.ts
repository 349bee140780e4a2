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
    [{ name: 'toString' }, 'policy: unknown name "toString": did you mean "priority"?'],
    [{ name: 'drop-slow', timeout: 5 }, 'policy: drop-slow has no option "timeout": did you mean "timeoutMs"?'],
    [{ name: 'latest', bytes: 5 }, 'policy: latest has no option "bytes": it takes none'],
    [{ name: 'drop-slow', timeoutMs: 0 }, 'policy.timeoutMs: Too small: expected number to be >=1'],
    [{ name: 'drop-slow', timeoutMs: 3_600_001 }, 'policy.timeoutMs: Too big: expected number to be <=3600000'],
    [{ name: 'buffered', bytes: MAX_BYTES + 1 }, `policy.bytes: Too big: expected number to be <=${MAX_BYTES}`],
    [{ name: 'rate-limit', inner: 'latest' }, 'policy.messages: say how many messages or bytes a second'],
    [{ name: 'rate-limit', bytes: 1 }, 'policy.inner: say what is limited, such as "latest"'],
    [
      { name: 'rate-limit', bytes: 1, inner: null },
      'policy.inner: give a name, such as "latest", or an object with a name',
    ],
    [{ name: 'rate-limit', bytes: 1, inner: 'latst' }, 'policy.inner: unknown name "latst": did you mean "latest"?'],
    ['relaible', 'policy: unknown name "relaible": did you mean "reliable"?'],
    [{ name: 'reliable', windows: 5 }, 'policy: reliable has no option "windows": did you mean "window"?'],
    [{ name: 'reliable', window: 0 }, 'policy.window: Too small: expected number to be >=1'],
    [{ name: 'reliable', window: 100_001 }, 'policy.window: Too big: expected number to be <=100000'],
    [{ name: 'reliable', ackMs: 99 }, 'policy.ackMs: Too small: expected number to be >=100'],
    [{ name: 'reliable', ackMs: 300_001 }, 'policy.ackMs: Too big: expected number to be <=300000'],
    [{ name: 'reliable', tries: -1 }, 'policy.tries: Too small: expected number to be >=0'],
    [{ name: 'reliable', tries: 101 }, 'policy.tries: Too big: expected number to be <=100'],
    [{ name: 'reliable', giveUp: 'drop' }, 'policy.giveUp: Invalid option: expected one of "close"|"skip"'],
    [{ name: 'reliable', bytes: 0 }, 'policy.bytes: Too small: expected number to be >=1'],
    [JSON.parse('{"name":"latest","__proto__":{}}'), 'policy: unknown option "__proto__"'],
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
      message: 'Too small: expected number to be >=1',
    })
    expect(issueOf('latst')).toMatchObject({ path: ['here'], message: 'unknown name "latst": did you mean "latest"?' })
    expect(schema.safeParse({ here: 'latest' }).data).toEqual({ here: 'latest' })
  })
})
