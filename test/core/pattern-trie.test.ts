import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseTopicName, type TopicName } from '../../src/core/ids.ts'
import { PatternTrie } from '../../src/core/pattern-trie.ts'
import { bySpecificity, matches, parsePattern, type TopicPattern } from '../../src/core/patterns.ts'
import { runs } from '../property-runs.ts'
import { pattern, topic } from '../topics/arbitraries.ts'

/** What the trie must answer, looked for one by one. */
function reference(patterns: Iterable<TopicPattern>, name: TopicName): TopicPattern[] {
  return [...patterns].filter(each => matches(each, name)).sort(bySpecificity)
}

function trieOf(patterns: Iterable<TopicPattern>): PatternTrie<TopicPattern> {
  const trie = new PatternTrie<TopicPattern>()
  for (const each of patterns) trie.set(each, each)
  return trie
}

describe('a trie of patterns', () => {
  it('finds what looking at every pattern finds, in the same order, while patterns come and go', () => {
    const change = fc.record({ kind: fc.constantFrom('set', 'set', 'delete'), pattern })
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 60 }),
        fc.array(topic, { minLength: 1, maxLength: 5 }),
        (changes, names) => {
          const trie = new PatternTrie<TopicPattern>()
          const there = new Set<TopicPattern>()
          for (const { kind, pattern } of changes) {
            if (kind === 'set') {
              trie.set(pattern, pattern)
              there.add(pattern)
            } else {
              trie.delete(pattern)
              there.delete(pattern)
            }
            for (const name of names) {
              const expected = reference(there, name)
              expect(trie.all(name)).toEqual(expected)
              expect(trie.find(name)).toBe(expected[0])
            }
          }
        },
      ),
      runs(300),
    )
  })

  it('keeps nothing of a pattern that is gone', () => {
    const patterns = ['a/*/c', 'a/**', '**', '*/*/*', 'a/b/*'].map(parsePattern)
    const trie = trieOf(patterns)
    for (const each of patterns) trie.delete(each)
    trie.visited = 0
    expect(trie.find(parseTopicName('a/b/c'))).toBeUndefined()
    expect(trie.visited).toBe(1)
  })

  it('visits as many nodes as a topic has segments, where patterns do not overlap', () => {
    const trie = trieOf(Array.from({ length: 1000 }, (_, index) => parsePattern(`sensors/s${index}/*`)))
    trie.visited = 0
    expect(trie.find(parseTopicName('sensors/s500/temperature'))).toBe('sensors/s500/*')
    expect(trie.visited).toBe(4)
  })

  it('E21: visits fewer than 512 nodes where 1,000 patterns overlap, and does not care how long the topic is', () => {
    const patterns = [1, 2, 3, 4, 5, 6, 7, 8].flatMap(depth =>
      stems(depth - 1).flatMap(stem => ['a', 'b', '*', '**'].map(last => parsePattern([...stem, last].join('/')))),
    )
    expect(patterns.length).toBe(1020)
    const trie = trieOf(patterns)
    for (const name of ['a/a/a/a/a/a/a/x', 'a/a/a/a/a/a/a/a/a', `a${'/a'.repeat(127)}`, 'x/x/x/x/x/x/x/x']) {
      trie.visited = 0
      expect(trie.all(parseTopicName(name))).toEqual(reference(patterns, parseTopicName(name)))
      expect(trie.visited).toBeLessThan(512)
      trie.visited = 0
      trie.find(parseTopicName(name))
      expect(trie.visited).toBeLessThanOrEqual(10)
    }
  })
})

/** Every way to write `a` or `*` into so many segments. */
function stems(length: number): string[][] {
  return Array.from({ length: 2 ** length }, (_, bits) =>
    Array.from({ length }, (_, at) => (bits & (1 << at) ? '*' : 'a')),
  )
}
