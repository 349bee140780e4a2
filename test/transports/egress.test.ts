import type { LookupAddress } from 'node:dns'
import { describe, expect, it } from 'vitest'
import { HubError } from '../../src/core/errors.ts'
import { Egress } from '../../src/transports/egress.ts'
import type { Resolver } from '../../src/transports/name-resolver.ts'

const PUBLIC: LookupAddress = { address: '93.184.215.14', family: 4 }
const PUBLIC_6: LookupAddress = { address: '2606:2800:21f:cb07:6820:80da:af6b:8b2c', family: 6 }
const LOOPBACK: LookupAddress = { address: '127.0.0.1', family: 4 }

function refusal(work: () => unknown): HubError {
  try {
    work()
  } catch (error) {
    expect(error).toBeInstanceOf(HubError)
    return error as HubError
  }
  throw new Error('it was taken')
}

/** Answers one list after another. */
function script(...answers: (readonly LookupAddress[] | Error)[]): Resolver {
  return (_hostname, _options, callback) => {
    const answer = answers.shift()!
    if (answer instanceof Error) callback(answer, [])
    else callback(null, [...answer])
  }
}

interface Found {
  readonly error: NodeJS.ErrnoException | null
  readonly address: string | LookupAddress[]
  readonly family: number | undefined
}

function lookUp(egress: Egress, all: boolean, hostname = 'hook.example.org'): Promise<Found> {
  return new Promise(resolve => {
    egress.lookup(hostname, { all }, (error, address, family) => resolve({ error, address, family }))
  })
}

