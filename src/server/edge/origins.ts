import { isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { HubError } from '../../core/errors.ts'

export interface OriginOptions {
  /**
   * Names that requests may call the server by, beyond loopback and `boundTo`. Lower case, without a port. `*`: any.
   */
  readonly hosts: readonly string[]
  /** Origins of pages beyond the server's own, as browsers write them. */
  readonly origins: readonly string[]
  /** What the server listens on. A wildcard address: it may be called by any address, though not by any name. */
  readonly boundTo?: string | undefined
}

/** RFC 6761: names that no DNS server is asked for. */
const LOOPBACK = /^(?:(?:[a-z0-9-]+\.)*localhost|127(?:\.\d{1,3}){3}|\[::1\])$/
const HOST = /^(\[[0-9a-f:.]+\]|[^\s:/?#@[\]\\]+)(?::(\d{0,5}))?$/
const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: ':80', https: ':443' }
const WILDCARDS: ReadonlySet<string> = new Set(['0.0.0.0', '::'])
const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])
/** Characters of a peer's header that an error repeats. */
const TOLD = 100

/**
 * Who may ask, where a browser asks on behalf of a page. The Host tells a page whose name was made to resolve to this
 * server (DNS rebinding); the Origin tells pages of other sites, which a browser lets open WebSockets and send simple
 * forms wherever they like.
 */
export class OriginRules {
  readonly #anyHost: boolean
  readonly #anyAddress: boolean
  readonly #hosts: ReadonlySet<string>
  readonly #origins: ReadonlySet<string>
  /** The Host that was right last: most requests have the same. */
  #lastHost: string | undefined

  constructor({ hosts, origins, boundTo }: OriginOptions) {
    this.#anyHost = hosts.includes('*')
    this.#anyAddress = boundTo !== undefined && WILDCARDS.has(boundTo)
    const bound = boundTo === undefined || this.#anyAddress ? [] : [isIP(boundTo) === 6 ? `[${boundTo}]` : boundTo]
    this.#hosts = new Set([...hosts, ...bound].map(host => host.toLowerCase()))
    this.#origins = new Set(origins)
  }

  /** Is it one of the origins that were listed? Not the server's own. */
  lists(origin: string | undefined): origin is string {
    return origin !== undefined && this.#origins.has(origin)
  }

  /** Throws HOST_DENIED. HTTP/1.0 has no Host, and no browser speaks it. */
  checkHost(request: FastifyRequest): void {
    const { host } = request.raw.headers
    if (host === undefined || host === this.#lastHost) {
      if (!('ips' in request)) return
    } else {
      this.#requireHost(host)
      this.#lastHost = host
    }
    // A trusted proxy's word, which a page of a rebound name may have given it.
    if ('ips' in request && request.host !== '' && request.host !== host) this.#requireHost(request.host)
  }

  /** Throws ORIGIN_DENIED. Whatever is no browser says none of this, and has nothing to prove. */
  checkOrigin(request: FastifyRequest): void {
    const { method } = request.raw
    const { origin, referer, 'sec-fetch-site': site, 'sec-fetch-mode': mode } = request.raw.headers
    if (origin !== undefined) {
      if (!this.#origins.has(origin) && !isOwn(origin, request)) throw denied(origin)
      return
    }
    const safe = method === undefined || SAFE.has(method)
    if (site === undefined) {
      // Browsers from before 2020 leave the Origin of a form out.
      if (!safe && referer !== undefined) this.#checkReferer(referer, request)
      return
    }
    if (site === 'same-origin' || site === 'none') return
    // Somebody followed a link.
    if (safe && mode === 'navigate' && !request.ws) return
    throw new HubError(
      'ORIGIN_DENIED',
      'origin: a page of another site asks for this without saying which; list its origin in origins, and have the page say it (crossorigin on <img> and <audio>)',
    )
  }

  #checkReferer(referer: string, request: FastifyRequest): void {
    const origin = URL.canParse(referer) ? new URL(referer).origin : referer
    if (!this.#origins.has(origin) && !isOwn(origin, request)) throw denied(origin)
  }

  #requireHost(host: string): void {
    if (this.#anyHost) return
    const name = nameOf(host)
    if (LOOPBACK.test(name) || this.#hosts.has(name) || (this.#anyAddress && isAddress(name))) return
    throw new HubError(
      'HOST_DENIED',
      `host: this server is not called ${JSON.stringify(host.slice(0, TOLD))}; if it should be, add the name to hosts`,
    )
  }
}

/**
 * Is it a name or an address of this machine alone? A page whose name was made to resolve to loopback has its own name
 * in Host.
 */
export function isLoopbackHost(host: string): boolean {
  return LOOPBACK.test(nameOf(host))
}

/** Without the port, and without the dot of the root (RFC 3986, section 3.2.2), which makes no other name. */
function nameOf(host: string): string {
  const [, said = ''] = HOST.exec(host.toLowerCase()) ?? []
  return said.replace(/(?<=[^.])\.$/, '')
}

/** A page can only be of a name that was rebound, never of an address that is not its own. */
function isAddress(name: string): boolean {
  return isIP(name) === 4 || (name.startsWith('[') && isIP(name.slice(1, -1)) === 6)
}

/**
 * Is it the origin of a page that this server served, as a browser writes it? A final dot of the name makes no
 * difference.
 */
function isOwn(origin: string, { protocol, host }: FastifyRequest): boolean {
  const own = host.toLowerCase().replace(/:$/, '')
  const port = DEFAULT_PORTS[protocol]
  const name = port !== undefined && own.endsWith(port) ? own.slice(0, -port.length) : own
  return withoutDot(origin) === withoutDot(`${protocol}://${name}`)
}

function withoutDot(origin: string): string {
  return origin.replace(/\.(?=:\d+$|$)/, '')
}

function denied(origin: string): HubError {
  return new HubError(
    'ORIGIN_DENIED',
    `origin: pages of ${JSON.stringify(origin.slice(0, TOLD))} may not use this hub; if they should, add it to origins`,
  )
}
