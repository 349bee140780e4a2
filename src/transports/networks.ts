import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import { HubError } from '../core/errors.ts'

export type Address = ipaddr.IPv4 | ipaddr.IPv6
type Network = readonly [Address, number]

/** Addresses and networks (CIDR) that somebody listed. */
export class Networks {
  readonly #networks: readonly Network[]

  /**
   * @param entries such as 10.1.0.0/16, 127.0.0.1 or ::1. Throws CONFIG_INVALID.
   * @param field the name of the list, for the error
   */
  constructor(entries: readonly string[], field = 'network') {
    this.#networks = entries.map(entry => parseNetwork(entry, field))
  }

  has(address: Address): boolean {
    return this.#networks.some(([network, bits]) => network.kind() === address.kind() && address.match(network, bits))
  }
}

/**
 * A mapped IPv4 address in its IPv4 form. isIP first: ipaddr.js also takes 1, 0x7f.1 and 010.0.0.1, which others read
 * differently.
 */
export function parseAddress(text: string): Address | undefined {
  // It does not know every zone that Node does.
  return isIP(text) !== 0 && ipaddr.isValid(text) ? ipaddr.process(text) : undefined
}

function parseNetwork(entry: string, field: string): Network {
  const [, text = '', prefix] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(String(entry)) ?? []
  const address = isIP(text) !== 0 && ipaddr.isValid(text) ? ipaddr.parse(text) : undefined
  const width = address instanceof ipaddr.IPv4 ? 32 : 128
  const bits = prefix === undefined ? width : Number(prefix)
  if (!address || bits > width) {
    const example = 'such as 10.1.0.0/16, 127.0.0.1 or ::1'
    throw new HubError(
      'CONFIG_INVALID',
      `${field}: ${JSON.stringify(entry)} is neither an address nor a CIDR, ${example}`,
    )
  }
  // Addresses are judged in their IPv4 form, so a network of mapped ones would contain none of them.
  const mapped = address instanceof ipaddr.IPv6 && bits >= 96 && address.isIPv4MappedAddress()
  return mapped ? [address.toIPv4Address(), bits - 96] : [address, bits]
}
