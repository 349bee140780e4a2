import * as crypto from 'node:crypto'
import { createHash } from 'node:crypto'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type ApiKeyEntry, ApiKeys, newApiKey } from '../../src/sessions/api-keys.ts'

vi.mock('node:crypto', async original => {
  const actual = await original<typeof crypto>()
  return { ...actual, timingSafeEqual: vi.fn(actual.timingSafeEqual) }
})

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const one = newApiKey()
const two = newApiKey()
const keys = new ApiKeys([
  { name: 'ingest', sha256: one.sha256, scopes: ['publish'] },
  { name: 'ops', sha256: two.sha256.toUpperCase(), scopes: ['admin', 'publish'] },
])

afterEach(() => vi.clearAllMocks())

describe('API keys', () => {
  it('know whose key it is', () => {
    expect(keys.verify(one.key)).toEqual({ name: 'ingest', scopes: ['publish'] })
    expect(keys.verify(two.key)).toEqual({ name: 'ops', scopes: ['admin', 'publish'] })
    expect([keys.offers('admin'), new ApiKeys().offers('admin'), keys.size]).toEqual([true, false, 2])
  })

  it('are made of 256 random bits, with a hash that fits', () => {
    expect(one.key).toMatch(/^hubline_[\w-]{43}$/)
    expect(one.sha256).toBe(sha256(one.key))
    expect(one.key).not.toBe(two.key)
  })

  it('F9: compare the hash of whatever comes with each, by timingSafeEqual alone', () => {
    const compare = vi.mocked(crypto.timingSafeEqual)
    const changed = `${one.key.slice(0, -1)}${one.key.endsWith('x') ? 'y' : 'x'}`
    for (const key of [
      one.key,
      two.key,
      changed,
      `x${one.key}`,
      'short',
      '',
      'x'.repeat(500),
      'ключ',
      `${one.key}\0`,
    ]) {
      compare.mockClear()
      const found = keys.verify(key)
      expect([key, found?.name]).toEqual([key, key === one.key ? 'ingest' : key === two.key ? 'ops' : undefined])
      expect(compare).toHaveBeenCalledTimes(2)
      for (const [left, right] of compare.mock.calls) expect([left.byteLength, right.byteLength]).toEqual([32, 32])
    }
  })

  it('G2: a weak key is never right, though its hash is configured', () => {
    const weak = [
      'short-but-random-9fK2',
      'a'.repeat(40),
      'changeme-changeme-changeme-changeme-42',
      '0123456789abcdef0123456789abcdef',
    ]
    for (const key of weak) {
      const known = new ApiKeys([{ name: 'x', sha256: sha256(key), scopes: ['admin'] }])
      expect([key, known.verify(key)]).toEqual([key, undefined])
    }
    const good = 'k3J9-qfXw7Zp0aVd2LmR8sTtYb5HcNe1'
    expect(new ApiKeys([{ name: 'x', sha256: sha256(good), scopes: ['admin'] }]).verify(good)).toBeDefined()
  })

  const wrong: [string, Partial<ApiKeyEntry>, RegExp][] = [
    ['a key in place of its hash', { sha256: one.key }, /64 hexadecimal/],
    ['the hash of a default', { sha256: sha256('changeme') }, /everybody knows/],
    ['the hash of nothing', { sha256: sha256('').toUpperCase() }, /everybody knows/],
    ['no scopes', { scopes: [] }, /scopes/],
    ['an unknown scope', { scopes: ['root' as never] }, /scopes/],
  ]
  it.each(wrong)('G2: %s is refused, and not repeated', (_, entry, message) => {
    const make = () => new ApiKeys([{ name: 'x', sha256: two.sha256, scopes: ['admin'], ...entry }])
    expect(make).toThrowError(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringMatching(message) }),
    )
    expect(make).not.toThrowError(new RegExp(one.key))
  })

  it('a key has one name', () => {
    const entry = { sha256: one.sha256, scopes: ['publish'] } as const
    expect(
      () =>
        new ApiKeys([
          { name: 'a', ...entry },
          { name: 'b', ...entry },
        ]),
    ).toThrow(/another name/)
  })
})
