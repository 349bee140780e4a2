import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { JsonText } from '../../src/wire/json.ts'
import {
  type JsonFault,
  JsonRefused,
  MAX_JSON_TOKEN,
  MAX_JSON_VALUES,
  parseInSteps,
  type SteppedJson,
} from '../../src/wire/json-steps.ts'
import { runs } from '../property-runs.ts'

/** As the server's parser does: a key `__proto__`, and `prototype` within `constructor`, are refused, escaped or not. */
function parse(text: string): unknown {
  return JSON.parse(text, function (this: object, key, value) {
    if (key === '__proto__') throw new SyntaxError(key)
    // An object that JSON made has no name `prototype` but its own.
    if (key === 'constructor' && value !== null && typeof value === 'object' && 'prototype' in value) {
      throw new SyntaxError(key)
    }
    return value
  })
}

interface Outcome {
  readonly result: SteppedJson | undefined
  readonly fault: JsonFault | undefined
  readonly steps: number
  /** Characters of the longest text that was parsed at once. */
  readonly longest: number
}

function inSteps(text: string, step?: number): Outcome {
  let longest = 0
  let steps = 0
  const counted = (part: string): unknown => {
    longest = Math.max(longest, part.length)
    return parse(part)
  }
  try {
    const run = parseInSteps(text, { parse: counted, step })
    for (;;) {
      const { done, value: result } = run.next()
      steps++
      if (done) return { result, fault: undefined, steps, longest }
    }
  } catch (error) {
    if (!(error instanceof JsonRefused)) throw error
    return { result: undefined, fault: error.fault, steps, longest }
  }
}

/** Undefined: it is refused. In an array, because null is a value. */
function atOnce(text: string): [unknown] | undefined {
  try {
    return [parse(text)]
  } catch {
    return undefined
  }
}

// A key that begins with a backslash is left out: after such a key, JSON.parse of Node 24 takes other
// escaped keys for it (https://github.com/nodejs/node/issues/63785).
const keys = fc.oneof(
  fc.constantFrom('', '0', '1', '10', 'a', 'b', 'data', 'x"\\'),
  fc.string().filter(key => !key.startsWith('\\')),
)
const refusedKeys = fc.constantFrom('constructor', 'prototype', '__proto__')
const valuesWith = (keys: fc.Arbitrary<string>) =>
  fc.letrec(tie => ({
    value: fc.oneof(
      { depthSize: 'small' },
      fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.double(), fc.boolean(), fc.constant(null)),
      fc.array(tie('value'), { maxLength: 6 }),
      fc.array(fc.tuple(keys, tie('value')), { maxLength: 6 }).map(entries => new Map(entries as [string, unknown][])),
    ),
  })).value
const spaces = fc.constantFrom('', '', ' ', '\n', '\t\r\n ')

