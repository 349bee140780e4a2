import { Webhook } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import { HubError } from '../../src/core/errors.ts'
import { parseSecret, webhookSignature } from '../../src/transports/webhook-signature.ts'

const secretOf = (bytes: number): string => `whsec_${Buffer.alloc(bytes, 0xfb).toString('base64')}`

function refusal(text: unknown): HubError {
  try {
    parseSecret(text)
  } catch (error) {
    return error as HubError
  }
  throw new Error(`${text} was taken`)
}

describe('a secret', () => {
  it.each([24, 25, 26, 32, 64])('may have %i bytes', bytes => {
    expect(parseSecret(secretOf(bytes))).toEqual(Buffer.alloc(bytes, 0xfb))
  })

  it.each([
    ['23 bytes', secretOf(23)],
    ['65 bytes', secretOf(65)],
    ['nothing after the prefix', 'whsec_'],
    ['no prefix', secretOf(32).slice('whsec_'.length)],
    ['a prefix in capitals', secretOf(32).replace('whsec_', 'WHSEC_')],
    ['no padding', secretOf(32).replaceAll('=', '')],
    ['base64url', secretOf(33).replaceAll('+', '-').replaceAll('/', '_').replace('whsec-', 'whsec_')],
    ['a space', `${secretOf(32)} `],
    ['a sign that is not base64', secretOf(33).replace('+', '*')],
    ['empty', ''],
    ['undefined', undefined],
    ['a number', 42],
  ])('is refused with %s, and not repeated', (_, text) => {
    const error = refusal(text)
    expect(error).toBeInstanceOf(HubError)
    expect(error.code).toBe('REQUEST_INVALID')
    expect(error.message).toMatch(/^secret: it must be whsec_ and then the base64 of 24 to 64 random bytes/)
    if (typeof text === 'string' && text.length > 6) expect(error.message).not.toContain(text.slice(6))
  })
})

describe('a signature', () => {
  const secret = secretOf(32)
  const now = Math.floor(Date.now() / 1000)
  const body = Buffer.from(JSON.stringify({ text: 'Grüße, 世界', list: [1, 2, 3] }))
  const headers = (signature: string, id = 'e1-7', timestamp = now): Record<string, string> => ({
    'webhook-id': id,
    'webhook-timestamp': `${timestamp}`,
    'webhook-signature': signature,
  })

  it('is one that a verifier of somebody else takes', () => {
    const signature = webhookSignature(parseSecret(secret), 'e1-7', now, body)
    expect(new Webhook(secret).verify(body.toString(), headers(signature))).toEqual(JSON.parse(body.toString()))
  })

  it('is of one key, id, time and body only', () => {
    const signature = webhookSignature(parseSecret(secret), 'e1-7', now, body)
    const webhook = new Webhook(secret)
    expect(() => new Webhook(secretOf(33)).verify(body.toString(), headers(signature))).toThrow()
    expect(() => webhook.verify(body.toString(), headers(signature, 'e1-8'))).toThrow()
    expect(() => webhook.verify(body.toString(), headers(signature, 'e1-7', now + 1))).toThrow()
    expect(() => webhook.verify(`${body} `, headers(signature))).toThrow()
  })

  it('is of the bytes, also where they are no text', async () => {
    const bytes = Buffer.from([0xff, 0xfe, 0x00, 0x80])
    const signed = Buffer.concat([Buffer.from(`e1-7.${now}.`), bytes])
    const algorithm = { name: 'HMAC', hash: 'SHA-256' }
    const key = await crypto.subtle.importKey('raw', new Uint8Array(32).fill(0xfb), algorithm, false, ['sign'])
    const digest = Buffer.from(await crypto.subtle.sign('HMAC', key, signed)).toString('base64')
    expect(webhookSignature(parseSecret(secret), 'e1-7', now, bytes)).toBe(`v1,${digest}`)
  })
})
