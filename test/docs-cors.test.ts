import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ALLOWED, EXPOSED } from '../src/server/edge/headers.ts'

const FOLDER = new URL('../docs/', import.meta.url)
const pages = readdirSync(FOLDER).filter(name => name.endsWith('.md'))
const text = pages.map(name => readFileSync(new URL(name, FOLDER), 'utf8')).join('\n')

/** Headers that the pages name and that no page of another origin sends or reads, and why. */
const NOT_FOR_PAGES: Readonly<Record<string, string>> = {
  'hubline-event': 'of requests that the hub sends to a webhook',
  'hubline-topic': 'of requests that the hub sends to a webhook',
  'hubline-epoch': 'of requests that the hub sends to a webhook',
  'hubline-seq': 'of requests that the hub sends to a webhook',
  'hubline-publisher': 'of requests that the hub sends to a webhook',
  'x-real-ip': 'between proxies and the hub',
  'x-forwarded-for': 'between proxies and the hub',
  'x-forwarded-proto': 'between proxies and the hub',
  'x-forwarded-host': 'between proxies and the hub',
  'x-accel-buffering': 'between proxies and the hub',
  'x-frame-options': 'read by browsers themselves',
  'x-content-type-options': 'read by browsers themselves',
}
/** Words with a hyphen that begin like a header and are none. */
const NO_HEADERS = new Set(['x-www-form-urlencoded', 'x-mixed-replace', 'x-gzip', 'x-ndjson'])

/** Which headers a page reads, beside those of CORS itself; what else the pages name is sent. */
const READ = new Set([
  'hubline-client',
  'hubline-ping',
  'hubline-position',
  'hubline-recovered',
  'retry-after',
  'allow',
])
const BOTH = new Set(['x-correlation-id'])
/** Readable without being exposed (Fetch Standard, CORS-safelisted response-header name). */
const SAFE_TO_READ = new Set([
  'cache-control',
  'content-language',
  'content-length',
  'content-type',
  'expires',
  'last-modified',
  'pragma',
])

const named = new Set(
  [...text.matchAll(/(?<![\w/-])(?:hubline|x|idempotency|idempotent|last-event|retry)-[a-z][a-z-]*[a-z](?![\w-])/gi)]
    .map(([name]) => name.toLowerCase())
    .filter(name => !NO_HEADERS.has(name) && !name.startsWith('hubline-nginx')),
)
/** In curl lines and fetch examples: what is sent. */
const sent = new Set(
  [...text.matchAll(/-H ["']([\w-]+):/g), ...text.matchAll(/headers: \{ ?['"]?([\w-]+)['"]?:/g)].map(([, name]) =>
    name!.toLowerCase(),
  ),
)

describe('CORS lets pages of listed origins use every header of the documents', () => {
  it('finds them', () => {
    expect([...named]).toEqual(expect.arrayContaining(['hubline-position', 'idempotency-key', 'x-api-key']))
    expect([...sent]).toEqual(expect.arrayContaining(['authorization', 'content-type']))
  })

  it('those that a page sends are allowed', () => {
    const missing = [...sent].filter(name => !ALLOWED.includes(name) && name !== 'accept' && !(name in NOT_FOR_PAGES))
    expect(missing).toEqual([])
  })

  it('every other that is named is allowed or exposed, or listed here with a reason', () => {
    const known = (name: string) => ALLOWED.includes(name) || EXPOSED.includes(name) || name in NOT_FOR_PAGES
    expect([...named].filter(name => !known(name))).toEqual([])
  })

  it('those that an answer has are exposed', () => {
    const answers = [...named, 'allow'].filter(
      name => READ.has(name) || BOTH.has(name) || name === 'idempotent-replayed',
    )
    expect(answers.filter(name => !EXPOSED.includes(name) && !SAFE_TO_READ.has(name))).toEqual([])
    expect(ALLOWED).toEqual(expect.arrayContaining(['cache-control', 'last-event-id', 'x-api-key', 'x-correlation-id']))
  })
})
