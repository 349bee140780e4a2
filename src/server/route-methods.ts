import { METHODS as parsed } from 'node:http'
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  HTTPMethods,
  onRequestHookHandler,
  RouteOptions,
} from 'fastify'
import { HubError } from '../core/errors.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** This route says which methods its path has, to everybody, and nothing else. */
    methodsOnly?: true
    /**
     * Returns the value of `Allow`, for a route that serves several resources. Default: the methods of the route's
     * path.
     */
    allowed?: (request: FastifyRequest) => string
  }
}

/** In the order in which `Allow` lists them. */
const KNOWN: readonly HTTPMethods[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'QUERY']
/**
 * All that Node parses, PROPFIND and REPORT too, but for CONNECT, which is no request of a path. Node before 20.19 does
 * not parse QUERY.
 */
const METHODS = [...new Set([...KNOWN, ...parsed])].filter(method => parsed.includes(method) && method !== 'CONNECT')

type AddedRoute = RouteOptions & { readonly routePath: string }

/**
 * Gives the routes of a scope, and of the scopes below it, the methods that HTTP expects of every resource (RFC 9110,
 * sections 9.3 and 15.5.6): HEAD where there is GET, OPTIONS, and 405 with `Allow` for every method that a path does
 * not have. A path without any route stays 404.
 */
export class RouteMethods {
  readonly #scope: FastifyInstance
  /** By path, as the scope's own prefix is not part of it. */
  readonly #paths = new Map<string, Set<string>>()
  readonly #allowed = new Map<string, (request: FastifyRequest) => string>()
  #complete = false

  /** Before the routes are added. */
  constructor(scope: FastifyInstance) {
    this.#scope = scope
    for (const method of METHODS) if (!scope.supportedMethods.includes(method)) scope.addHttpMethod(method)
    const added = (route: AddedRoute, instance: FastifyInstance): void => this.#added(route, instance)
    scope.addHook('onRoute', function (route) {
      added(route, this)
    })
  }

  /** Once all routes are there. */
  complete(): void {
    this.#complete = true
    for (const [url, methods] of [...this.#paths]) {
      const whole = this.#scope.prefix + url
      const missing = METHODS.filter(method => !methods.has(method) && !this.#scope.hasRoute({ url: whole, method }))
      const allow = METHODS.filter(method => method === 'OPTIONS' || !missing.includes(method)).join(', ')
      const answer = (method: string[], onRequest: onRequestHookHandler): void => {
        if (method.length === 0) return
        const config = { methodsOnly: true } as const
        this.#scope.route({ method, url, config, exposeHeadRoute: false, onRequest, handler: () => undefined })
      }
      answer(
        missing.filter(method => method === 'OPTIONS'),
        options(allow),
      )
      answer(
        missing.filter(method => method !== 'OPTIONS'),
        refusal(this.#allowed.get(url) ?? (() => allow)),
      )
    }
  }

  #added(route: AddedRoute, scope: FastifyInstance): void {
    const path = route.url.slice(this.#scope.prefix.length)
    const methods = this.#paths.get(path) ?? new Set()
    this.#paths.set(path, methods)
    for (const method of [route.method].flat()) methods.add(method)
    if (route.config?.allowed) this.#allowed.set(path, route.config.allowed)
    if (!methods.has('GET') || methods.has('HEAD') || this.#complete) return
    const { wsHandler: _, ...head } = route
    scope.route({ ...head, method: 'HEAD', url: route.routePath })
  }
}

type Answer = (request: FastifyRequest, reply: FastifyReply) => void

function options(allow: string): Answer {
  return (_request, reply) => void reply.code(204).header('allow', allow).send()
}

/** Answers before the body is read. */
function refusal(
  allowed: (request: FastifyRequest) => string,
): (...args: [...Parameters<Answer>, done: (error: Error) => void]) => void {
  return (request, reply, done) => {
    const allow = allowed(request)
    reply.header('allow', allow)
    done(methodNotAllowed(request, allow))
  }
}

export function methodNotAllowed({ method, url }: FastifyRequest, allow: string): HubError {
  return new HubError('METHOD_NOT_ALLOWED', `method: ${url.split('?')[0]} takes ${allow}, not ${method}`)
}
