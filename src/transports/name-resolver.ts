import { type LookupAddress, type LookupAllOptions, lookup } from 'node:dns'
import { Resolver as DnsResolver } from 'node:dns/promises'

/** As `dns.lookup` with `all: true`. */
export type Resolver = (
  hostname: string,
  options: LookupAllOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void

/** Of one try, in ms; there are two. */
const TIMEOUT_MS = 1500
/** A name server does not answer. Everything else is an answer, and a quick one. */
const SILENT: ReadonlySet<string | undefined> = new Set(['ETIMEOUT', 'ECANCELLED'])

export interface NameResolverOptions {
  /** Name servers, as `address:port`. Default: the system's. */
  readonly servers?: readonly string[]
  readonly timeoutMs?: number
}

/**
 * Asks DNS over sockets first. `dns.lookup` asks on one of the four threads that this process has for all look-ups and
 * files: a few names whose servers do not answer would hold up everybody's. It is asked only for names that DNS says it
 * does not know, such as those of /etc/hosts and of search domains.
 */
export function nameResolver({ servers, timeoutMs = TIMEOUT_MS }: NameResolverOptions = {}): Resolver {
  return (hostname, options, callback) => {
    const dns = new DnsResolver({ timeout: timeoutMs, tries: 2 })
    if (servers) dns.setServers(servers)
    void ask(dns, hostname).then(({ addresses, silent }) => {
      if (addresses.length > 0) callback(null, addresses)
      else if (silent) callback(silent, [])
      else lookup(hostname, { ...options, all: true }, callback)
    })
  }
}

interface Answer {
  readonly addresses: LookupAddress[]
  /** Why nobody knows: nobody has answered. */
  readonly silent: NodeJS.ErrnoException | undefined
}

async function ask(dns: DnsResolver, hostname: string): Promise<Answer> {
  const [v4, v6] = await Promise.allSettled([dns.resolve4(hostname), dns.resolve6(hostname)])
  const found = (answer: PromiseSettledResult<string[]>, family: number): LookupAddress[] =>
    answer.status === 'fulfilled' ? answer.value.map(address => ({ address, family })) : []
  const failed = [v4, v6].flatMap(answer => (answer.status === 'rejected' ? [answer.reason] : []))
  return { addresses: [...found(v4, 4), ...found(v6, 6)], silent: failed.find(({ code }) => SILENT.has(code)) }
}
