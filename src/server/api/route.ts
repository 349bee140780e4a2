import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import { z } from 'zod'
import { type ErrorCode, HubError } from '../../core/errors.ts'
import { readInput, withoutStrange } from '../read-input.ts'
import { methodNotAllowed } from '../route-methods.ts'
import { audit } from './audit.ts'
import type { Access } from './guard.ts'
import { type SubResource, topicPath } from './topic-path.ts'

export interface ApiAnswer {
  readonly description: string
  /** Of JSON. Absent: there is no body, or it is of `type`. */
  readonly schema?: z.ZodType
  readonly type?: string
  /** Media types of the other forms that it may have, which are no JSON. */
  readonly otherTypes?: readonly string[]
}

/** What a handler gets: checked, and as the schemas made it. */
export interface ApiCall<P, Q, B> {
  readonly params: P
  readonly query: Q
  readonly body: B
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  /** What the audit line tells beside what is in the path. No secrets. */
  readonly note: (about: Readonly<Record<string, unknown>>) => void
}

/**
 * What the document says of one operation: what is checked at run time and what the document says are the same schemas.
 */
export interface ApiOperation<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /**
   * As OpenAPI writes it: `/api/clients/{id}`. A `{topic}` or `{pattern}` may have slashes, and stands at the end or in
   * /api/topics/{topic}/...
   */
  readonly path: string
  readonly summary: string
  readonly description?: string
  readonly tag: string
  /** Default: made of the method and the path. */
  readonly operationId?: string
  /** Default: read for a GET, admin for the rest. */
  readonly access?: Access
  readonly params?: P
  readonly query?: Q
  readonly body?: B
  /** Of a body that is no JSON: the document says so, and the handler reads `request.body`. */
  readonly rawBody?: string
  /** By status; what the handler returns goes with the first, unless it says another. */
  readonly answers: Readonly<Record<number, ApiAnswer>>
  readonly errors?: readonly ErrorCode[]
  /**
   * By status, where errors have another form than elsewhere: instead of `errors` and of those that all operations
   * have.
   */
  readonly errorAnswers?: Readonly<Record<number, ApiAnswer>>
}

/** An operation of the API, and what answers it. */
export interface ApiRoute<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType> extends ApiOperation<P, Q, B> {
  /** What the audit line calls it: of what changes something, or listens to others. */
  readonly audit?: string
  readonly bodyLimit?: number
  /** It is, or may be, a stream of events: unknown keys of the query are ignored, as those of all streams. */
  readonly streamsEvents?: true
  readonly handler: (call: ApiCall<z.output<P>, z.output<Q>, z.output<B>>) => unknown
}

export type AnyApiOperation = ApiOperation<z.ZodType, z.ZodType, z.ZodType>
type AnyApiRoute = ApiRoute<z.ZodType, z.ZodType, z.ZodType>

/** The operations of one app: registered with it, and listed for the document. */
export class Api {
  readonly operations: AnyApiOperation[] = []
  readonly #app: FastifyInstance
  /** By method: what /api/topics/* may be. */
  readonly #topics = new Map<string, Map<SubResource | '', AnyApiRoute>>()

  constructor(app: FastifyInstance) {
    this.#app = app
  }

  /** `scope`: where it is registered, if not with the API's own app. */
  add<P extends z.ZodType = z.ZodUndefined, Q extends z.ZodType = typeof nothing, B extends z.ZodType = z.ZodUndefined>(
    route: ApiRoute<P, Q, B>,
    scope: FastifyInstance = this.#app,
  ): void {
    const any = route as unknown as AnyApiRoute
    this.describe(route)
    const { method, path, bodyLimit, streamsEvents } = route
    const access = accessOf(route)
    const sub = subResourceOf(path)
    if (sub !== undefined) {
      this.#addToTopics(any, sub)
      return
    }
    scope.route({
      method,
      url: path.replace(/\{(topic|pattern)\}$/, '*').replaceAll(/\{(\w+)\}/g, ':$1'),
      config: { access, ...(streamsEvents && { streamsEvents }) },
      ...(bodyLimit !== undefined && { bodyLimit }),
      handler: (request, reply) => {
        const { '*': rest, ...params } = request.params as Record<string, string>
        const last = rest === undefined ? {} : { [/\{(\w+)\}$/.exec(path)![1]!]: rest }
        return answer(any, { ...params, ...last }, request, reply)
      },
    })
  }

