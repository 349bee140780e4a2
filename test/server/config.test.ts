import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type ConfigSources, loadConfig } from '../../src/server/config.ts'
import { startTestServer } from './test-server.ts'

const folder = mkdtempSync(join(tmpdir(), 'hubline-config-'))
const file = (name: string, text: string): string => {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}
const load = (sources: Partial<ConfigSources> = {}) => loadConfig({ env: {}, flags: {}, ...sources })

describe('the configuration', () => {
  it('a topic keeps as much as the hub says, where it does not say otherwise', async () => {
    const server = await startTestServer({
      history: { messages: 10, bytes: 2000, ageMs: 3000 },
      lingerMs: 40,
      topics: { a: { history: { messages: 5 }, lingerMs: 5 }, b: { contentType: 'text/plain' } },
    })
    expect(server.hub.resolveTopic('a').history).toEqual({ messages: 5, bytes: 2000, ageMs: 3000 })
    expect([server.hub.resolveTopic('a').lingerMs, server.hub.resolveTopic('b').lingerMs]).toEqual([5, 40])
    expect(server.hub.resolveTopic('b').history).toEqual({ messages: 10, bytes: 2000, ageMs: 3000 })
    await server.close()
  })

  it('is safe without a word: loopback, bounded', () => {
    expect(load()).toMatchObject({
      host: '127.0.0.1',
      port: 8000,
      insecure: false,
      policy: 'buffered',
      maxMessageBytes: 1048576,
      history: { messages: 256, bytes: 262144, ageMs: 60000 },
      limits: { maxClients: 50000, maxTopics: 100000, maxSubscriptionsPerClient: 128 },
      topics: {},
    })
  })

  it('takes flags before the environment, it before the file, it before the defaults', () => {
    const path = file('a.yaml', 'port: 1\nlogLevel: warn\npingMs: 1000\nlimits:\n  maxTopics: 7\n')
    const env = { HUBLINE_PORT: '2', HUBLINE_LOG_LEVEL: 'error', HUBLINE_LIMITS_MAX_CLIENTS: '5', OTHER: 'x' }
    const config = load({ file: path, env, flags: { port: 3, host: undefined } })
    expect(config).toMatchObject({ port: 3, logLevel: 'error', pingMs: 1000, host: '127.0.0.1' })
    expect(config.limits).toMatchObject({ maxClients: 5, maxTopics: 7, maxSubscriptionsPerClient: 128 })
  })

  it('reads JSON and YAML, and the file that HUBLINE_CONFIG names', () => {
    const good = file('c.json', '{"topics": {"video/main": {"policy": "latest", "contentType": "image/jpeg"}}}')
    expect(load({ env: { HUBLINE_CONFIG: good } }).topics).toEqual({
      'video/main': { policy: 'latest', contentType: 'image/jpeg' },
    })
    expect(load({ env: { HUBLINE_POLICY: '{"name":"drop-slow","timeoutMs":100}' } }).policy).toEqual({
      name: 'drop-slow',
      timeoutMs: 100,
    })
    expect(load({ env: { HUBLINE_POLICY: 'latest', HUBLINE_INSECURE: 'true' } })).toMatchObject({
      policy: 'latest',
      insecure: true,
    })
  })

  it('takes lists with commas from the environment', () => {
    const env = {
      HUBLINE_CALLBACKS_ALLOW: ' 127.0.0.1/32, ::1 ,',
      HUBLINE_API_GATEWAY_ENDPOINTS: 'https://a.example/prod',
      HUBLINE_CALLBACKS_ENABLED: '0',
      HUBLINE_STORE_NODE: 'one',
    }
    expect(load({ env })).toMatchObject({
      callbacks: { enabled: false, allow: ['127.0.0.1/32', '::1'], timeoutMs: 5000 },
      apiGateway: { endpoints: ['https://a.example/prod'], requestsPerSecond: 10_000 },
      store: { node: 'one' },
    })
    expect(load({ env: { HUBLINE_CALLBACKS_ALLOW: '' } }).callbacks.allow).toEqual([])
  })

  const mistakes: [string, Partial<ConfigSources>, RegExp][] = [
    [
      'an unknown key',
      { file: file('1.yaml', 'limts: {}') },
      /config .*1\.yaml: unknown key "limts": did you mean "limits"\?/,
    ],
    [
      'an unknown key inside',
      { file: file('2.yaml', 'limits: { maxClient: 1 }') },
      /unknown key "limits.maxClient": did you mean "limits.maxClients"\?/,
    ],
    [
      'an unknown key of a topic',
      { file: file('3.yaml', 'topics: { a: { polcy: latest } }') },
      /unknown key "topics.a.polcy": did you mean "topics.a.policy"\?/,
    ],
    [
      'an unknown key of a topic whose name has a meaning in replacements',
      { file: file('3b.yaml', "topics: { '$&': { polcy: latest } }") },
      /unknown key "topics\.\$&\.polcy": did you mean "topics\.\$&\.policy"\?/,
    ],
    ['an unknown flag', { flags: { prot: 1 } }, /unknown key "prot": did you mean "port"\?/],
    [
      'an unknown variable',
      { env: { HUBLINE_PROT: '1' } },
      /unknown name "HUBLINE_PROT": did you mean "HUBLINE_PORT"\?/,
    ],
    ['a value out of range', { flags: { port: 70000 } }, /^options: port must be at most 65535, got 70000$/],
    [
      'a value of the wrong kind',
      { env: { HUBLINE_PORT: 'http' } },
      /^environment: port must be a number, got "http"$/,
    ],
    ['an unknown policy', { flags: { policy: 'newest' } }, /policy: .*unknown name "newest": did you mean "latest"\?/],
    [
      'a wrong policy option',
      { file: file('4.yaml', 'policy: { name: drop-slow, timeout: 5 }') },
      /unknown option "timeout": did you mean "timeoutMs"\?/,
    ],
    [
      'a content type that no head can carry',
      { file: file('8-head.yaml', 'topics: { a: { contentType: "text/“x”" } }') },
      /topics\.a\.contentType: it must be printable ASCII/,
    ],
    ['a missing file', { file: join(folder, 'none.yaml') }, /none\.yaml: cannot be read \(ENOENT\)/],
    ['a folder', { file: folder }, /cannot be read \(EISDIR\)/],
    ['broken YAML', { file: file('5.yaml', 'a: [1\nb: 2') }, /5\.yaml:2:1: Flow sequence .* end with a \]$/],
    ['a list', { file: file('6.yaml', '- 1') }, /6\.yaml: settings must be an object, got an array/],
    [
      'an option in the policy of a topic',
      { file: file('7.yaml', 'topics: { a: { policy: { name: drop-slow, timeoutMs: 0 } } }') },
      /7\.yaml: topics\.a\.policy\.timeoutMs must be an integer from 1 to 3600000, got 0$/,
    ],
    [
      'a policy that is none',
      { file: file('8.yaml', 'policy: 5') },
      /8\.yaml: policy: give a name, such as "latest", or an object with a name \(given: 5\)$/,
    ],
    [
      'an allowed policy that is none',
      { file: file('9.yaml', 'topics: { a: { allowedPolicies: [latst] } }') },
      /9\.yaml: topics\.a\.allowedPolicies\.0 must be one of .*, got "latst"; did you mean "latest"\?$/,
    ],
    [
      'a topic that is there twice',
      { file: file('10.yaml', 'topics: { a/b: {}, /a/b: {} }') },
      /10\.yaml: topics: "a\/b" and "\/a\/b" are the same$/,
    ],
    [
      'a pattern that is none',
      { file: file('14.yaml', 'topics: { video/**/hd: {} }') },
      /^config .*14\.yaml: topics: "video\/\*\*\/hd" is no pattern: .*the last one "\*\*"/,
    ],
    [
      'a pattern of a tenant that is none',
      { file: file('20.yaml', 'tenants: { acme: { topics: { a//b: {} } } }') },
      /^config .*20\.yaml: tenants\.acme\.topics: "a\/\/b" /,
    ],
    [
      'a topic that the file and the environment name',
      { file: file('21.yaml', 'topics: { a/b: {} }'), env: { HUBLINE_TOPICS: '{"/a/b":{}}' } },
      /^config: topics: "a\/b" and "\/a\/b" are the same$/,
    ],
    [
      'a list that is none',
      { file: file('22.yaml', 'sessions: { jwt: { issuer: 5 } }') },
      /^config .*22\.yaml: sessions\.jwt\.issuer must be an array, got 5$/,
    ],
    ['an empty name', { flags: { host: '' } }, /^options: host must have at least 1 characters, got 0$/],
    [
      'a rate that must be more than 0',
      { flags: { topics: { a: { publishRate: { messages: 0 } } } } },
      /^options: topics\.a\.publishRate\.messages must be more than 0, got 0$/,
    ],
    [
      'a schema that is none',
      { flags: { topics: { a: { schema: 5 } } } },
      /^options: topics\.a\.schema must have one of the forms that it may have, got 5$/,
    ],
    [
      'a preamble that is no base64',
      { flags: { topics: { a: { preamble: '?' } } } },
      /^options: topics\.a\.preamble: it is not base64 \(given: "\?"\)$/,
    ],
    [
      'an unknown key far from all others',
      { flags: { tcp: { nagle: true } } },
      /^options: unknown key "tcp\.nagle": known names: notSentLowatBytes, sendBufferBytes$/,
    ],
    [
      'a variable far from all others',
      { env: { HUBLINE_XYZ: '1' } },
      /unknown name "HUBLINE_XYZ": docs\/configuration\.md/,
    ],
    [
      'an unknown key inside a part of a rule',
      { file: file('15.yaml', 'topics: { a/*: { publishRate: { message: 5 } } }') },
      /unknown key "topics\.a\/\*\.publishRate\.message": did you mean "topics\.a\/\*\.publishRate\.messages"\?/,
    ],
    [
      'a schema with a word that JSON Schema has not',
      { file: file('16.yaml', 'topics: { a: { schema: { properties: { n: { type: number, minimun: 1 } } } } }') },
      /^config .*16\.yaml: topics\.a\.schema: \/properties\/n\/minimun: there is no such keyword$/,
    ],
    [
      'a schema for what is no JSON',
      { file: file('17.yaml', 'topics: { a: { schema: { type: object }, contentType: text/plain } }') },
      /17\.yaml: topics\.a\.schema: it is for JSON, and contentType says text\/plain$/,
    ],
    [
      'metadata that nests too deep',
      { file: file('18.json', `{"topics":{"a":{"metadata":{"x":${'['.repeat(100)}${']'.repeat(100)}}}}}`) },
      /topics\.a\.metadata: it nests deeper than 32 levels$/,
    ],
    [
      'metadata that is too long',
      { file: file('19.json', `{"topics":{"a":{"metadata":{"x":"${'y'.repeat(70_000)}"}}}}`) },
      /topics\.a\.metadata: it is longer than 65536 bytes$/,
    ],
    [
      'a word for unknown topics that is none',
      { env: { HUBLINE_UNKNOWN_TOPICS: 'deny' } },
      /^environment: unknownTopics must be one of "allow", "refuse", got "deny"$/,
    ],
    [
      'a topic that would be lost',
      { file: file('11.yaml', 'topics: { __proto__: { policy: latest } }') },
      /11\.yaml: topics: "__proto__" cannot have settings/,
    ],
    [
      'the same in a variable, beside a file',
      { file: file('12.yaml', 'topics: { a: {} }'), env: { HUBLINE_TOPICS: '{"__proto__":{}}' } },
      /^environment: topics: "__proto__" cannot/,
    ],
    [
      'an address that is none',
      { flags: { callbacks: { allow: ['10.0.0.0/99'] } } },
      /callbacks\.allow\.0: "10\.0\.0\.0\/99" is neither/,
    ],
    [
      'an address that is none in a variable',
      { env: { HUBLINE_CALLBACKS_ALLOW: '::1,me' } },
      /^environment: callbacks\.allow\.1: "me" is/,
    ],
    ['a name of a node that no key can have', { env: { HUBLINE_STORE_NODE: 'a b' } }, /store\.node: .*without spaces/],
    [
      'a secret that is none',
      { env: { HUBLINE_CALLBACKS_SECRET: 'hunter2' } },
      /^environment: callbacks\.secret: it must be whsec_/,
    ],
    [
      'a store that is none',
      { env: { HUBLINE_STORE_REDIS_URL: 'http://:hunter2@x' } },
      /store\.redisUrl: it begins with redis:\/\/ or/,
    ],
    ['a store of the wrong kind', { file: file('13.yaml', 'store: hunter2') }, /store must be an object, got a string/],
    ['broken JSON in a variable', { env: { HUBLINE_TOPICS: '{"a":' } }, /HUBLINE_TOPICS is no valid JSON/],
  ]
  for (const [what, sources, sentence] of mistakes) {
    it(`says what is wrong with ${what}, in one line`, () => {
      expect(() => load(sources)).toThrow(sentence)
      expect(() => load(sources)).not.toThrow('hunter2')
      try {
        load(sources)
      } catch (error) {
        expect((error as { code: string }).code).toBe('CONFIG_INVALID')
        expect((error as Error).message).not.toContain('\n')
      }
    })
  }

  it('takes patterns, every field of a rule, and a schema, policy or metadata as one value', () => {
    const rule = {
      ...{ policy: 'latest', allowedPolicies: ['latest'], contentType: 'application/json', history: { messages: 1 } },
      ...{
        schema: { type: 'object' },
        maxMessageBytes: 10,
        maxSubscribers: 2,
        publishRate: { messages: 5, bytes: 100 },
      },
      ...{ priority: 'high', presence: true, subscribe: 'users', publish: 'nobody', wildcards: false },
      ...{ metadata: { unit: 'C', place: 'roof' }, lingerMs: 5, preamble: 'AAEC' },
    }
    const path = file('rules.json', JSON.stringify({ topics: { 'sensors/**': rule } }))
    expect(load({ file: path }).topics).toEqual({ 'sensors/**': rule })
    const env = {
      HUBLINE_TOPICS: '{"sensors/**":{"metadata":{"unit":"F"},"schema":{"minProperties":1},"history":{"bytes":7}}}',
    }
    expect(load({ file: path, env }).topics['sensors/**']).toEqual({
      ...rule,
      ...{ metadata: { unit: 'F' }, schema: { minProperties: 1 }, history: { messages: 1, bytes: 7 } },
    })
  })

  it('lets a command have defaults of its own, below everything that was said', () => {
    const defaults = { logLevel: 'warn' }
    const path = file('d.yaml', 'logLevel: error')
    expect(load({ defaults }).logLevel).toBe('warn')
    expect(load({ defaults, file: path }).logLevel).toBe('error')
    expect(load({ defaults, file: path, env: { HUBLINE_LOG_LEVEL: 'debug' } }).logLevel).toBe('debug')
  })

  it('leaves alone what is not a setting, and a file that was not named', () => {
    const env = { HUBLINE_TEST_X: '1', HUBLINE_PROPERTY_RUNS: '1', HUBLINE_DEBUG: '1', HUBLINE_CONFIG: '' }
    expect(load({ env })).toEqual(load())
  })

  it('does not listen to others without being told that this is open to all', () => {
    for (const host of ['0.0.0.0', '::', '192.168.1.5', 'example.org', '127.example.org']) {
      expect(() => load({ flags: { host } })).toThrow(/--insecure/)
      expect(load({ flags: { host, insecure: true } }).host).toBe(host)
    }
    for (const host of ['127.0.0.1', '127.0.0.5', 'localhost', '::1']) expect(load({ flags: { host } }).host).toBe(host)
  })
})
