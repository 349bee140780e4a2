import closeWithGrace from 'close-with-grace'
import { Command, InvalidArgumentError } from 'commander'
import { type Config, loadConfig } from '../server/config.ts'
import { guideText } from '../server/guide.ts'
import { type RunningServer, type ServerOptions, startServer } from '../server/server.ts'

export interface ServeFlags {
  readonly port?: number
  readonly host?: string
  readonly config?: string
  readonly insecure?: boolean
  readonly logLevel?: string
}

/** What is left after the drain is cut; the process must be gone within 10 s of the signal. */
const MARGIN_MS = 1500
const MAX_EXIT_MS = 9800

export function portNumber(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535)
    throw new InvalidArgumentError('A port is a number from 0 to 65535.')
  return Number(text)
}

/** The options that every command which serves has. */
export function serverOptions(command: Command, logLevel = 'info'): Command {
  return command
    .option('-p, --port <number>', 'port to listen on; 0 takes any free one (default: 8000)', portNumber)
    .option('--host <address>', 'address to listen on (default: 127.0.0.1)')
    .option('-c, --config <file>', 'JSON or YAML file; HUBLINE_* variables and options win over it')
    .option('--insecure', 'allow an address that others can reach, though nobody has to log in')
    .option('--log-level <level>', `fatal, error, warn, info, debug, trace or silent (default: ${logLevel})`)
}

export function serveCommand(): Command {
  return serverOptions(new Command('serve'))
    .description('Run the server: topics over HTTP, SSE and WebSocket, and POSTs to clients that are URLs.')
    .addHelpText(
      'after',
      `
Examples:
  $ hubline serve --port 8000
  $ HUBLINE_POLICY=latest hubline serve --config hubline.yaml

All settings: docs/configuration.md. SIGTERM drains: no new connections, what was published is handed over, clients are closed with the
reason. A second one ends at once.`,
    )
    .action(async (flags: ServeFlags) => {
      const config = readConfig(flags)
      const { url, adminUrl = url } = await serve(config)
      console.log(guideText(config, url, adminUrl))
    })
}

export function readConfig({ config: file, ...flags }: ServeFlags, defaults: Partial<Config> = {}): Config {
  return loadConfig({ file, env: process.env, flags, defaults })
}

/** Starts the server and lets SIGTERM and SIGINT drain it: exit code 0. A second signal ends it at once: exit code 1. */
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
