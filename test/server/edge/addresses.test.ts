import { describe, expect, it } from 'vitest'
import { AddressTable, addressKey } from '../../../src/server/edge/addresses.ts'
import { DEFAULT_EDGE_LIMITS } from '../../../src/server/edge/limits.ts'
import { Networks } from '../../../src/transports/networks.ts'

const table = (max?: number) => new AddressTable(new Networks(['127.0.0.0/8', '::1']), new Networks(['10.0.0.1']), max)
const LIMITS = { ...DEFAULT_EDGE_LIMITS, requestsPerSecondPerAddress: 1 }

describe('an address', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::', '2001:db8:1:2::/64'],
    ['2001:DB8:1:0002:ffff::9', '2001:db8:1:2::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['unknown', 'unknown'],
  ])('%s counts as %s', (address, key) => expect(addressKey(address)).toBe(key))

  it('that a forwarding header made up is a bounded key', () => {
    expect(addressKey('x'.repeat(100_000))).toHaveLength(64)
    expect(addressKey(`:${'x'.repeat(100_000)}`)).toHaveLength(64)
  })

  it('is exempt or a proxy by its network, and one without an address is of this machine', () => {
    const addresses = table()
    const known = (address?: string) => {
      const { exempt, proxy } = addresses.of(address)
      return { exempt, proxy }
    }
    expect(known('127.9.9.9')).toEqual({ exempt: true, proxy: false })
    expect(known('::ffff:127.0.0.1')).toEqual({ exempt: true, proxy: false })
    expect(known('::1')).toEqual({ exempt: true, proxy: false })
    expect(known()).toEqual({ exempt: true, proxy: false })
    expect(known('10.0.0.1')).toEqual({ exempt: false, proxy: true })
    expect(known('10.0.0.2')).toEqual({ exempt: false, proxy: false })
    expect(known('nonsense')).toEqual({ exempt: false, proxy: false })
  })
})

describe('what is remembered of addresses', () => {
  it('is forgotten once they have no connection and have waited, and not before', () => {
    const addresses = table()
    const taken = addresses.of('192.0.2.1')
    taken.bucket('requestsPerSecondPerAddress', LIMITS, 0)!.take(0)
    const connected = addresses.of('192.0.2.2')
    connected.connections++
    addresses.of('192.0.2.3')
    addresses.sweep(999)
    expect([addresses.size, addresses.of('192.0.2.1')]).toEqual([2, taken])
    addresses.sweep(1000)
    expect([addresses.size, addresses.of('192.0.2.2')]).toEqual([1, connected])
    connected.connections--
    addresses.sweep(1000)
    expect(addresses.size).toBe(0)
  })

  it('is bounded: who comes when it is full shares one entry with all who come then', () => {
    const addresses = table(2)
    const first = addresses.of('192.0.2.1')
    addresses.of('192.0.2.2')
    const third = addresses.of('192.0.2.3')
    expect(addresses.of('192.0.2.4')).toBe(third)
    expect(addresses.of('127.0.0.1').exempt).toBe(false)
    expect(addresses.of('192.0.2.1')).toBe(first)
    expect(addresses.size).toBe(2)
    addresses.sweep(0)
    expect(addresses.of('192.0.2.4')).not.toBe(third)
  })

  it('begins anew with limits that were changed, and 0 is no limit', () => {
    const entry = table().of('192.0.2.1')
    const bucket = entry.bucket('requestsPerSecondPerAddress', LIMITS, 0)!
    expect([1, 2, 3].map(() => bucket.take(0))).toEqual([true, true, false])
    expect(entry.bucket('requestsPerSecondPerAddress', LIMITS, 0)).toBe(bucket)
    const changed = { ...LIMITS, requestsPerSecondPerAddress: 5 }
    const next = entry.bucket('requestsPerSecondPerAddress', changed, 0)!
    expect(Array.from({ length: 11 }, () => next.take(0)).filter(Boolean)).toHaveLength(10)
    expect(
      entry.bucket('requestsPerSecondPerAddress', { ...LIMITS, requestsPerSecondPerAddress: 0 }, 0),
    ).toBeUndefined()
  })
})
