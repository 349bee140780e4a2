import { closeWithGrace } from '../bundled/close-with-grace.ts'
import type { Config } from '../server/config.ts'
import { type RunningServer, type ServerOptions, startServer } from '../server/server.ts'

// What `serve` and `demo` need and the other commands do not: those work where Fastify is not installed, and start
// sooner.
export { demoPlugin, demoTopics } from '../server/demo/plugin.ts'
export { guideText } from '../server/guide.ts'

/** What is left after the drain is cut; the process must be gone within 10 s of the signal. */
const MARGIN_MS = 1500
const MAX_EXIT_MS = 9800

/**
 * Starts the server and lets SIGTERM and SIGINT drain it: exit code 0. A second signal ends it at once: exit code 1.
 */
export async function serve(config: Config, options: ServerOptions = {}): Promise<RunningServer> {
  const server = await startServer(config, options)
  const { log } = server.app
  const delay = Math.min(config.drainMs + MARGIN_MS, MAX_EXIT_MS)
  const onSecondSignal = (signal: string): void => log.warn({ signal }, 'ended at once by a second signal')
  closeWithGrace({ delay, logger: false, onSecondSignal }, async ({ err, signal }) => {
    if (err) log.fatal({ err }, 'ended by a fault')
    else log.info({ signal }, 'draining')
    const report = await server.close()
    log.info({ report }, 'shut down')
  })
  return server
}
