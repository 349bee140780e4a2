import type { FastifyRequest } from 'fastify'
import { Networks, parseAddress } from '../../transports/networks.ts'
import { addressIn } from './forwarded.ts'
import { LOOPBACK } from './limits.ts'
import { isLoopbackHost } from './origins.ts'

const FOR = 'x-forwarded-for'
const loopback = new Networks(LOOPBACK)

/** Headers that only a proxy has a reason to send. */
const OF_PROXIES = [
  'forwarded',
  'via',
  FOR,
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-real-ip',
  'x-client-ip',
  'true-client-ip',
  'cf-connecting-ip',
] as const

/**
 * Does a request come from this machine? By the address of its TCP connection, and by its Host, which a page of a
 * rebound DNS name cannot set. A proxy on this machine speaks for others: what it forwards counts only if the app
 * trusts it (`trustProxy`) and every address on the way is loopback.
 */
export function isLocalPeer(request: FastifyRequest): boolean {
  const { socket, headers, rawHeaders } = request.raw
  if (!isLoopbackAddress(socket.remoteAddress)) return false
  if (headers.host !== undefined && !isLoopbackHost(headers.host)) return false
  // As it came: an entry that is no address ends the list that Fastify reads, and may stand for anybody.
  const forwarded = rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]!.toLowerCase() === FOR)
  if (forwarded.length === 0 && OF_PROXIES.every(name => headers[name] === undefined)) return true
  // Fastify has them where it trusts a proxy. Not its `ip` alone: whoever trusts every proxy is told it by the client.
  const { ips = [] } = request
  const written = forwarded.flatMap(value => value.split(',')).map(entry => addressIn(entry.trim()))
  const claims = [...ips, ...written, ...forwardedFor(headers.forwarded), ...named(headers['x-real-ip'])]
  return ips.length > 1 && claims.every(isLoopbackAddress)
}

function isLoopbackAddress(text: string | undefined): boolean {
  const address = text === undefined ? undefined : parseAddress(text)
  return address !== undefined && loopback.has(address)
}

/** RFC 7239: the `for` of every element, without brackets and port. */
function forwardedFor(header: string | undefined): string[] {
  const found = header?.matchAll(/\bfor\s*=\s*"?(?:\[([^\]]*)\]|([^\s,;":]*))/gi) ?? []
  return Array.from(found, ([, v6, v4]) => v6 ?? v4 ?? '')
}

function named(header: string | string[] | undefined): string[] {
  return header === undefined ? [] : [header].flat()
}
