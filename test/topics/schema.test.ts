import { Script } from 'node:vm'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { HubError } from '../../src/core/errors.ts'
import { compileJsonSchema, type JsonSchema } from '../../src/topics/json-schema.ts'
import { checkOf, type TopicSchema } from '../../src/topics/schema.ts'
import { mayExplode } from '../../src/topics/schema-time.ts'
import { MAX_JSON_DEPTH } from '../../src/wire/json.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const check = (schema: TopicSchema, value: unknown, contentType = 'application/json') =>
  checkOf(schema)(bytes(typeof value === 'string' ? value : JSON.stringify(value)), contentType)
const refusal = (schema: unknown): string => {
  try {
    checkOf(schema as TopicSchema)
  } catch (error) {
    expect([error instanceof HubError, (error as HubError).code]).toEqual([true, 'REQUEST_INVALID'])
    return (error as HubError).message
  }
  return 'it compiles'
}

const order = {
  type: 'object',
  required: ['items'],
  additionalProperties: false,
  properties: {
    items: { type: 'array', items: { type: 'object', properties: { price: { type: 'number', exclusiveMinimum: 0 } } } },
    state: { enum: ['open', 'paid'] },
    at: { type: 'string', format: 'date-time' },
    'a/b~c': { type: ['string', 'null'] },
  },
}

