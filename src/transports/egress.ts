import { isIP, type LookupFunction } from 'node:net'
import ipaddr from 'ipaddr.js'
import { HubError } from '../core/errors.ts'
import { nameResolver, type Resolver } from './name-resolver.ts'
import { type Address, Networks, parseAddress } from './networks.ts'

const MAX_URL_LENGTH = 2048
/** Names that are the machine itself, whatever a resolver says of them (RFC 6761). */
const LOCALHOST = /^(?:.+\.)?localhost\.?$/
/** All that IANA has given out as public so far; what lies outside has no meaning yet, or a special one. */
const GLOBAL_UNICAST = ipaddr.IPv6.parseCIDR('2000::/3')

interface EgressOptions {
  readonly resolve?: Resolver | undefined
  readonly field?: string
}

/**
 * Which addresses the hub may connect to on behalf of somebody who gave it a URL: public ones, and those that its owner
 * allows. A name is judged by what it resolves to, in the very look-up that the socket uses: between a check and a
 * connect it may change.
 */
export class Egress {
  readonly #allowed: Networks
  readonly #resolve: Resolver

  /**
   * @param allow addresses and CIDRs beyond the public ones, such as 10.1.0.0/16. Throws CONFIG_INVALID.
   * @param options `field`: the name of `allow`, for the error
   */
  constructor(allow: readonly string[] = [], options: EgressOptions = {}) {
    this.#allowed = new Networks(allow, options.field ?? 'allow')
    this.#resolve = options.resolve ?? nameResolver()
  }

  /**
   * A URL that the hub may try to POST to, without its fragment, which nobody would be sent. Throws
   * CALLBACK_URL_INVALID.
   */
  checkUrl(text: unknown): URL {
    if (typeof text !== 'string' || text === '') throw invalid('it must be a string, such as https://example.org/hook')
    if (text.length > MAX_URL_LENGTH) throw invalid(tooLong(text))
    const url = URL.canParse(text) ? new URL(text) : undefined
    if (!url) throw invalid('it is not a URL; give all of it, such as https://example.org/hook')
    if (url.protocol !== 'http:' && url.protocol !== 'https:') {
      throw invalid(`${url.protocol} is not taken; give an http: or https: URL`)
    }
    // The text of this error must not repeat them.
    if (url.username !== '' || url.password !== '') {
      throw invalid(
        'it has a user name or a password, which are not sent; leave them out and verify the signature instead',
      )
    }
    url.hash = ''
    // Escaping may have made it longer.
    if (url.href.length > MAX_URL_LENGTH) throw invalid(tooLong(url.href))
    const broken = this.checkHost(url.hostname)
    if (broken)
      throw invalid(`${broken}; give a public address, or have the hub's owner allow this one (callbacks.allow)`)
    return url
  }

  /**
   * The rule that a URL's host breaks, as far as can be told without asking DNS: all of it for an address, which is
   * never looked up.
   */
  checkHost(hostname: string): string | undefined {
    const address = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname
    if (isIP(address) !== 0) return this.checkAddress(address)
    if (!LOCALHOST.test(hostname) || this.#mayUseLoopback()) return undefined
    return `${hostname} is not public (loopback)`
  }

  /** The rule that an address breaks; undefined: the hub may connect to it. */
  checkAddress(address: string): string | undefined {
    const parsed = parseAddress(address)
    if (!parsed) return `${JSON.stringify(address)} is not an IP address`
    if (this.#allowed.has(parsed)) return undefined
    const range = rangeOf(parsed)
    return range === 'unicast' ? undefined : `${address} is not public (${range})`
  }

  /** For net.connect and tls.connect, which do not call it for a literal address. Fails with EGRESS_REFUSED. */
  readonly lookup: LookupFunction = (hostname, options, callback) => {
    this.#resolve(hostname, { ...options, all: true }, (error, addresses) => {
      const allowed = error ? [] : addresses.filter(({ address }) => this.checkAddress(address) === undefined)
      const [first] = allowed
      if (!first) callback(error ?? refused(hostname), options.all ? [] : '', 0)
      else if (options.all) callback(null, allowed)
      else callback(null, first.address, first.family)
    })
  }

  #mayUseLoopback(): boolean {
    return this.checkAddress('127.0.0.1') === undefined || this.checkAddress('::1') === undefined
  }
}

/** The addresses stay out of it: whoever gave the URL must not learn from it how names resolve inside. */
function refused(hostname: string): Error {
  const message = `${hostname} has no address that is public or allowed`
  return Object.assign(new Error(message), { code: 'EGRESS_REFUSED' })
}

function invalid(rule: string): HubError {
  return new HubError('CALLBACK_URL_INVALID', `url: ${rule}`)
}

function tooLong(text: string): string {
  return `it has ${text.length} characters, and may have ${MAX_URL_LENGTH}`
}

function rangeOf(address: Address): string {
  if (address instanceof ipaddr.IPv4) return address.range()
  const range = address.range()
  return range === 'unicast' && !address.match(GLOBAL_UNICAST) ? 'reserved' : range
}
