import type { FastifyRequest } from 'fastify'
import type { Handshake } from '../core/sessions.ts'

export function handshakeOf(request: FastifyRequest): Handshake {
  return { protocol: request.ws ? 'websocket' : 'http', address: request.ip, ...credentialsOf(request) }
}

/** No token is ever read from a URL, where logs would keep it: a ticket is good for one request. */
export function credentialsOf({ headers, query }: FastifyRequest): Pick<Handshake, 'token' | 'ticket' | 'headers'> {
  const { authorization = '' } = headers
  // One that cannot be read is refused, and not let in as nobody. Other schemes are for others, such as a proxy.
  const token = /^Bearer\b/i.test(authorization) ? (/^Bearer +(\S+) *$/i.exec(authorization)?.[1] ?? '') : undefined
  const { ticket } = query as { ticket?: unknown }
  return { token, ticket: typeof ticket === 'string' ? ticket : undefined, headers }
}

/** Behind a proxy, what it says; else undefined, and the connection itself is asked when somebody looks. */
export function addressOf(request: FastifyRequest): string | undefined {
  return 'ips' in request ? request.ip : undefined
}