describe('G6: an address', () => {
  it.each([
    ['0.0.0.0', 'unspecified'],
    ['0.1.2.3', 'unspecified'],
    ['10.0.0.1', 'private'],
    ['100.64.0.1', 'carrierGradeNat'],
    ['100.127.255.255', 'carrierGradeNat'],
    ['127.0.0.1', 'loopback'],
    ['127.255.255.254', 'loopback'],
    ['169.254.169.254', 'linkLocal'],
    ['172.16.0.1', 'private'],
    ['172.31.255.255', 'private'],
    ['192.0.0.1', 'reserved'],
    ['192.0.2.1', 'reserved'],
    ['192.88.99.1', 'reserved'],
    ['192.168.1.1', 'private'],
    ['198.18.0.1', 'reserved'],
    ['198.19.255.255', 'reserved'],
    ['198.51.100.1', 'reserved'],
    ['203.0.113.1', 'reserved'],
    ['224.0.0.1', 'multicast'],
    ['239.255.255.255', 'multicast'],
    ['240.0.0.1', 'reserved'],
    ['255.255.255.255', 'broadcast'],
    ['::', 'unspecified'],
    ['::1', 'loopback'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['::ffff:7f00:1', 'loopback'],
    ['::ffff:10.0.0.1', 'private'],
    ['::ffff:169.254.169.254', 'linkLocal'],
    // IPv4-compatible (RFC 4291), which nobody uses any more.
    ['::7f00:1', 'reserved'],
    ['::ffff:0:7f00:1', 'rfc6145'],
    ['64:ff9b::7f00:1', 'rfc6052'],
    ['64:ff9b::5db8:d70e', 'rfc6052'],
    ['64:ff9b:1::1', 'rfc6052'],
    ['100::1', 'discard'],
    ['2001::1', 'teredo'],
    ['2001:2::1', 'benchmarking'],
    ['2001:20::1', 'orchid2'],
    ['2001:db8::1', 'reserved'],
    ['2002:7f00:1::', '6to4'],
    ['3fff::1', 'reserved'],
    // Not given out to anybody.
    ['4000::1', 'reserved'],
    ['5f00::1', 'segmentRouting'],
    ['fc00::1', 'uniqueLocal'],
    ['fd12:3456::1', 'uniqueLocal'],
    ['fe80::1', 'linkLocal'],
    ['fe80::1%eth0', 'linkLocal'],
    ['fec0::1', 'deprecatedSiteLocal'],
    ['ff02::1', 'multicast'],
  ])('%s is refused: %s', (address, range) => {
    expect(new Egress().checkAddress(address)).toBe(`${address} is not public (${range})`)
  })

  it.each([
    ...['1.1.1.1', '9.255.255.255', '11.0.0.0', '100.63.255.255', '100.128.0.0', '172.15.255.255', '172.32.0.0'],
    ...['192.167.255.255', '198.20.0.0', '223.255.255.255', '::ffff:1.1.1.1', '2606:4700:4700::1111', '2a00::1'],
  ])('%s is taken', address => {
    expect(new Egress().checkAddress(address)).toBeUndefined()
  })

  it.each(['', '1', '127.1', '0x7f.0.0.1', '010.0.0.1', '1.1.1.1/32', 'example.org', 'fe80::1%br-lan'])(
    '%s is none',
    text => {
      expect(new Egress(['0.0.0.0/0', '::/0']).checkAddress(text)).toBe(`${JSON.stringify(text)} is not an IP address`)
    },
  )
})

describe('the allow list', () => {
  it.each([
    ['127.0.0.1/32', '127.0.0.1', '127.0.0.2'],
    ['127.0.0.1', '127.0.0.1', '127.0.0.2'],
    ['127.0.0.1', '::ffff:127.0.0.1', '::ffff:127.0.0.2'],
    ['10.1.0.0/16', '10.1.255.255', '10.2.0.0'],
    ['10.1.2.3/16', '10.1.0.0', '10.0.255.255'],
    ['::1', '::1', '::2'],
    ['fd00::/8', 'fd12::1', 'fc00::1'],
    ['::ffff:10.1.0.0/112', '10.1.2.3', '10.2.0.0'],
    ['0.0.0.0/0', '127.0.0.1', '::1'],
    ['::/0', 'fe80::1', '127.0.0.1'],
  ])('%s lets %s in, and not %s', (entry, inside, outside) => {
    const egress = new Egress([entry])
    expect(egress.checkAddress(inside)).toBeUndefined()
    expect(egress.checkAddress(outside)).toMatch(/ is not public /)
  })

  it.each([
    '',
    '10',
    '10.1',
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/',
    '/8',
    '10.0.0.0/8/8',
    '010.0.0.1',
    'localhost',
    ' ::1',
  ])('names an entry that is none: "%s"', entry => {
    const error = refusal(() => new Egress(['127.0.0.1', entry]))
    expect(error.code).toBe('CONFIG_INVALID')
    expect(error.message).toContain(`allow: ${JSON.stringify(entry)} is neither an address nor a CIDR, such as`)
  })

  it('names an entry that is no string', () => {
    expect(refusal(() => new Egress([10 as unknown as string])).message).toContain('allow: 10 is neither')
  })
})

describe('G6: a URL', () => {
  it.each([
    ['http://example.org/', 'http://example.org/'],
    ['https://example.org:8443/a/b?c=d', 'https://example.org:8443/a/b?c=d'],
    ['HTTPS://EXAMPLE.org', 'https://example.org/'],
    ['http://example.org/hook#part', 'http://example.org/hook'],
    ['http://1.1.1.1/', 'http://1.1.1.1/'],
    ['http://[2606:4700:4700::1111]/', 'http://[2606:4700:4700::1111]/'],
    ['http://localhost.example.org/', 'http://localhost.example.org/'],
    ['http://notlocalhost/', 'http://notlocalhost/'],
  ])('%s is taken', (text, href) => {
    expect(new Egress().checkUrl(text).href).toBe(href)
  })

  it.each([
    ['http://127.0.0.1/', '127.0.0.1 is not public (loopback)'],
    ['http://127.0.0.1./', '127.0.0.1 is not public (loopback)'],
    ['http://2130706433/', '127.0.0.1 is not public (loopback)'],
    ['http://0x7f.1/', '127.0.0.1 is not public (loopback)'],
    ['http://0177.0.0.1/', '127.0.0.1 is not public (loopback)'],
    ['http://127.1:8080/', '127.0.0.1 is not public (loopback)'],
    ['http://１２７.0.0.1/', '127.0.0.1 is not public (loopback)'],
    ['http://0/', '0.0.0.0 is not public (unspecified)'],
    ['http://[::1]/', '::1 is not public (loopback)'],
    ['http://[::]/', ':: is not public (unspecified)'],
    ['http://[::ffff:127.0.0.1]/', '::ffff:7f00:1 is not public (loopback)'],
    ['http://[fe80::1]/', 'fe80::1 is not public (linkLocal)'],
    ['http://[64:ff9b::7f00:1]/', '64:ff9b::7f00:1 is not public (rfc6052)'],
    ['http://169.254.169.254/latest/meta-data', '169.254.169.254 is not public (linkLocal)'],
    ['http://10.0.0.1/', '10.0.0.1 is not public (private)'],
    ['https://192.168.0.1/', '192.168.0.1 is not public (private)'],
    ['http://localhost/', 'localhost is not public (loopback)'],
    ['http://LOCALHOST./', 'localhost. is not public (loopback)'],
    ['http://a.b.localhost:3000/', 'a.b.localhost is not public (loopback)'],
    ['unix:/var/run/docker.sock', 'unix: is not taken; give an http: or https: URL'],
    ['file:///etc/passwd', 'file: is not taken; give an http: or https: URL'],
    ['javascript:alert(1)', 'javascript: is not taken; give an http: or https: URL'],
    ['ftp://example.org/', 'ftp: is not taken; give an http: or https: URL'],
    ['ws://example.org/', 'ws: is not taken; give an http: or https: URL'],
    ['http://zoe:s3cret@example.org/', 'it has a user name or a password'],
    ['http://zoe@example.org/', 'it has a user name or a password'],
    ['http://:s3cret@example.org/', 'it has a user name or a password'],
    ['http://1.1.1.1@127.0.0.1/', 'it has a user name or a password'],
    ['example.org/hook', 'it is not a URL'],
    ['/hook', 'it is not a URL'],
    ['http://', 'it is not a URL'],
    ['http://exa mple.org/', 'it is not a URL'],
    ['http://1.2.3.4.5/', 'it is not a URL'],
    ['http://[fe80::1%25eth0]/', 'it is not a URL'],
    ['', 'it must be a string'],
    [undefined, 'it must be a string'],
    [null, 'it must be a string'],
    [{ href: 'http://example.org/' }, 'it must be a string'],
    [new URL('http://example.org/'), 'it must be a string'],
  ])('%s is refused: %s', (text, rule) => {
    const error = refusal(() => new Egress().checkUrl(text))
    expect(error.code).toBe('CALLBACK_URL_INVALID')
    expect(error.message).toContain(`url: ${rule}`)
    expect(error.message).not.toMatch(/zoe|s3cret/)
  })

  it('has at most 2048 characters, before and after it is escaped', () => {
    const longest = `http://example.org/${'a'.repeat(2048 - 19)}`
    expect(new Egress().checkUrl(longest).href).toBe(longest)
    const rule = /^url: it has (\d+) characters, and may have 2048$/
    expect(rule.exec(refusal(() => new Egress().checkUrl(`${longest}a`)).message)?.[1]).toBe('2049')
    expect(rule.test(refusal(() => new Egress().checkUrl(`http://example.org/#${'a'.repeat(2048)}`)).message)).toBe(
      true,
    )
    const escaped = `http://example.org/${'ü'.repeat(400)}`
    expect(rule.exec(refusal(() => new Egress().checkUrl(escaped)).message)?.[1]).toBe(`${19 + 400 * 6}`)
  })

  it('may have what the allow list has, by address and as localhost', () => {
    for (const allow of ['127.0.0.0/8', '::1']) {
      expect(new Egress([allow]).checkUrl('http://localhost:3000/').port).toBe('3000')
    }
    expect(new Egress(['127.0.0.0/8']).checkUrl('http://0x7f.1/').hostname).toBe('127.0.0.1')
    expect(new Egress(['::1']).checkUrl('http://[::1]/').hostname).toBe('[::1]')
    expect(() => new Egress(['10.0.0.0/8']).checkUrl('http://localhost/')).toThrow('localhost is not public')
  })
})

describe('a look-up', () => {
  it('answers all addresses, or the first, as it is asked', async () => {
    const egress = new Egress([], { resolve: script([PUBLIC_6, PUBLIC], [PUBLIC_6, PUBLIC]) })
    expect(await lookUp(egress, true)).toEqual({ error: null, address: [PUBLIC_6, PUBLIC], family: undefined })
    expect(await lookUp(egress, false)).toEqual({ error: null, address: PUBLIC_6.address, family: 6 })
  })

  it.each([true, false])('leaves out what may not be connected to (all: %s)', async all => {
    const egress = new Egress(['10.0.0.0/8'], {
      resolve: script([LOOPBACK, { address: '10.0.0.1', family: 4 }, { address: 'fe80::1', family: 6 }]),
    })
    const { error, address } = await lookUp(egress, all)
    expect(error).toBeNull()
    expect(address).toEqual(all ? [{ address: '10.0.0.1', family: 4 }] : '10.0.0.1')
  })

  it.each([true, false])('fails where nothing is left, and does not tell the addresses (all: %s)', async all => {
    const inside: LookupAddress = { address: '10.9.8.7', family: 4 }
    const { error } = await lookUp(new Egress([], { resolve: script([inside, LOOPBACK]) }), all)
    expect(error?.code).toBe('EGRESS_REFUSED')
    expect(error?.message).toBe('hook.example.org has no address that is public or allowed')
  })

  it('is no way around the check by an answer that changes', async () => {
    const egress = new Egress([], { resolve: script([PUBLIC], [LOOPBACK]) })
    const { hostname } = egress.checkUrl('http://rebind.example.org/')
    expect((await lookUp(egress, true, hostname)).error).toBeNull()
    expect((await lookUp(egress, true, hostname)).error?.code).toBe('EGRESS_REFUSED')
  })

  it('hands on what the resolver says of a name that there is not', async () => {
    const missing = Object.assign(new Error('queryA ENOTFOUND'), { code: 'ENOTFOUND' })
    expect((await lookUp(new Egress([], { resolve: script(missing) }), true)).error).toBe(missing)
  })

  it('asks for all addresses, in the family that the socket wants', async () => {
    const asked: unknown[] = []
    const egress = new Egress([], {
      resolve: (hostname, options, callback) => {
        asked.push(hostname, options)
        callback(null, [PUBLIC])
      },
    })
    await new Promise(resolve => egress.lookup('example.org', { family: 4, hints: 0 }, resolve))
    expect(asked).toEqual(['example.org', { family: 4, hints: 0, all: true }])
  })

  it('asks the system where nobody else is named', async () => {
    const { error, address } = await lookUp(new Egress(['127.0.0.0/8', '::1']), false, 'localhost')
    expect(error).toBeNull()
    expect(['127.0.0.1', '::1']).toContain(address)
    expect((await lookUp(new Egress(), false, 'localhost')).error?.code).toBe('EGRESS_REFUSED')
  })
})
