import { readFileSync } from 'node:fs'
import type { Server, Socket } from 'node:net'
import type { FastifyBaseLogger } from 'fastify'
import type { Scheduler } from '../core/scheduler.ts'

/** Between two warnings, in ms. */
const QUIET_MS = 10_000

/** Node's own: the descriptor of a socket. */
type DescribedSocket = Socket & { readonly _handle?: { readonly fd?: number } | null }

/** How many files this process may have open (RLIMIT_NOFILE). Undefined where /proc does not tell. */
export function fileLimit(): number | undefined {
  try {
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1]
    return limit === undefined ? undefined : Number(limit)
  } catch {
    return undefined
  }
}

/**
 * Logs a warning when a connection takes the last file descriptor. libuv closes the connections that come after it
 * without an error, so nothing else would say why clients are cut. The kernel hands out the lowest free descriptor, so
 * a high one means that few are free.
 */
export function warnAtFileLimit(
  server: Server,
  limit: number,
  clock: Pick<Scheduler, 'now'>,
  log: Pick<FastifyBaseLogger, 'warn'>,
): void {
  let quietUntil = 0
  server.on('connection', ({ _handle }: DescribedSocket) => {
    if ((_handle?.fd ?? 0) < limit - 2 || clock.now() < quietUntil) return
    quietUntil = clock.now() + QUIET_MS
    log.warn({ limit }, 'out of file descriptors: new connections are cut; raise the limit (ulimit -n, LimitNOFILE)')
  })
}