describe('a JSON Schema', () => {
  it.each([
    [{ items: [{ price: 1 }] }, undefined],
    [{ items: [], 'a/b~c': null }, undefined],
    [{ items: [{ price: 1 }, { price: '1' }] }, '/items/1/price: must be number'],
    [{ items: [{ price: 0 }] }, '/items/0/price: must be > 0'],
    [{}, "payload: must have required property 'items'"],
    [[], 'payload: must be object'],
    [{ items: [], note: 1 }, 'payload: must NOT have additional properties ("note")'],
    [{ items: [], state: 'gone' }, '/state: must be equal to one of the allowed values (["open","paid"])'],
    [{ items: [], at: 'tomorrow' }, '/at: must match format "date-time"'],
    [{ items: [], 'a/b~c': 5 }, '/a~1b~0c: must be string,null'],
  ])('%j: %s', (value, answer) => {
    expect(check(order, value)).toBe(answer)
  })

  it.each([
    ['text/plain', '{}', 'content-type: messages of this topic are JSON, not text/plain'],
    ['application/json', '{"items":', `payload: it is not JSON, or nests deeper than ${MAX_JSON_DEPTH} levels`],
    ['application/json', '', `payload: it is not JSON, or nests deeper than ${MAX_JSON_DEPTH} levels`],
    [
      'application/json',
      `${'['.repeat(100_000)}${']'.repeat(100_000)}`,
      'payload: it is not JSON, or nests deeper than 256 levels',
    ],
    ['application/json; charset=utf-8', '{"items":[]}', undefined],
    ['application/vnd.shop+json', '{"items":[]}', undefined],
  ])('of %s: %.20s', (contentType, text, answer) => {
    expect(check(order, text, contentType)).toBe(answer)
  })

  it('is for UTF-8', () => {
    expect(checkOf(true)(new Uint8Array([0x22, 0xff, 0x22]), 'application/json')).toBe('payload: it is not UTF-8')
  })

  it('does not recurse deeper than JSON may nest', () => {
    const list = { $ref: '#/$defs/list', $defs: { list: { type: 'array', items: { $ref: '#/$defs/list' } } } }
    expect(check(list, `${'['.repeat(250)}${']'.repeat(250)}`)).toBeUndefined()
    expect(check(list, `${'['.repeat(250)}1${']'.repeat(250)}`)).toMatch(/^(\/0)+\.\.\.: must be array$/)
  })

  it('takes no property of every object for one of the message', () => {
    expect(check({ required: ['toString'] }, {})).toBe("payload: must have required property 'toString'")
    expect(
      check({ required: ['constructor'], properties: { constructor: { type: 'number' } } }, '{"constructor":1}'),
    ).toBe(undefined)
    expect(
      check(
        { properties: { __proto__: { type: 'number' } }, additionalProperties: { type: 'number' } },
        '{"__proto__":"x"}',
      ),
    ).toMatch(/must be number$/)
  })

  it('tells one line of ASCII, whatever the names of the members are', () => {
    const told = check(
      { additionalProperties: { type: 'number' } },
      { [`\n\u001b[31m\u202eä\ud800${'x'.repeat(5000)}`]: 'a' },
    )!
    expect(told).toMatch(/^\/\\u000a\\u001b\[31m\\u202e\\u00e4\\ud800x+\.\.\.: must be number$/)
    expect(told.length).toBeLessThan(300)
    expect(check({ additionalProperties: false }, { 'a\nb': 1 })).toBe(
      'payload: must NOT have additional properties ("a\\nb")',
    )
  })

  it('is draft 2020-12, or draft-07 where it says so', () => {
    const tuple = { prefixItems: [{ type: 'string' }], items: false }
    expect(check(tuple, ['a', 1])).toMatch(/^payload: must NOT have more than 1 items/)
    expect(check({ $schema: 'https://json-schema.org/draft/2020-12/schema', ...tuple }, ['a'])).toBeUndefined()
    for (const $schema of ['http://json-schema.org/draft-07/schema#', 'http://json-schema.org/draft-07/schema']) {
      const old = { $schema, items: [{ type: 'string' }], additionalItems: false }
      expect([check(old, ['a']), check(old, ['a', 1])]).toEqual([
        undefined,
        expect.stringMatching(/^payload: must NOT/),
      ])
    }
    expect(refusal({ $schema: 'http://json-schema.org/draft-04/schema#' })).toMatch(
      /^schema: \$schema: there are .*2020-12.*draft-07/,
    )
    expect(refusal({ $schema: 5 })).toMatch(/not 5$/)
  })

  it.each([
    [{ type: 'strin' }, 'schema: /type must be equal to one of the allowed values'],
    [{ properties: { a: { minimun: 1 } } }, 'schema: /properties/a/minimun: there is no such keyword'],
    [{ properties: { a: { type: 'string', pattern: '(' } } }, 'schema: /properties/a/pattern: Unterminated group'],
    [{ items: { type: 'string', format: 'dat' } }, 'schema: unknown format "dat" ignored in schema at path "#/items"'],
    [
      { $ref: 'https://example.org/a.json' },
      'schema: $ref: https://example.org/a.json is not in the schema, and nothing is fetched',
    ],
    [{ $ref: '#/$defs/none' }, 'schema: $ref: #/$defs/none is not in the schema, and nothing is fetched'],
    [[], 'schema: it is a JSON Schema, which is an object'],
    [null, 'schema: it is a JSON Schema, which is an object'],
    ['{}', 'schema: it is a JSON Schema, which is an object'],
  ])('%j is none: %s', (schema, sentence) => {
    expect(refusal(schema)).toBe(sentence)
  })

  it.each([undefined, 'http://json-schema.org/draft-07/schema#'])('may refer to itself as a whole (%s)', $schema => {
    const tree = {
      ...($schema && { $schema }),
      type: 'object',
      properties: { child: { $ref: '#' }, n: { type: 'number' } },
    }
    expect(check(tree, { child: { child: { n: 1 } } })).toBeUndefined()
    expect(check(tree, { child: { child: { n: 'x' } } })).toBe('/child/child/n: must be number')
  })

  it.each([
    [{ $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } }, $ref: '#/$defs/a' }, '/$defs/a/$ref'],
    [{ $ref: '#' }, '/$ref'],
    [{ not: { $ref: '#' } }, '/not/$ref'],
    [{ type: 'object', anyOf: [{ const: 1 }, { allOf: [{ $ref: '#' }] }] }, '/anyOf/1/allOf/0/$ref'],
    [{ if: { $ref: '#' }, else: true }, '/if/$ref'],
    [{ properties: { a: { oneOf: [{ $ref: '#/properties/a' }, true] } } }, '/properties/a/oneOf/0/$ref'],
    [{ dependentSchemas: { a: { $ref: '#' } } }, '/dependentSchemas/a/$ref'],
  ])('names the reference that leads in a circle: %j', (circle, place) => {
    expect(refusal(circle)).toBe(`schema: ${place}: the reference leads back to itself without a step into the message`)
  })

  it.each([
    [{ oneOf: [{ type: 'number' }, { type: 'array', items: { $ref: '#' } }] }, [[1], [[2]]]],
    [{ properties: { not: { $ref: '#' }, if: { $ref: '#' } }, type: 'object' }, { not: { if: {} } }],
    [{ allOf: [{ $ref: '#/$defs/a' }, { $ref: '#/$defs/a' }], $defs: { a: { type: 'number' } } }, 1],
    [{ enum: [{ $ref: '#/enum/0' }] }, { $ref: '#/enum/0' }],
  ])('takes one whose references lead into the message, or only look like a circle: %j', (schema, message) => {
    expect(check(schema as JsonSchema, message)).toBeUndefined()
  })

  it('one that nests beyond the stack is refused, and not more', () => {
    let schema: Record<string, unknown> = {}
    for (let depth = 0; depth < 4000; depth++) schema = { not: schema }
    expect(refusal(schema)).toBe('schema: it nests too deep')
  })

  it('looks at what is short before what may take long, and ends with the first mistake', () => {
    const looked = vi.spyOn(RegExp.prototype, 'test')
    const schema = { type: 'string', maxLength: 5, pattern: '^(a+)+$' }
    expect(check(schema, '"aaaaaa!"')).toBe('payload: must NOT have more than 5 characters')
    const sources = () => looked.mock.contexts.map(context => (context as RegExp).source)
    expect(sources()).not.toContain('^(a+)+$')
    expect(check(schema, '"aa!"')).toBe('payload: must match pattern "^(a+)+$"')
    expect(sources()).toContain('^(a+)+$')
    looked.mockRestore()
  })

  it('takes a value that looks like a reference and is none', () => {
    const check = compileJsonSchema({ const: { $ref: '#/%zz' } })
    expect(check({ $ref: '#/%zz' })).toBeUndefined()
    expect(check({ $ref: '#/' })).toMatch(/constant/)
  })

  it('takes a schema with more values than a call may have arguments', () => {
    const check = compileJsonSchema({ enum: Array.from({ length: 200_000 }, (_, i) => i) })
    expect([check(199_999), check(200_000)]).toEqual([undefined, expect.stringContaining('allowed values')])
  })

  it('keeps nothing of a schema but its check', () => {
    const schema = { type: 'number' }
    const first = checkOf(schema)
    schema.type = 'string'
    expect([first(bytes('1'), 'application/json'), check(schema, 1)]).toEqual([undefined, 'payload: must be string'])
  })

  it('two topics may have schemas of the same $id, also after one that did not compile', () => {
    const $id = 'https://example.org/order'
    expect(check({ $id, type: 'number' }, 'x')).toBeDefined()
    expect(refusal({ $id, type: 'x' })).not.toBe('it compiles')
    expect(check({ $id, type: 'string' }, '"x"')).toBeUndefined()
    expect(check({ $id, type: 'number' }, '1')).toBeUndefined()
  })
})

