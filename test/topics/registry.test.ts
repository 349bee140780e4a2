import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bySpecificity, matches, type TopicPattern } from '../../src/core/patterns.ts'
import { latest } from '../../src/policies/latest.ts'
import { MAX_RULES, topicRules } from '../../src/topics/registry.ts'
import { runs } from '../property-runs.ts'
import { pattern, topic } from './arbitraries.ts'

const code = (act: () => unknown): string => {
  try {
    act()
  } catch (error) {
    return (error as { code: string }).code
  }
  return 'nothing was thrown'
}

describe('rules of topics', () => {
  it('a topic is as the most specific rule says, and that rule alone', () => {
    fc.assert(
      fc.property(fc.uniqueArray(pattern, { maxLength: 30 }), topic, (patterns, name) => {
        const rules = topicRules({
          rules: Object.fromEntries(patterns.map(each => [each, { metadata: { from: each } }])),
        })
        const expected = patterns.filter(each => matches(each, name)).sort(bySpecificity)
        const own = name as string as TopicPattern
        expect(rules.candidates(name)).toEqual(expected)
        if (patterns.includes(own)) expect(expected[0]).toBe(own)
        expect(rules.resolve(name).rule).toBe(expected[0] ?? 'default')
        expect(rules.resolve(name).metadata).toEqual(expected[0] && { from: expected[0] })
      }),
      runs(500),
    )
  })

  it('what the rule does not say is as the defaults have it, bound by bound in the history, and not as a wider rule has it', () => {
    const rules = topicRules({
      defaults: { history: { messages: 9, bytes: 900, ageMs: 9000 }, lingerMs: 3, maxMessageBytes: 50 },
      rules: {
        '**': { policy: latest(), presence: true, history: { messages: 1 } },
        'video/*': { history: { bytes: 5, ageMs: undefined }, lingerMs: undefined, maxMessageBytes: 7 },
      },
    })
    expect(rules.resolve('/video/main')).toEqual({
      name: 'video/main',
      rule: 'video/*',
      history: { messages: 9, bytes: 5, ageMs: 9000 },
      lingerMs: 3,
      maxMessageBytes: 7,
    })
    expect(rules.resolve('x')).toMatchObject({ rule: '**', policy: latest(), presence: true, maxMessageBytes: 50 })
  })

  it('refuses topics that no rule names, where it is told to', () => {
    const rules = topicRules({ rules: { 'video/*': {}, news: {} }, unknownTopics: 'refuse' })
    expect(rules.resolve('news').rule).toBe('news')
    expect(rules.resolve('video/main').rule).toBe('video/*')
    expect(code(() => rules.resolve('video'))).toBe('TOPIC_UNKNOWN')
    expect(code(() => rules.resolve('video/main/hd'))).toBe('TOPIC_UNKNOWN')
    expect(code(() => rules.resolve('video/*'))).toBe('TOPIC_INVALID')
    rules.set('**', {})
    expect(rules.resolve('video').rule).toBe('**')
    rules.delete('**')
    expect(code(() => rules.resolve('video'))).toBe('TOPIC_UNKNOWN')
    expect(topicRules().resolve('anything').rule).toBe('default')
  })

  it('can be changed, listed and read, and tells of each change once it holds', () => {
    const rules = topicRules({ rules: { 'a/*': { presence: true } } })
    const told: unknown[] = []
    const listening = rules.onChange(pattern => told.push([pattern, rules.resolve('a/b').presence]))
    expect(rules.set('/a/b', { presence: false })).toBe('a/b')
    expect(rules.list()).toEqual([
      { pattern: 'a/*', rule: { presence: true } },
      { pattern: 'a/b', rule: { presence: false } },
    ])
    expect(rules.get('/a/b')).toEqual({ presence: false })
    expect([rules.delete('a/b'), rules.delete('a/b'), rules.delete('a/*')]).toEqual([true, false, true])
    listening[Symbol.dispose]()
    rules.set('x', {})
    expect(told).toEqual([
      ['a/b', false],
      ['a/b', true],
      ['a/*', undefined],
    ])
  })

  it('takes a bounded number of rules, and those that it has can still be changed', () => {
    const rules = topicRules()
    for (let index = 0; index < MAX_RULES; index++) rules.set(`t${index}/*`, {})
    expect(code(() => rules.set('one/more', {}))).toBe('LIMIT_EXCEEDED')
    expect(rules.set('t5/*', { presence: true })).toBe('t5/*')
    rules.delete('t6/*')
    expect(rules.set('one/more', {})).toBe('one/more')
  })

  it('a rule that is refused changes nothing and is told to nobody', () => {
    const rules = topicRules({ rules: { a: { presence: true }, 'b/*': { presence: true } } })
    let told = 0
    rules.onChange(() => told++)
    for (const pattern of ['a', 'b/*', 'c']) {
      expect(code(() => rules.set(pattern, { schema: { type: 'nothing' } }))).toBe('REQUEST_INVALID')
      expect(code(() => rules.set(pattern, { schema: true, contentType: 'text/plain' }))).toBe('REQUEST_INVALID')
      expect(code(() => rules.set(pattern, { schema: true, check: () => undefined }))).toBe('REQUEST_INVALID')
    }
    expect(code(() => rules.set('b*', {}))).toBe('TOPIC_INVALID')
    expect([rules.resolve('a').presence, rules.resolve('b/x').presence, rules.get('c'), told]).toEqual([
      ...[true, true, undefined, 0],
    ])
  })

  it('a topic with a schema is of JSON', () => {
    const schema = { type: 'object' }
    const rules = topicRules({ rules: { a: { schema }, b: { schema, contentType: 'application/ld+json' } } })
    expect(rules.resolve('a')).toMatchObject({ contentType: 'application/json', schema })
    expect(rules.resolve('b').contentType).toBe('application/ld+json')
    expect(rules.resolve('c')).not.toHaveProperty('check')
  })
})
