import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  commandLines,
  DISCONNECTS,
  ERRORS,
  errorReply,
  isJsonText,
  publicationPush,
  push,
  resultReply,
  UNSUBSCRIBES,
} from '../../src/wire/client-protocol.ts'
import { JsonText, MAX_JSON_DEPTH, parseJson } from '../../src/wire/json.ts'
import { runs } from '../property-runs.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (data: Uint8Array | null) => (data === null ? null : new TextDecoder().decode(data))
const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)

describe('frames', () => {
  it('splits a frame into its lines and skips blank ones', () => {
    expect([...commandLines('{"id":1}\n\n  \r\n{"id":2}\n{}')]).toEqual(['{"id":1}', '{"id":2}', '{}'])
    expect([...commandLines('')]).toEqual([])
    expect([...commandLines('\n\n')]).toEqual([])
  })

  it('makes replies and pushes of one line each', () => {
    expect(resultReply(7, 'subscribe', { offset: 3 })).toBe('{"id":7,"subscribe":{"offset":3}}')
    expect(errorReply(8, ERRORS.internal)).toBe(
      '{"id":8,"error":{"code":100,"message":"internal server error","temporary":true}}',
    )
    expect(push('a/b', 'unsubscribe', UNSUBSCRIBES.server)).toBe(
      '{"push":{"channel":"a/b","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}',
    )
  })
})

describe('a publication', () => {
  it('carries its data as published, digit for digit', () => {
    const data = '{"z":1,"a":12345678901234567890,"a":1.10}'
    expect(text(publicationPush('t', 5, bytes(data)))).toBe(
      `{"push":{"channel":"t","pub":{"data":${data},"offset":5}}}`,
    )
  })

  it('takes any JSON value', () => {
    for (const data of ['null', '0', '""', '[]', ' true ']) {
      expect(parseJson(text(publicationPush('t', 1, bytes(data)))!)).toMatchObject({
        push: { pub: { data: JSON.parse(data) } },
      })
    }
  })

  it('stays on one line: line ends between values become spaces, those inside strings are escaped already', () => {
    const pushed = text(publicationPush('t', 1, bytes('{\r\n  "a": "x\\ny"\n}\n')))!
    expect(pushed).not.toMatch(/[\r\n]/)
    expect(JSON.parse(pushed).push.pub.data).toEqual({ a: 'x\ny' })
  })

  it.each([
    ['nothing', bytes('')],
    ['text', bytes('hello')],
    ['half an object', bytes('{"a":')],
    ['two values', bytes('1 2')],
    ['an attempt to leave the envelope', bytes('1}}}\n{"push":{}')],
    ['a byte order mark', bytes('\ufeff1')],
    ['a raw line end in a string', bytes('"a\nb"')],
    ['what is not UTF-8', Uint8Array.of(0x22, 0xff, 0x22)],
    ['40,000 levels', bytes(nested(40_000))],
    ['a million open brackets', bytes('['.repeat(1_000_000))],
  ])('is no JSON text where it is %s', (_what, data) => {
    expect(isJsonText(data)).toBe(false)
  })

  it('nests as deep as the limit and no deeper', () => {
    expect(parseJson(nested(MAX_JSON_DEPTH))).toBeDefined()
    expect(parseJson(nested(MAX_JSON_DEPTH + 1))).toBeUndefined()
    expect(parseJson(`"${'['.repeat(1000)}"`), 'brackets in a string are no levels').toHaveLength(1000)
  })
})

const rawMember = (json: string, name: string) => new JsonText(json).member(name)?.text

describe('a raw member', () => {
  it('is found whatever stands around it, byte for byte', () => {
    const members = fc.array(fc.tuple(fc.string(), fc.jsonValue()), { maxLength: 5 })
    const space = fc.constantFrom('', ' ', '\n', '\t \r\n')
    fc.assert(
      fc.property(members, fc.jsonValue(), space, fc.nat(5), (others, value, gap, at) => {
        const raw = JSON.stringify(value)
        const all = others
          .filter(([key]) => key !== 'data')
          .map(([key, other]) => [JSON.stringify(key), JSON.stringify(other)])
        all.splice(at, 0, ['"data"', raw])
        const json = `${gap}{${gap}${all.map(([key, other]) => `${key}${gap}:${gap}${other}${gap}`).join(`,${gap}`)}}${gap}`
        expect(JSON.parse(json)).toBeDefined()
        expect(rawMember(json, 'data')).toBe(raw)
      }),
      runs(100),
    )
  })

  it('is the last of its name, as with JSON.parse, however the name is written', () => {
    expect(rawMember('{"a":1,"\\u0061":2}', 'a')).toBe('2')
    expect(rawMember('{"a":{"b":1},"b":"}"}', 'b')).toBe('"}"')
    expect(rawMember('{}', 'a')).toBeUndefined()
    expect(rawMember('{"__proto__":{"a":1}}', 'a')).toBeUndefined()
    expect(rawMember('{"__proto__":[1]}', '__proto__')).toBe('[1]')
  })
})

describe('the numbers of the protocol', () => {
  it('has every error from 100 to 112', () => {
    expect(Object.values(ERRORS).map(({ code }) => code)).toEqual(Array.from({ length: 13 }, (_, i) => 100 + i))
  })

  it('has close codes from 3000 to 3509 whose texts fit into a close frame', () => {
    const codes = Object.values(DISCONNECTS)
    expect(new Set(codes.map(([code]) => code)).size).toBe(codes.length)
    for (const [code, reason] of codes) {
      expect(code).toBeGreaterThanOrEqual(3000)
      expect(code).toBeLessThanOrEqual(3509)
      expect(bytes(reason).byteLength).toBeLessThanOrEqual(123)
    }
  })
})
