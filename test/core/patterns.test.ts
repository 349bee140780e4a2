import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HubError } from '../../src/core/errors.ts'
import { parseTopicName } from '../../src/core/ids.ts'
import {
  bySpecificity,
  covers,
  isPattern,
  MAX_PATTERN_DEPTH,
  matches,
  parsePattern,
  type TopicPattern,
} from '../../src/core/patterns.ts'
import { runs } from '../property-runs.ts'
import { pattern, topic } from '../topics/arbitraries.ts'

describe('patterns', () => {
  it.each([
    ...['', '/', '//', '//a', '//*', 'a/', '/a/', 'a//b', 'a//*', '.', '..', 'a/..', '../*', './**'],
    ...['a*', '*a', 'a/b*', '***', '*/**/*', '**/a', 'a/**/b', '**/**', '+', '#', 'a/+', 'a/#', '>', 'a.>'],
    ...[
      '%zz',
      '%00',
      '%2e%2e%2f*',
      'a\u0000',
      'a\n*',
      'a b',
      '\u202ea/*',
      '\ud800',
      'ä/*',
      'a\\*',
      '[a-z]',
      '{a,b}',
      '(a+)+',
    ],
    ...[
      'x'.repeat(256),
      `${'x'.repeat(254)}/*`,
      `${'*/'.repeat(MAX_PATTERN_DEPTH)}*`,
      `a${'/*'.repeat(MAX_PATTERN_DEPTH)}`,
    ],
    '*/'.repeat(100_000),
  ])('%j is none', input => {
    expect(() => parsePattern(input)).toThrow(HubError)
    try {
      parsePattern(input)
    } catch (error) {
      expect((error as HubError).code).toBe('TOPIC_INVALID')
      expect((error as HubError).message.length).toBeLessThan(2500)
    }
  })

  it('drops one leading slash, as topics do', () => {
    expect(['/a/*', 'a/*', '/**', '*', '/a'].map(parsePattern)).toEqual(['a/*', 'a/*', '**', '*', 'a'])
    expect(parsePattern(`a${'/*'.repeat(MAX_PATTERN_DEPTH - 1)}`)).toHaveLength(15)
    // A name is no deeper for having no asterisk.
    expect(parsePattern('a/b/c/d/e/f/g/h/i/j')).toBe('a/b/c/d/e/f/g/h/i/j')
  })

  it.each([
    ['*', 'a', true],
    ['*', 'a/b', false],
    ['**', 'a', true],
    ['**', 'a/b/c/d/e/f/g/h/i/j/k', true],
    ['a/**', 'a', false],
    ['a/**', 'a/b', true],
    ['a/*/c', 'a/b/c', true],
    ['a/*/c', 'a/b/d', false],
    ['a/*/**', 'a/b', false],
    ['a/*/**', 'a/b/c/d', true],
    ['a', 'a', true],
    ['a', 'A', false],
    ['a/b', 'a', false],
  ])('%s matches %s: %s', (wide, name, answer) => {
    expect(matches(parsePattern(wide), parseTopicName(name))).toBe(answer)
  })

  it('matches as an expression of the same meaning does', () => {
    fc.assert(
      fc.property(pattern, topic, (wide, name) => {
        expect(matches(wide, name)).toBe(naive(wide).test(name))
      }),
      runs(100),
    )
  })

  it('what a narrower pattern matches, one that covers it matches', () => {
    fc.assert(
      fc.property(pattern, pattern, topic, (wide, narrow, name) => {
        if (covers(wide, narrow) && matches(narrow, name)) expect(matches(wide, name)).toBe(true)
      }),
      runs(2000),
    )
  })

  it('covers whatever it matches more of: no pattern is refused that could be allowed', () => {
    fc.assert(
      fc.property(pattern, pattern, (wide, narrow) => {
        expect(covers(wide, narrow)).toBe(samples(narrow).every(name => naive(wide).test(name)))
      }),
      runs(2000),
    )
  })

  it('sorts by what says more, in an order that does not depend on where one begins', () => {
    const best = ['a/b/c', 'a/b/*', 'a/b/**', 'a/*/c', 'a/*/*', 'a/*/**', 'a/**', '*/b/c', '*/*/*', '**']
    expect([...best].reverse().map(parsePattern).sort(bySpecificity)).toEqual(best)
    fc.assert(
      fc.property(pattern, pattern, pattern, (a, b, c) => {
        expect(Math.sign(bySpecificity(a, b))).toBe(-Math.sign(bySpecificity(b, a)) + 0)
        expect(bySpecificity(a, b) === 0).toBe(a === b)
        if (bySpecificity(a, b) < 0 && bySpecificity(b, c) < 0) expect(bySpecificity(a, c)).toBeLessThan(0)
      }),
      runs(100),
    )
  })

  it('one that covers another says less', () => {
    fc.assert(
      fc.property(pattern, pattern, (wide, narrow) => {
        if (wide !== narrow && covers(wide, narrow)) expect(bySpecificity(narrow, wide)).toBeLessThan(0)
      }),
      runs(2000),
    )
  })
})

/** For short topics only: expressions are what the code under test must not use. */
function naive(pattern: TopicPattern): RegExp {
  return new RegExp(
    `^${pattern
      .replaceAll('**', '.+')
      .replaceAll(/(?<!\+)\*/g, '[^/]+')
      .replaceAll('.+', '[^]+')}$`,
  )
}

/** Topics that a pattern matches, with segments that stand in no other pattern. */
function samples(pattern: TopicPattern): string[] {
  if (!isPattern(pattern)) return [pattern]
  const bare = pattern.replace(/(^|\/)\*(?!\*)/g, '$1x').replace(/(^|\/)\*(?!\*)/g, '$1x')
  return ['y', 'y/y', 'y/y/y/y'].map(rest => bare.replace('**', rest))
}
