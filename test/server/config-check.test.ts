import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { matches } from '../../src/core/patterns.ts'
import { ruleOrigins, settingsOf } from '../../src/server/config/origins.ts'
import { explainTopic, summarizeRule } from '../../src/server/config/topic-report.ts'
import { isShadowed, warningsOf } from '../../src/server/config/warnings.ts'
import { mergeLayers, readLayers } from '../../src/server/config.ts'
import { configSchema } from '../../src/server/config-schema.ts'
import { configuredRules } from '../../src/server/server-hub.ts'
import { topicRules } from '../../src/topics/registry.ts'
import { runs } from '../property-runs.ts'
import { pattern, topic } from '../topics/arbitraries.ts'

const folder = mkdtempSync(join(tmpdir(), 'hubline-check-'))
const file = (text: string): string => {
  const path = join(folder, 'hubline.yaml')
  writeFileSync(path, text)
  return path
}

/** What `hubline config check` has to say of flags. */
function check(flags: Record<string, unknown>) {
  const config = mergeLayers(readLayers({ env: {}, flags }))
  const rules = configuredRules(config)
  return { config, rules, warnings: warningsOf(config, rules) }
}
const warningsFor = (flags: Record<string, unknown>): string[] => check(flags).warnings

describe('where settings come from', () => {
  const layers = readLayers({
    file: file(
      'port: 1\nlogLevel: warn\nlimits: { maxTopics: 7 }\npolicy: { name: drop-slow, timeoutMs: 9 }\ntopics: { a: {} }',
    ),
    env: { HUBLINE_PORT: '2', HUBLINE_LIMITS_MAX_CLIENTS: '5', HUBLINE_TOPICS: '{"a":{"presence":true},"b/*":{}}' },
    flags: { logLevel: 'error', host: undefined },
  })
  const settings = new Map(settingsOf(layers).map(({ key, shown, from }) => [key, [shown, from]]))

  it('tells the one that won', () => {
    const path = `config ${join(folder, 'hubline.yaml')}`
    expect(settings.get('port')).toEqual(['2', 'HUBLINE_PORT'])
    expect(settings.get('logLevel')).toEqual(['error', '--log-level'])
    expect(settings.get('host')).toEqual(['127.0.0.1', 'default'])
    expect(settings.get('limits.maxTopics')).toEqual(['7', path])
    expect(settings.get('limits.maxClients')).toEqual(['5', 'HUBLINE_LIMITS_MAX_CLIENTS'])
    expect(settings.get('policy')).toEqual(['{"name":"drop-slow","timeoutMs":9}', path])
    expect([...ruleOrigins(mergeLayers(layers), layers)]).toEqual([
      ['a', `${path}, HUBLINE_TOPICS`],
      ['b/*', 'HUBLINE_TOPICS'],
    ])
  })

  it('has every setting that there is', () => {
    const known = [...settings.keys()].map(key => key.split('.')[0])
    expect(new Set(known)).toEqual(
      new Set(Object.keys(configSchema.shape).filter(key => !['topics', 'tenants'].includes(key))),
    )
  })

  it('shows what is no secret beside secrets', () => {
    const jwt = { secret: 'hunter2', issuer: ['https://app.example'], audience: ['hub'] }
    const shown = settingsOf(
      readLayers({
        env: {},
        flags: { sessions: { jwt, apiKeys: { ops: { sha256: 'a'.repeat(64), scopes: ['admin'] } } } },
      }),
    )
    const told = Object.fromEntries(shown.map(({ key, shown: text }) => [key, text]))
    expect(told).toMatchObject({
      'sessions.jwt.secret': '(set, not shown)',
      'sessions.jwt.issuer': '["https://app.example"]',
      'sessions.jwt.audience': '["hub"]',
      'sessions.apiKeys.ops.sha256': '(set, not shown)',
      'sessions.apiKeys.ops.scopes': '(set, not shown)',
    })
  })

  it('never shows a secret', () => {
    const secret = 'whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg=='
    const shown = settingsOf(
      readLayers({
        env: { HUBLINE_CALLBACKS_SECRET: secret, HUBLINE_STORE_REDIS_URL: 'redis://ada:hunter2@host:1' },
        flags: { apiGateway: { endpoints: ['https://ada:hunter2@gateway.example/prod'] } },
      }),
    )
    expect(JSON.stringify(shown)).not.toMatch(/hunter2|aHVudGVy/)
    expect(shown).toContainEqual({
      key: 'callbacks.secret',
      shown: '(set, not shown)',
      from: 'HUBLINE_CALLBACKS_SECRET',
    })
    expect(shown.find(({ key }) => key === 'store.redisUrl')!.shown).toBe('(set, not shown)')
    expect(shown).toContainEqual(
      expect.objectContaining({ key: 'apiGateway.endpoints', shown: '["https://(not shown)@gateway.example/prod"]' }),
    )
    expect(summarizeRule({ metadata: { password: 'hunter2' }, schema: { const: 'hunter2' }, lingerMs: 5 })).toBe(
      'metadata, schema, lingerMs 5',
    )
  })
})