describe('a Standard Schema', () => {
  it('says the first of what is wrong, and where', () => {
    const schema = z.object({ items: z.array(z.object({ price: z.number().positive() })) })
    expect(check(schema, { items: [{ price: 1 }] })).toBeUndefined()
    expect(check(schema, { items: [{ price: 1 }, { price: -1 }] })).toMatch(/^\/items\/1\/price: Too small/)
    expect(check(schema, 5)).toMatch(/^payload: Invalid input: expected object/)
    const other = {
      '~standard': { validate: () => ({ issues: [{ message: 'no\nno', path: [{ key: 'a' }, 0, 'b/c'] }] }) },
    }
    expect(check(other, 1)).toBe('/a/0/b~1c: no\\u000ano')
    // As arktype's are.
    expect(check(Object.assign(() => undefined, other) as never, 1)).toBe('/a/0/b~1c: no\\u000ano')
  })

  it('must answer at once: a promise is a fault, and one that is rejected ends nothing', async () => {
    const late = { '~standard': { validate: () => Promise.reject(new Error('too late')) } }
    expect(() => check(late, 1)).toThrow(/at once/)
    await Promise.resolve()
  })
})

/** Recursive by two branches: each level of the message doubles the work. */
const doubling = {
  $defs: {
    n: {
      oneOf: [
        { type: 'number' },
        { type: 'array', items: { $ref: '#/$defs/n' } },
        { type: 'array', prefixItems: [{ $ref: '#/$defs/n' }], maxItems: 1 },
      ],
    },
  },
  $ref: '#/$defs/n',
}
/** No cycle, and 2^30 ways through it. */
const chain = {
  $defs: Object.fromEntries(
    Array.from({ length: 30 }, (_, i) => [
      `d${i}`,
      i === 29 ? { type: 'number' } : { anyOf: [{ $ref: `#/$defs/d${i + 1}` }, { $ref: `#/$defs/d${i + 1}` }] },
    ]),
  ),
  $ref: '#/$defs/d0',
}
const TOO_LONG = 'payload: the check against the schema took longer than 50 ms'
const ITEMS = Array.from({ length: 30_000 }, (_, i) => `{"a":{"b":${i}}}`)

