import { z } from 'zod'
import { HubError } from '../../core/errors.ts'
import { Networks } from '../../transports/networks.ts'
import type { EdgeOptions } from '../edge/edge.ts'
import { DEFAULT_EDGE_LIMITS, type EdgeLimits, LOOPBACK } from '../edge/limits.ts'

const MAX_RATE = 10_000_000
const MAX_BYTE_RATE = 1024 ** 4
const ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@*]+$/
const HOST_NAME = /^(?:\*|\[[0-9a-f:.]+\]|[a-z0-9_.-]+)$/

/** An address, or a network in CIDR form. */
const network = z.string().superRefine((text, context) => {
  try {
    new Networks([text])
  } catch (error) {
    if (!(error instanceof HubError)) throw error
    context.addIssue({ code: 'custom', message: error.message.replace(/^\w+: /, '') })
  }
})

/** Of a second; 0: none. */
const rate = z.int().min(0).max(MAX_RATE)
const byteRate = z.int().min(0).max(MAX_BYTE_RATE)
const connections = z.int().min(1).max(MAX_RATE)

/** They stand among the hub's own limits. */
export const edgeLimits = {
  maxConnections: connections.default(DEFAULT_EDGE_LIMITS.maxConnections),
  maxConnectionsPerAddress: connections.default(DEFAULT_EDGE_LIMITS.maxConnectionsPerAddress),
  handshakesPerSecond: rate.default(DEFAULT_EDGE_LIMITS.handshakesPerSecond),
  handshakesPerSecondPerAddress: rate.default(DEFAULT_EDGE_LIMITS.handshakesPerSecondPerAddress),
  requestsPerSecondPerAddress: rate.default(DEFAULT_EDGE_LIMITS.requestsPerSecondPerAddress),
  messagesPerSecondPerClient: rate.default(DEFAULT_EDGE_LIMITS.messagesPerSecondPerClient),
  bytesPerSecondPerClient: byteRate.default(DEFAULT_EDGE_LIMITS.bytesPerSecondPerClient),
  messagesPerSecondPerAddress: rate.default(DEFAULT_EDGE_LIMITS.messagesPerSecondPerAddress),
  bytesPerSecondPerAddress: byteRate.default(DEFAULT_EDGE_LIMITS.bytesPerSecondPerAddress),
  failedLoginsPerSecondPerAddress: rate.default(DEFAULT_EDGE_LIMITS.failedLoginsPerSecondPerAddress),
  exempt: z.array(network).default([...LOOPBACK]),
}

export const hosts = z
  .array(
    z
      .string()
      .toLowerCase()
      .regex(HOST_NAME, 'it is a name without scheme and port, such as hub.example.org, or * for any'),
  )
  .default([])

export const origins = z
  .array(z.string().refine(isOrigin, 'it is an origin as browsers write it, such as https://example.org'))
  .default([])

export const trustedProxies = z.array(network).default([])

export const timeouts = z.strictObject({
  /** The head of a request. */
  headersMs: z.int().min(100).max(600_000).default(10_000),
  /** Between two requests of one connection: longer than any proxy keeps it. 0: as long as the peer likes. */
  keepAliveMs: z.int().min(0).max(3_600_000).default(72_000),
  /** The body of a request that is no live source. */
  bodyMs: z.int().min(100).max(3_600_000).default(30_000),
  /** Between two pieces of a live source. */
  sourceIdleMs: z.int().min(100).max(86_400_000).default(600_000),
})

/** Lower case, no path, no default port. Of schemes that browsers know an origin of, exactly as they write it. */
function isOrigin(text: string): boolean {
  if (!ORIGIN.test(text)) return false
  return !/^(?:https?|wss?):/.test(text) || (URL.canParse(text) && new URL(text).origin === text)
}

type Limits = EdgeLimits & { readonly exempt: readonly string[] }

/** What is the hub's of the section `limits`. */
export function hubLimits<T extends Limits>(limits: T): Omit<T, keyof Limits> {
  return Object.fromEntries(Object.entries(limits).filter(([name]) => !(name in edgeLimits))) as Omit<T, keyof Limits>
}

export interface EdgeConfig {
  readonly host: string
  readonly hosts: readonly string[]
  readonly origins: readonly string[]
  readonly trustedProxies: readonly string[]
  readonly limits: Limits
  readonly timeouts: { readonly bodyMs: number; readonly sourceIdleMs: number }
}

export function edgeOptions({ host, hosts, origins, trustedProxies, limits, timeouts }: EdgeConfig): EdgeOptions {
  const { exempt } = limits
  const names = Object.keys(DEFAULT_EDGE_LIMITS) as (keyof EdgeLimits)[]
  const rates = Object.fromEntries(names.map(name => [name, limits[name]])) as unknown as EdgeLimits
  const { bodyMs, sourceIdleMs } = timeouts
  return { boundTo: host, hosts, origins, trustedProxies, exempt, limits: rates, bodyMs, sourceIdleMs }
}