  /** One that is registered elsewhere: the document has it too. */
  describe<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType>(operation: ApiOperation<P, Q, B>): void {
    this.operations.push(operation)
  }

  /** A router cannot tell where a name with slashes ends, so one route serves all paths of a method. */
  #addToTopics(route: AnyApiRoute, sub: SubResource | ''): void {
    const { method } = route
    const known = this.#topics.get(method)
    if (known) {
      known.set(sub, route)
      return
    }
    if (this.#topics.size === 0) this.#addTopicsOptions()
    const routes = new Map([[sub, route]])
    this.#topics.set(method, routes)
    this.#app.route({
      method: method as HTTPMethods,
      url: '/api/topics/*',
      config: { access: accessOf(route), ...(method === 'GET' && { streamsEvents: true }) },
      handler: (request, reply) => {
        const { topic, sub } = topicPath(request)
        const found = routes.get(sub)
        if (found) return answer(found, { topic }, request, reply)
        const allow = this.#allowed(sub)
        reply.header('allow', allow)
        throw methodNotAllowed(request, allow)
      },
    })
  }

  #addTopicsOptions(): void {
    const allowed = (request: FastifyRequest): string => this.#allowed(topicPath(request).sub)
    this.#app.route({
      method: 'OPTIONS',
      url: '/api/topics/*',
      config: { access: 'open', methodsOnly: true, allowed },
      handler: (request, reply) => reply.code(204).header('allow', allowed(request)).send(),
    })
  }

  /** The methods that a topic, or something of it, has. */
  #allowed(sub: SubResource | ''): string {
    const methods = [...this.#topics].filter(([, each]) => each.has(sub)).map(([name]) => name)
    return [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ')
  }
}

/** A GET under /api changes nothing. */
export function accessOf({
  method,
  access = method === 'GET' ? 'read' : 'admin',
}: Pick<AnyApiOperation, 'method' | 'access'>): Access {
  return access
}

/** Of queries that have no keys. */
const nothing = z.strictObject({})

/** Undefined: it is none of a topic's. '': the topic itself. */
function subResourceOf(path: string): SubResource | '' | undefined {
  const found = /^\/api\/topics\/\{topic\}(?:\/([\w-]+))?$/.exec(path)
  return found ? ((found[1] ?? '') as SubResource | '') : undefined
}

async function answer(
  route: AnyApiRoute,
  raw: Readonly<Record<string, string>>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const { params = z.record(z.string(), z.string()), query = nothing, body, audit: action, streamsEvents } = route
  reply.code(Number(Object.keys(route.answers)[0]))
  const target: Record<string, unknown> = { ...raw }
  const asked = request.query as Record<string, unknown>
  const known = streamsEvents && query instanceof z.ZodObject ? withoutStrange(query, asked) : asked
  try {
    const call = {
      params: readInput(params, raw, 'path'),
      query: readInput(query, known, 'query'),
      body: body && readInput(body, request.body, 'body'),
      ...{ request, reply },
      note: (about: Readonly<Record<string, unknown>>) => void Object.assign(target, about),
    }
    const result = await route.handler(call)
    if (action !== undefined) audit(request, action, target, 'done')
    if (result === undefined && !reply.sent) reply.send()
    return result
  } catch (error) {
    if (action !== undefined) {
      audit(request, action, target, error instanceof HubError ? error.code : 'INTERNAL')
    }
    throw error
  }
}
