import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import type { Registration } from '../../src/core/client.ts'
import { HubError } from '../../src/core/errors.ts'
import { parseTopicName } from '../../src/core/ids.ts'
import { matcherOf, PatternIndex, type PatternOrder } from '../../src/core/pattern-index.ts'
import { bySpecificity, covers, isPattern, MAX_PATTERN_DEPTH, matches, parsePattern } from '../../src/core/patterns.ts'
import { runs } from '../property-runs.ts'

const words = fc.constantFrom('a', 'b', 'ab')
const topics = fc.array(words, { minLength: 1, maxLength: 4 }).map(parts => parseTopicName(parts.join('/')))
const patterns = fc
  .tuple(fc.array(fc.oneof(words, fc.constant('*')), { maxLength: 4 }), fc.constantFrom('a', '*', '**'))
  .map(([parts, last]) => parsePattern([...parts, last].join('/')))

/** As the rule is told to people, in another language than the code: a regular expression. */
function says(pattern: string, topic: string): boolean {
  const source = pattern
    .split('/')
    .map(segment => (segment === '**' ? '[^/]+(/[^/]+)*' : segment === '*' ? '[^/]+' : segment))
    .join('/')
  return new RegExp(`^${source}$`).test(topic)
}

describe('patterns', () => {
  it('match as their rule says', () => {
    fc.assert(
      fc.property(patterns, topics, (pattern, topic) => {
        expect(matches(pattern, topic)).toBe(says(pattern, topic))
        expect(matcherOf(pattern)(topic)).toBe(says(pattern, topic))
      }),
      runs(2000),
    )
  })

  it('cover one another exactly if they match all that the other matches', () => {
    const alphabet = ['a', 'b', 'ab', 'z']
    // Longer than any pattern, so that `**` is told from a row of `*`.
    const all: string[] = []
    for (
      let level = alphabet;
      level[0]!.split('/').length <= 6;
      level = level.flatMap(t => alphabet.map(w => `${t}/${w}`))
    ) {
      all.push(...level)
    }
    const short = fc
      .tuple(fc.array(fc.oneof(words, fc.constant('*')), { maxLength: 2 }), fc.constantFrom('a', '*', '**'))
      .map(([parts, last]) => parsePattern([...parts, last].join('/')))
    fc.assert(
      fc.property(short, short, (wide, narrow) => {
        const every = all.filter(topic => says(narrow, topic)).every(topic => says(wide, topic))
        expect(covers(wide, narrow)).toBe(every)
      }),
      runs(200),
    )
  })

  it.each(['', '/', 'a//b', '**/a', 'a/**/b', 'a*', '*a', '***', 'a/../*', '*/', 'ä/*', 'a b/*'])(
    '%j is none',
    input => {
      expect(() => parsePattern(input)).toThrow(HubError)
    },
  )

  it('have a bounded depth, which a name has not', () => {
    const deep = Array(MAX_PATTERN_DEPTH).fill('*').join('/')
    expect(parsePattern(`/${deep}`)).toBe(deep)
    expect(() => parsePattern(`${deep}/*`)).toThrow(/at most 8 segments/)
    expect(parsePattern('a/b/c/d/e/f/g/h/i')).toBe('a/b/c/d/e/f/g/h/i')
  })

  it('say more the earlier they name a word', () => {
    const sorted = ['a/b', 'a/*', 'a/**', '*/b', '*/*', '**'].map(parsePattern)
    expect([...sorted].reverse().sort(bySpecificity)).toEqual(sorted)
    expect(isPattern('a/b')).toBe(false)
  })
})

describe('the index of patterns', () => {
  it('finds those that match, whatever was added and removed, and keeps nothing of what was removed', () => {
    const steps = fc.array(fc.tuple(patterns, fc.boolean()), { maxLength: 60 })
    fc.assert(
      fc.property(steps, fc.array(topics, { minLength: 5, maxLength: 5 }), (all, asked) => {
        const index = new PatternIndex()
        const kept: PatternOrder[] = []
        const client = {} as Registration
        for (const [pattern, adds] of all) {
          const at = kept.findIndex(order => order.pattern === pattern)
          if (adds || at === -1) {
            const order: PatternOrder = { client, pattern, wish: undefined, topics: 0 }
            kept.push(order)
            index.add(order)
          } else {
            const [order] = kept.splice(at, 1)
            index.remove(order!)
            index.remove(order!)
          }
          expect(index.size).toBe(kept.length)
        }
        for (const topic of asked) {
          const found = index.matching(topic)
          expect(new Set(found)).toEqual(new Set(kept.filter(({ pattern }) => says(pattern, topic))))
          expect(found.length).toBe(new Set(found).size)
        }
        for (const order of kept) index.remove(order)
        expect(index.size).toBe(0)
        for (const topic of asked) expect(index.matching(topic)).toEqual([])
      }),
      runs(500),
    )
  })

  it('keeps no word of what was removed', () => {
    // Its branches are maps of words: what goes in must come out again.
    const set = vi.spyOn(Map.prototype, 'set')
    const drop = vi.spyOn(Map.prototype, 'delete')
    try {
      const index = new PatternIndex()
      const orders = ['a/*', 'a/b/c', 'a/b/**', '*/b/c', '*/*/c/d', '**', 'e', 'a/b'].map(pattern => ({
        ...{ client: {} as Registration, pattern: parsePattern(pattern), wish: undefined, topics: 0 },
      }))
      const words = () => set.mock.calls.length - drop.mock.results.filter(({ value }) => value).length
      for (const order of orders) index.add(order)
      // One for each pattern, and the words of those that name many topics.
      expect(words()).toBe(8 + 6)
      index.remove(orders[1]!)
      expect(words()).toBe(7 + 6)
      for (const order of orders) index.remove(order)
      expect(words()).toBe(0)
    } finally {
      set.mockRestore()
      drop.mockRestore()
    }
  })

  it('finds some hundred thousand clients of one pattern', () => {
    const index = new PatternIndex()
    for (const pattern of ['a/*', 'a/**'].map(parsePattern)) {
      for (let i = 0; i < 200_000; i++) index.add({ client: {} as Registration, pattern, wish: undefined, topics: 0 })
    }
    expect(index.matching(parseTopicName('a/b'))).toHaveLength(400_000)
  })
})
