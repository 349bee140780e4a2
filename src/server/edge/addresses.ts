import { type Networks, parseAddress } from '../../transports/networks.ts'
import { BURST_SECONDS, type EdgeLimits, type RateOfAddress } from './limits.ts'
import { EdgeBucket } from './stops.ts'

/**
 * Distinct addresses that are told apart at a time. Those beyond share one entry, so that strangers cannot fill the
 * memory.
 */
const MAX_ADDRESSES = 100_000

/** What is known of one address, or of one IPv6 network of 64 bits, which is what one household has. */
export class AddressEntry {
  readonly key: string
  /** Only its failed logins are counted. */
  readonly exempt: boolean
  /** A trusted proxy: what it forwards counts for the address that it names. */
  readonly proxy: boolean
  connections = 0
  #limits: EdgeLimits | undefined
  #buckets = new Map<RateOfAddress, EdgeBucket>()

  constructor(key: string, exempt: boolean, proxy: boolean) {
    this.key = key
    this.exempt = exempt
    this.proxy = proxy
  }

  /**
   * Its bucket under these limits; undefined: there is no such limit. Limits that were changed begin with full buckets.
   */
  bucket(rate: RateOfAddress, limits: EdgeLimits, now: number): EdgeBucket | undefined {
    if (limits !== this.#limits) {
      this.#limits = limits
      this.#buckets.clear()
    }
    if (limits[rate] === 0) return undefined
    const known = this.#buckets.get(rate)
    if (known !== undefined) return known
    const burst = rate === 'handshakesPerSecondPerAddress' ? BURST_SECONDS.handshakes : BURST_SECONDS.others
    const bucket = new EdgeBucket(limits[rate], now, burst)
    this.#buckets.set(rate, bucket)
    return bucket
  }

  /** true: it equals a new entry, so it need not be kept. */
  idle(now: number): boolean {
    return this.connections === 0 && [...this.#buckets.values()].every(bucket => bucket.full(now))
  }
}

export class AddressTable {
  readonly #exempt: Networks
  readonly #proxies: Networks
  readonly #max: number
  readonly #entries = new Map<string, AddressEntry>()
  readonly #others = new AddressEntry('other addresses', false, false)

  constructor(exempt: Networks, proxies: Networks, max = MAX_ADDRESSES) {
    this.#exempt = exempt
    this.#proxies = proxies
    this.#max = max
  }

  get size(): number {
    return this.#entries.size
  }

  /** `address` as a socket or a trusted proxy says it. Undefined: a socket that has none, of this machine. */
  of(address: string | undefined): AddressEntry {
    const key = address === undefined ? 'local' : addressKey(address)
    const known = this.#entries.get(key)
    if (known !== undefined) return known
    if (this.#entries.size >= this.#max) return this.#others
    const parsed = address === undefined ? undefined : parseAddress(address)
    const exempt = address === undefined || (parsed !== undefined && this.#exempt.has(parsed))
    const entry = new AddressEntry(key, exempt, parsed !== undefined && this.#proxies.has(parsed))
    this.#entries.set(key, entry)
    return entry
  }

  /** Forgets addresses that have done nothing of late. To be called now and then. */
  sweep(now: number): void {
    for (const [key, entry] of this.#entries) if (entry.idle(now)) this.#entries.delete(key)
  }
}

/** IPv4 as it is, also where it is mapped; IPv6 by its first 64 bits. What is no address is a key as it stands, cut. */
export function addressKey(address: string): string {
  if (!address.includes(':')) return address.slice(0, 64)
  const parsed = parseAddress(address)
  if (parsed === undefined) return address.slice(0, 64)
  if (parsed.kind() === 'ipv4') return parsed.toString()
  const bytes = parsed.toByteArray()
  const groups = [0, 2, 4, 6].map(at => ((bytes[at]! << 8) | bytes[at + 1]!).toString(16))
  return `${groups.join(':')}::/64`
}