describe('a check that can explode', () => {
  it.each<[string, JsonSchema, string, string | undefined]>([
    ['a recursive oneOf', doubling, `${'['.repeat(30)}"x"${']'.repeat(30)}`, 'payload: must be number'],
    ['a chain of anyOf', chain, '"x"', TOO_LONG],
    ['a pattern', { pattern: '^(a+)+$' }, JSON.stringify(`${'a'.repeat(60)}b`), undefined],
    ['a pattern of a name', { patternProperties: { '^(a+)+$': true } }, `{"${'a'.repeat(60)}b":1}`, undefined],
    ['uniqueItems', { uniqueItems: true }, `[${ITEMS}]`, undefined],
  ])('ends after 50 ms: %s', (_, schema, text, answer) => {
    expect(check(schema, text)).toBe(TOO_LONG)
    // The limit leaves nothing behind.
    expect(check(schema, '{"c":1}')).toBe(answer)
  })

  describe('where the time limit ends a check', () => {
    const harmless = { pattern: '^a*$' }
    const timeout = Object.assign(new Error('timeout'), { code: 'ERR_SCRIPT_EXECUTION_TIMEOUT' })

    function timeOut(cpuMs: number) {
      vi.spyOn(process, 'cpuUsage').mockReturnValue({ user: cpuMs * 1000, system: 0 })
      return vi.spyOn(Script.prototype, 'runInContext').mockImplementation(() => {
        throw timeout
      })
    }

    afterEach(() => {
      vi.restoreAllMocks()
    })

    it('begins again if the process did not run meanwhile', () => {
      const run = timeOut(1)
      run.mockImplementationOnce(() => {
        run.mockRestore()
        throw timeout
      })
      expect(check(harmless, '"aaa"')).toBeUndefined()
    })

    it.each([
      [1, 3],
      [49, 1],
    ])('with %i ms of CPU time it rejects the message after %i tries', (cpuMs, tries) => {
      const run = timeOut(cpuMs)
      expect(check(harmless, '"aaa"')).toBe('payload: the check against the schema took longer than 50 ms')
      expect(run).toHaveBeenCalledTimes(tries)
    })
  })

  it.each<[unknown, boolean]>([
    [true, false],
    [{ type: 'object', properties: { price: { type: 'number' } }, required: ['price'] }, false],
    [{ properties: { a: { $ref: '#/$defs/p' }, b: { $ref: '#/$defs/p' } }, $defs: { p: { type: 'number' } } }, false],
    [{ pattern: '^[A-Z]{3}-\\d{4}$' }, false],
    [{ pattern: '^[A-Z]{3,5}$' }, true],
    [{ properties: { child: { $ref: '#' } } }, true],
    [{ $defs: { 'a/b': { items: { $ref: '#/$defs/a~1b' } } }, $ref: '#/$defs/a~1b' }, true],
    [{ $defs: { a: { items: { $ref: '#/$defs/b' } }, b: { items: { $ref: '#/$defs/a' } } }, $ref: '#/$defs/a' }, true],
    [{ $ref: 'other#/x' }, true],
    [{ $ref: '#anchor' }, true],
    [{ $dynamicRef: '#node' }, true],
  ])('knows that of %j: %s', (schema, explodes) => {
    expect(mayExplode(schema as JsonSchema)).toBe(explodes)
  })
})
