import { expect, it } from 'vitest'
import { contentTypeOf } from '../../src/sending/content-type.ts'

const TEXT = 'text/plain; charset=utf-8'
const JSON_TYPE = 'application/json'

it.each([
  ['{"a":1}', JSON_TYPE],
  [' \n\t[1]', JSON_TYPE],
  ['"text"', JSON_TYPE],
  ['-1.5', JSON_TYPE],
  ['true', JSON_TYPE],
  ['false', JSON_TYPE],
  ['null', JSON_TYPE],
  ['never', TEXT],
  ['{half', TEXT],
  ['hello', TEXT],
  ['é', TEXT],
  ['', TEXT],
  [' \n', TEXT],
])('what %j is, where nobody says so: %s', (body, type) => {
  expect(contentTypeOf(undefined, undefined, Buffer.from(body))).toBe(type)
})

it('what is not UTF-8 is bytes', () => {
  expect(contentTypeOf(undefined, undefined, Buffer.from([0x7b, 0xff, 0x7d]))).toBe('application/octet-stream')
})
