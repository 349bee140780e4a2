import type { FastifyRequest } from 'fastify'
import { HubError } from '../../core/errors.ts'

/** What may follow a topic's name in a path. */
export const SUB_RESOURCES = ['policy', 'history', 'presence', 'presence-stats', 'move'] as const
export type SubResource = (typeof SUB_RESOURCES)[number]

/**
 * Tells the name of a topic from what follows it. A name in one segment, its slashes written %2F, is always the whole
 * name. With plain slashes the last segment is what follows, if it is such a word: so a topic whose own name ends in
 * one is written with %2F.
 */
export function topicPath(request: FastifyRequest): { readonly topic: string; readonly sub: SubResource | '' } {
  // What the router gives is decoded already: it does not tell the two kinds of slash apart.
  const [path = ''] = request.url.split('?')
  const fixed = request.routeOptions.url!.split('/').length - 1
  const segments = path.split('/').slice(fixed)
  const last = segments.at(-1) as SubResource
  const sub = segments.length > 1 && SUB_RESOURCES.includes(last) ? last : ''
  const name = sub === '' ? segments : segments.slice(0, -1)
  return { topic: name.map(decode).join('/'), sub }
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    throw new HubError('TOPIC_INVALID', 'topic: what follows a % in a path is two hexadecimal digits')
  }
}
