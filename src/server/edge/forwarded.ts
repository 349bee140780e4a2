import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { HubError } from '../../core/errors.ts'

/**
 * `1.2.3.4:5`, `[v6]` and `[v6]:5`, quoted or not: how gateways write an address with the port that it was opened from.
 */
const WITH_PORT = /^"?(?:(\d{1,3}(?:\.\d{1,3}){3})|\[([0-9a-f:.%]+)\])(?::\d{1,5})?"?$/i
/** What proxies write where the request is a WebSocket. */
const SCHEMES: Readonly<Record<string, string>> = { wss: 'https', ws: 'http' }

const FOR = 'x-forwarded-for'
const PROTO = 'x-forwarded-proto'

/**
 * Rewrites what trusted proxies say of a request to the one form that everything behind this reads: addresses without
 * ports and brackets, schemes in lower case and of HTTP. The list of addresses ends, read from the right, where an
 * entry is no address: the proxy that wrote it is then the peer. True: the last entry, which the nearest proxy wrote,
 * is no address.
 */
export function normalizeForwarded(headers: IncomingHttpHeaders): boolean {
  const proto = headers[PROTO]
  if (typeof proto === 'string') headers[PROTO] = proto.split(',').map(schemeOf).join(',')
  const said = headers[FOR]
  if (typeof said !== 'string') return false
  const entries = said.split(',').map(entry => addressIn(entry.trim()))
  const known = entries.slice(entries.lastIndexOf(undefined) + 1)
  if (known.length > 0) headers[FOR] = known.join(', ')
  else delete headers[FOR]
  return known.length === 0
}

/**
 * Of several schemes takes the one that the farthest trusted proxy wrote, as Fastify does with addresses: each proxy
 * adds one of both. After `normalizeForwarded`.
 */
export function takeScheme({ raw: { headers }, ips = [] }: FastifyRequest): void {
  const said = headers[PROTO]
  if (typeof said !== 'string' || !said.includes(',')) return
  const schemes = said.split(',')
  headers[PROTO] = schemes.at(-Math.max(1, ips.length - 1)) ?? schemes[0]
}

function schemeOf(text: string): string {
  const scheme = text.trim().toLowerCase()
  return SCHEMES[scheme] ?? scheme
}

/** Undefined: it is no address. */
export function addressIn(text: string): string | undefined {
  if (isIP(text) !== 0) return text
  const [, v4, v6] = WITH_PORT.exec(text) ?? []
  const address = v4 ?? v6 ?? ''
  return isIP(address) === 0 ? undefined : address
}

/**
 * A target in absolute form names the host itself, and Host means nothing (RFC 9112, section 3.2.2): from here on that
 * is the request's Host. Throws REQUEST_INVALID, also where HTTP/1.1 has no Host.
 */
export function takeAuthority({ url = '/', headers, httpVersion }: IncomingMessage): void {
  if (headers.host === undefined && httpVersion === '1.1') {
    throw new HubError('REQUEST_INVALID', 'host: a request has one (RFC 9112, section 3.2)')
  }
  if (url.startsWith('/') || url === '*') return
  const target = URL.canParse(url) ? new URL(url) : undefined
  if (target === undefined || target.host === '' || target.username !== '' || target.password !== '') {
    throw new HubError('REQUEST_INVALID', 'target: in absolute form it is http://host/path, without a user')
  }
  headers.host = target.host
}
