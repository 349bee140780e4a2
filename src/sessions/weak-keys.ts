/**
 * Below this, what looks long was made by hand: 32 random characters of 16 have fewer than 8 different ones once in a
 * million.
 */
const MIN_DIFFERENT = 8

/** Of manuals, examples and default configurations, whatever is written around them. */
const KNOWN = [
  'your-256-bit-secret',
  'your-384-bit-secret',
  'your-512-bit-secret',
  'a-string-secret-at-least-256-bits-long',
  'a-valid-string-secret-that-is-at-least-512-bits-long',
  'changeme',
  'change-me',
  'change_me',
  'password',
  'secret-key',
  'secretkey',
  'supersecret',
  'super-secret',
  'my-secret',
  'my_secret',
  'mysecret',
  'default',
  'example',
  '0123456789abcdef',
  'abcdefghijklmnop',
  '1234567890',
  'qwertyuiop',
]

/** Would somebody who tries find it early? It says nothing of length. */
export function isWeak(key: string): boolean {
  const lower = key.toLowerCase()
  return new Set(lower).size < MIN_DIFFERENT || KNOWN.some(known => lower.includes(known))
}
