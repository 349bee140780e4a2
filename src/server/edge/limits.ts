const MIB = 1024 * 1024

/** What one process, one address and one client may do. Rates are a second; 0: as much as they like. */
export interface EdgeLimits {
  /** TCP connections of the process, whether they are clients or not. */
  readonly maxConnections: number
  readonly maxConnectionsPerAddress: number
  /** Requests that open a client: upgrades and streams. */
  readonly handshakesPerSecond: number
  readonly handshakesPerSecondPerAddress: number
  /** Requests that change something: publications, messages to clients, and whatever else is no GET. */
  readonly requestsPerSecondPerAddress: number
  /** What clients send over WebSockets: frames of a publisher, commands of the client protocol. */
  readonly messagesPerSecondPerClient: number
  readonly bytesPerSecondPerClient: number
  /** The same of all clients of an address, and of its live sources. */
  readonly messagesPerSecondPerAddress: number
  readonly bytesPerSecondPerAddress: number
  readonly failedLoginsPerSecondPerAddress: number
}

/**
 * Sized for an office behind one address, and for one core: what it could not do anyway is refused before it is begun.
 */
export const DEFAULT_EDGE_LIMITS: EdgeLimits = {
  maxConnections: 60_000,
  maxConnectionsPerAddress: 1000,
  handshakesPerSecond: 10_000,
  handshakesPerSecondPerAddress: 100,
  requestsPerSecondPerAddress: 2000,
  messagesPerSecondPerClient: 1000,
  bytesPerSecondPerClient: 8 * MIB,
  messagesPerSecondPerAddress: 10_000,
  bytesPerSecondPerAddress: 64 * MIB,
  failedLoginsPerSecondPerAddress: 10,
}

/**
 * This machine, as the addresses of its own connections have it: not counted by address, unless the configuration says
 * so.
 */
export const LOOPBACK: readonly string[] = ['127.0.0.0/8', '::1']

export type RateOfAddress =
  | 'handshakesPerSecondPerAddress'
  | 'requestsPerSecondPerAddress'
  | 'messagesPerSecondPerAddress'
  | 'bytesPerSecondPerAddress'
  | 'failedLoginsPerSecondPerAddress'

/** So many seconds' worth may come at once: everybody behind an address comes back together after its network did. */
export const BURST_SECONDS = { handshakes: 5, others: 2 } as const

/** The setting that mends it, which is also what the metric calls it. */
export type Refusal = keyof EdgeLimits | 'hosts' | 'origins' | 'pipelining' | 'headersMs' | 'bodyMs' | 'sourceIdleMs'

export const REFUSALS: readonly Refusal[] = [
  ...(Object.keys(DEFAULT_EDGE_LIMITS) as (keyof EdgeLimits)[]),
  'hosts',
  'origins',
  'pipelining',
  'headersMs',
  'bodyMs',
  'sourceIdleMs',
]
