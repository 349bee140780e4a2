import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { BASE64_PATTERN, isBase64 } from '../../src/wire/base64.ts'
import { runs } from '../property-runs.ts'

describe('base64', () => {
  it.each(['', 'AA==', 'AAA=', 'AAAA', '+/+/'])('%j is', text => expect(isBase64(text)).toBe(true))

  it.each(['A', 'A===', 'AA=', 'AAA', 'AA==AAAA', '=AAA', '====', 'AAA\n', ' AAA', '-_-_', 'AAAä', 'AA=A'])(
    '%j is not',
    text => expect(isBase64(text)).toBe(false),
  )

  it('is what the schema of the library and the pattern of the document take', () => {
    const schema = z.base64()
    const pattern = new RegExp(BASE64_PATTERN)
    const piece = fc.constantFrom(...'AZaz09+/==-_ \nä')
    const text = fc.oneof(
      fc.array(piece, { maxLength: 12 }).map(pieces => pieces.join('')),
      fc.uint8Array({ maxLength: 12 }).map(bytes => Buffer.from(bytes).toString('base64')),
    )
    fc.assert(
      fc.property(text, each => {
        expect(isBase64(each)).toBe(schema.safeParse(each).success)
        expect(pattern.test(each)).toBe(isBase64(each))
      }),
      runs(1000),
    )
  })
})
