import fc from 'fast-check'
import type { TopicName } from '../../src/core/ids.ts'
import { parsePattern, type TopicPattern } from '../../src/core/patterns.ts'

/** Of few words, so that patterns and topics meet. */
const word = fc.constantFrom('a', 'b', 'c')

export const topic = fc.array(word, { minLength: 1, maxLength: 6 }).map(words => words.join('/') as TopicName)

export const pattern: fc.Arbitrary<TopicPattern> = fc
  .tuple(fc.array(fc.oneof(word, fc.constant('*')), { maxLength: 5 }), fc.oneof(word, fc.constantFrom('*', '**')))
  .map(([segments, last]) => parsePattern([...segments, last].join('/')))