describe('which rule applies', () => {
  const { config, rules } = check({
    topics: {
      'video/**': { presence: true },
      'video/*': { policy: 'latest', history: { messages: 3 } },
      'video/main': {},
    },
  })

  it('has the candidates in their order, and what comes of it', () => {
    const told = explainTopic(config, rules, '/video/side')
    expect(told.slice(0, 3)).toEqual([
      'topic video/side: "video/*" applies, the most specific pattern that matches; it alone, the others add nothing',
      '  1. video/*  <- applies',
      '  2. video/**',
    ])
    expect(told).toContain('  policy: {"name":"latest"}')
    expect(told).toContain('  presence: false  (default)')
    expect(told).toContain('  history: {"messages":3,"bytes":262144,"ageMs":60000}')
    expect(explainTopic(config, rules, 'video/main')[0]).toMatch(
      /^topic video\/main: "video\/main" applies, the rule of its own name/,
    )
    expect(explainTopic(config, rules, 'news')[0]).toBe('topic news: no rule names it')
    expect(() => explainTopic(config, rules, 'video/*')).toThrow(/not a topic name/)
  })

  it('says that a topic is refused', () => {
    const { config, rules } = check({ unknownTopics: 'refuse', topics: { a: {} } })
    expect(explainTopic(config, rules, 'b')).toEqual([
      'topic b: no rule names it',
      '  it is refused with TOPIC_UNKNOWN (unknownTopics: refuse)',
    ])
  })
})

describe('warnings', () => {
  it('has none for what is as it is by default', () => {
    expect(warningsFor({})).toEqual([])
    expect(
      warningsFor({ topics: { a: { policy: 'latest', schema: { type: 'object' } }, 'b/*': { presence: true } } }),
    ).toEqual([])
  })

  it.each([
    [{ insecure: true, host: '0.0.0.0' }, /^insecure: whoever reaches 0\.0\.0\.0 may publish/],
    [{ unknownTopics: 'refuse' }, /^unknownTopics: refuse, and no rule/],
    [
      { maxMessageBytes: 2_000_000 },
      /^policy: buffered lets 1048576 bytes wait, .* 2000000: .* closes whoever is behind$/,
    ],
    [
      { topics: { a: { policy: { name: 'buffered', bytes: 9, overflow: 'drop-oldest' } } } },
      /^topics\.a\.policy: buffered lets 9 bytes .* is dropped for/,
    ],
    [
      { topics: { a: { policy: { name: 'rate-limit', messages: 1, inner: { name: 'buffered', bytes: 9 } } } } },
      /^topics\.a\.policy: /,
    ],
    [
      { topics: { a: { maxMessageBytes: 1_048_577, policy: 'latest' } } },
      /^topics\.a\.maxMessageBytes: .* the server's own 1048576/,
    ],
    [{ topics: { a: { wildcards: true, subscribe: 'users' } } }, /^topics\.a\.wildcards: /],
    [
      { topics: { a: { policy: 'latest', allowedPolicies: ['best-effort'] } } },
      /^topics\.a\.allowedPolicies: its own policy latest/,
    ],
    [
      { limits: { maxRetainedBytes: 1_048_576 }, topics: { a: { history: { bytes: 2_000_000 } } } },
      /^topics\.a\.history\.bytes/,
    ],
    [{ topics: { a: { lingerMs: 50, history: { ageMs: 50 } } } }, /^topics\.a\.lingerMs/],
    [{ topics: { '**': {}, '*': {}, '*/**': {} } }, /^topics\.\*\*: it never applies/],
    [
      { topics: { a: { schema: { properties: { s: { type: 'string', pattern: '^(a+)+$' } } } } } },
      /^topics\.a\.schema: \/properties\/s\/pattern: without maxLength/,
    ],
    [
      { topics: { a: { schema: { items: { uniqueItems: true } } } } },
      /^topics\.a\.schema: \/items\/uniqueItems: without maxItems/,
    ],
  ])('%j', (flags, sentence) => {
    expect(warningsFor(flags)).toEqual([expect.stringMatching(sentence)])
  })

  it('says nothing of expressions and comparisons that are bounded', () => {
    const schema = {
      properties: { s: { pattern: '^(a+)+$', maxLength: 20 } },
      items: { uniqueItems: true, maxItems: 9 },
    }
    expect(warningsFor({ topics: { a: { schema } } })).toEqual([])
  })

  it('calls a rule shadowed where no topic is left to it, and only there', () => {
    const unions = ['**', 'a/**', '*/**', 'a/*/**', '*', 'a/*', '*/*', 'a/*/*'].map(each => fc.constant(each))
    const any = fc.oneof(pattern, ...unions)
    fc.assert(
      fc.property(
        fc.uniqueArray(any, { minLength: 1, maxLength: 12 }),
        fc.array(topic, { minLength: 20 }),
        (all, names) => {
          const rules = topicRules({ rules: Object.fromEntries(all.map(each => [each, {}])) })
          const parsed = rules.list().map(({ pattern }) => pattern)
          for (const each of parsed) {
            if (isShadowed(each, parsed)) expect(names.map(name => rules.resolve(name).rule)).not.toContain(each)
            else expect(unclaimed(each, parsed)).toBe(true)
          }
        },
      ),
      runs(400),
    )
  })
})

/** Is some topic left to the pattern, with words that stand in no other, at one of all depths that matter? */
function unclaimed(pattern: string, all: readonly string[]): boolean {
  const rules = topicRules({ rules: Object.fromEntries(all.map(each => [each, {}])) })
  const stem = pattern.split('/').map(segment => (segment === '*' ? 'x' : segment))
  const tails =
    stem.at(-1) === '**' ? Array.from({ length: 9 }, (_, more) => Array(more + 1).fill('x')) : [[stem.at(-1)]]
  return tails.some(tail => {
    const name = [...stem.slice(0, -1), ...tail].join('/')
    expect(matches(pattern as never, name as never)).toBe(true)
    return rules.resolve(name).rule === pattern
  })
}
