import { describe, expect, it } from 'vitest'
import { ApiKeys } from '../../src/sessions/api-keys.ts'
import { SECRET } from '../sessions/tokens.ts'
import { command } from './in-process.ts'
import { hubline } from './run.ts'

const env = {
  HUBLINE_SESSIONS_JWT_SECRET: SECRET,
  HUBLINE_SESSIONS_JWT_ALGORITHMS: 'HS256',
  HUBLINE_SESSIONS_JWT_ISSUER: 'app',
  HUBLINE_SESSIONS_JWT_AUDIENCE: 'hubline',
}
const run = (args: string[], more: Record<string, string> = {}) => command(['token', ...args], { ...env, ...more })

const check = (token: string, more: Record<string, string> = {}) => run(['check', token.trim()], more)

describe('hubline token', () => {
  it('mints what a hub takes, and prints the token alone', async () => {
    const minted = await run([
      '--user',
      'ada',
      '--subscribe',
      'chat/*,news',
      '--subscribe',
      'a/**',
      '--publish',
      'chat/ada',
      '--ttl',
      '90s',
    ])
    expect([minted.code, minted.stderr]).toEqual([0, ''])
    expect(minted.stdout).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/)
    const { code, stdout } = await check(minted.stdout)
    expect(code).toBe(0)
    expect(stdout).toContain('good: ada may subscribe to [chat/*, news, a/**], publish to [chat/ada] until ')
    const claims = JSON.parse(/^claims: (.*)$/m.exec(stdout)![1]!)
    expect(claims.exp - claims.iat).toBe(90)
  })

  it('check reads the token from stdin where none is given', async () => {
    const { stdout: token } = await run(['--user', 'ada'])
    const checking = hubline(['token', 'check'], env)
    checking.write(token)
    checking.end()
    expect(await checking.finished).toEqual(await check(token))
  })

  it('mints a token for one topic', async () => {
    const { stdout } = await run(['--user', 'ada', '--channel', 'chat/x'])
    expect((await check(stdout)).stdout).toContain('good: a subscription token for chat/x, until ')
  })

  it('check says what is wrong, by the configuration', async () => {
    const { stdout: token } = await run([])
    const cases: [string, Record<string, string>, string][] = [
      [
        token,
        { HUBLINE_SESSIONS_JWT_AUDIENCE: 'other' },
        'refused: audience: aud is "hubline"; the configuration has other',
      ],
      [token, { HUBLINE_SESSIONS_JWT_ISSUER: 'other' }, 'refused: issuer: iss is "app"; the configuration has other'],
      [
        token,
        { HUBLINE_SESSIONS_JWT_ALGORITHMS: 'HS512' },
        'refused: algorithm: alg is "HS256"; the configuration has HS512',
      ],
      [token, { HUBLINE_SESSIONS_JWT_SECRET: `${SECRET}!` }, 'refused: signature: '],
      ['x', {}, 'refused: malformed: it is no JWT'],
    ]
    for (const [given, more, sentence] of cases) {
      const { code, stderr, stdout } = await check(given, more)
      expect([sentence, code]).toEqual([sentence, 1])
      expect(stderr).toContain(sentence)
      expect(stdout + stderr).not.toContain(SECRET)
    }
  })

  it("mints grants for the user's own topics", async () => {
    const minted = await run(['--user', 'ada', '--subscribe', 'users/{user}/**', '--publish', 'users/{user}'])
    expect([minted.code, minted.stderr]).toEqual([0, ''])
    const { stdout } = await check(minted.stdout)
    expect(stdout).toContain('good: ada may subscribe to [users/ada/**], publish to [users/ada] until ')
  })

  it('key makes a key and the hash that belongs to it', async () => {
    const { code, stdout } = await run(['key', '--name', 'ops', '--scope', 'admin,publish'])
    expect(code).toBe(0)
    const key = /^key: +(\S+)$/m.exec(stdout)![1]!
    const sha256 = /^sha256: (\S+)$/m.exec(stdout)![1]!
    expect(new ApiKeys([{ name: 'ops', sha256, scopes: ['admin'] }]).verify(key)?.name).toBe('ops')
    expect(stdout).toContain(`ops: { sha256: ${sha256}, scopes: [admin, publish] }`)
  })

  const wrong: [string, string[], Record<string, string>, RegExp][] = [
    ['a time that is none', ['--ttl', '3x'], {}, /such as 90s or 1h/],
    ['a time beyond what a hub takes', ['--ttl', '2d'], {}, /86400 s \(sessions.jwt.maxTokenMs\)/],
    ['a pattern that is none', ['--subscribe', 'a b'], {}, /is no pattern/],
    ['a pattern with {user} in a segment', ['--publish', 'a-{user}'], {}, /"a-\{user\}" is no pattern/],
    [
      'topics of a subscription token',
      ['--channel', 'a', '--publish', 'b'],
      {},
      /leave --subscribe and --publish away/,
    ],
    ['a scope that is none', ['key', '--scope', 'root'], {}, /one of publish, metrics, read, admin/],
    ['no audience in the configuration', [], { HUBLINE_SESSIONS_JWT_AUDIENCE: '' }, /audience/],
    ['a short secret', [], { HUBLINE_SESSIONS_JWT_SECRET: SECRET.slice(0, 20) }, /at least 32 bytes/],
  ]
  it.each(wrong)('%s is 2 and a sentence', async (_, args, more, sentence) => {
    const { code, stdout, stderr } = await run(args, more)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(sentence)
    expect(stderr).not.toContain(SECRET.slice(0, 20))
  })

  it('without a secret says who makes tokens', async () => {
    const { code, stderr } = await command(['token'])
    expect([code, stderr]).toEqual([2, expect.stringContaining('HUBLINE_SESSIONS_JWT_SECRET')])
  })

  it('teaches in --help', async () => {
    const { stdout } = await run(['--help'])
    for (const word of ['Examples:', 'token key', 'token check', 'docs/security.md']) expect(stdout).toContain(word)
  })
})