/** JSON of a value, with white space, with keys that come twice, with characters escaped or not. */
function write(value: unknown, gap: string, escaped: boolean): string {
  const string = (text: string) =>
    escaped
      ? `"${Array.from({ length: text.length }, (_, i) => `\\u${text.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')}"`
      : JSON.stringify(text)
  const each = (item: unknown): string => {
    if (typeof item === 'string') return string(item)
    if (Array.isArray(item)) return `[${gap}${item.map(each).join(`${gap},${gap}`)}${gap}]`
    if (!(item instanceof Map)) return JSON.stringify(item) ?? 'null'
    const members = [...item, ...[...item].slice(0, 1)].map(
      ([key, member]) => `${string(key)}${gap}:${gap}${each(member)}`,
    )
    return `{${members.join(`${gap},${gap}`)}}`
  }
  return gap + each(value) + gap
}

const textOf = (values: fc.Arbitrary<unknown>) =>
  fc.tuple(values, spaces, fc.boolean()).map(([value, gap, escaped]) => write(value, gap, escaped))
const text = textOf(valuesWith(fc.oneof({ weight: 2, arbitrary: keys }, { weight: 1, arbitrary: refusedKeys })))
/** When it is broken, a member may replace one of another name: in steps a refused name is also refused in what is replaced. */
const textWithoutRefused = textOf(valuesWith(keys))
const step = fc.integer({ min: 0, max: 12 })

describe('JSON in steps', () => {
  it('comes to what JSON.parse comes to, wherever it is cut', () => {
    fc.assert(
      fc.property(text, step, (json, step) => {
        const expected = atOnce(json)
        const { result } = inSteps(json, step)
        expect(result && [result.value]).toEqual(expected)
        // The order of the keys too.
        expect(JSON.stringify(result?.value)).toBe(JSON.stringify(expected?.[0]))
      }),
      runs(500),
    )
  })

  it('refuses what JSON.parse refuses, wherever it is cut', () => {
    const piece = fc.constantFrom(
      ...'[]{},:"\\ 1-a\u00a0\ufeff',
      '"a"',
      '"b":',
      'null',
      '1,',
      ',1',
      '\\u00e4',
      '"\\u0',
      '\n',
    )
    const random = fc.array(piece, { maxLength: 14 }).map(pieces => pieces.join(''))
    const broken = fc.tuple(textWithoutRefused, fc.nat(), fc.nat(3), piece).map(([json, at, drop, piece]) => {
      const from = at % (json.length + 1)
      return json.slice(0, from) + piece + json.slice(from + drop)
    })
    fc.assert(
      fc.property(fc.oneof(random, broken), step, (json, step) => {
        const expected = atOnce(json)
        const { result } = inSteps(json, step)
        expect(result && [result.value], json).toEqual(expected)
      }),
      runs(2000),
    )
  })

  it.each([
    '[1,]',
    '[,1]',
    '[[,1]]',
    '{"a":1,}',
    '{,"a":1}',
    '[1 2]',
    '[1],',
    '[1]]',
    '1,2',
    '[1',
    '["a',
    '',
    ' ',
    '[{]}',
    '{"a":[}]',
  ])('refuses %s', json => {
    for (let step = 0; step < 4; step++) expect(inSteps(json, step).fault).toBe('invalid')
  })

  it.each([
    ['{"constructor":{"a":1,"b":2,"prototype":3}}', 'invalid'],
    ['{"constructor":{"a":"xxxxxxxx","prototype":{}}}', 'invalid'],
    ['{"a":[{"\\u0063onstructor" : {"b":[1,2,3], "prototyp\\u0065":1}}]}', 'invalid'],
    ['{"constructor":{"a":{"b":1,"prototype":2},"c":3}}', undefined],
    ['{"constructor":[{"a":1,"b":2,"prototype":3}]}', undefined],
    ['{"constructor":{"a":1,"b":["prototype"]},"prototype":1}', undefined],
  ])('takes no `prototype` directly within `constructor`, wherever it is cut: %s', (json, fault) => {
    for (let step = 0; step <= json.length; step++) expect(inSteps(json, step).fault, `step ${step}`).toBe(fault)
  })

  it('tells where each long value ends, so that its members are found without scanning them', () => {
    fc.assert(
      fc.property(
        fc.array(valuesWith(fc.oneof(keys, refusedKeys)), { maxLength: 5 }),
        spaces,
        fc.boolean(),
        step,
        (items, gap, escaped, step) => {
          const json = write(items, gap, escaped)
          const { result } = inSteps(json, step)
          if (result === undefined) return
          const texts = [...new JsonText(json, result.ends).items()].map(item => item.text)
          expect(texts).toEqual([...new JsonText(json).items()].map(item => item.text))
          for (const [from, to] of result.ends) expect(to - from).toBeGreaterThan(step)
        },
      ),
      runs(200),
    )
  })

  const large = 2 * 1024 * 1024
  it.each([
    ['short keys', `{${Array.from({ length: 24_000 }, (_, i) => `"k${i}":1`).join(',')}}`],
    ['one string', `{"a":"${'x'.repeat(large)}"}`],
    ['escapes', `["${'\\n'.repeat(large / 2)}"]`],
    ['escapes of six characters', `["${'\\u20ac'.repeat(large / 6)}"]`],
    ['long numbers', `[${Array.from({ length: 20_000 }, () => `0.${'3'.repeat(100)}`).join(',')}]`],
    ['nested objects', `[${Array.from({ length: 10_000 }, () => '{"a":{}}').join(',')}]`],
    ['a long nest', `${'[0,'.repeat(250)}"${'x'.repeat(large)}"${']'.repeat(250)}`],
    ['long keys', `{${Array.from({ length: 100 }, (_, i) => `"${i}${'k'.repeat(20_000)}":1`).join(',')}}`],
  ])('parses a part of at most 32 KB and one token at once: %s', (_, json) => {
    const { result, steps, longest } = inSteps(json)
    expect(result?.value).toEqual(JSON.parse(json))
    // 256 brackets may have to be added.
    expect(longest).toBeLessThan(32 * 1024 + 20_000 + 600)
    expect(steps).toBeGreaterThan(json.length / (32 * 1024 + 20_000))
  })

  it('counts values, not what looks like them in strings', () => {
    const list = (length: number) => JSON.stringify(Array.from({ length }, () => 1))
    const members = (length: number) =>
      JSON.stringify(Object.fromEntries(Array.from({ length }, (_, n) => [`k${n}`, 1])))
    expect(inSteps(list(MAX_JSON_VALUES - 2)).fault).toBeUndefined()
    expect(inSteps(list(MAX_JSON_VALUES + 1)).fault).toBe('many')
    expect(inSteps(JSON.stringify(['[{,'.repeat(MAX_JSON_VALUES), '"'.repeat(10)])).fault).toBeUndefined()
    expect(inSteps(members(MAX_JSON_VALUES / 4 - 2)).fault).toBeUndefined()
    expect(inSteps(members(MAX_JSON_VALUES / 4 + 1)).fault).toBe('many')
  })

  it('nests 256 levels', () => {
    const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)
    expect([inSteps(nested(256)).fault, inSteps(nested(257)).fault]).toEqual([undefined, 'deep'])
  })

  it.each([
    ['key', (length: number) => `{"${'k'.repeat(length - 2)}":1}`],
    ['number', (length: number) => `[${'1'.repeat(length)}]`],
    ['white space', (length: number) => `[${' '.repeat(length)}1]`],
  ])('a %s has at most 64 KB, because it cannot be cut', (_, json) => {
    const before = `["${'x'.repeat(100_000)}",`
    for (const wrap of [(inner: string) => inner, (inner: string) => `${before}${inner}]`]) {
      expect(inSteps(wrap(json(MAX_JSON_TOKEN))).fault).toBeUndefined()
      expect(inSteps(wrap(json(2 * MAX_JSON_TOKEN))).fault).toBe('long')
    }
  })
})
