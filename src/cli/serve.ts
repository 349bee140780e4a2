import { Command, InvalidArgumentError } from '../bundled/commander.ts'
import { type Config, loadConfig } from '../server/config.ts'
import { Failure } from './failure.ts'

export interface ServeFlags {
  readonly port?: number
  readonly host?: string
  readonly config?: string
  readonly insecure?: boolean
  readonly logLevel?: string
}

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
      const { guideText, serve } = await serverParts()
      const { url, adminUrl = url } = await serve(config)
      showGuide(guideText(config, url, adminUrl))
    })
}

/** Of a server that runs already: a full disk does not end it. */
export function showGuide(text: string): void {
  process.stdout.removeAllListeners('error').on('error', () => {})
  console.log(text)
}

export function readConfig({ config: file, ...flags }: ServeFlags, defaults: Partial<Config> = {}): Config {
  return loadConfig({ file, env: process.env, flags, defaults })
}

/**
 * The server's code, loaded by the commands that serve. Throws a Failure that names a package that is not installed.
 */
export async function serverParts(): Promise<typeof import('./server-parts.ts')> {
  try {
    return await import('./server-parts.ts')
  } catch (error) {
    const name = missingPackage(error)
    if (name === undefined) throw error
    const how = `npm install ${name}, or once: npx -p hubline -p ${name} hubline serve`
    throw new Failure(1, `serve and demo need the package ${name}, which is not installed: ${how}`, { cause: error })
  }
}

function missingPackage(error: unknown): string | undefined {
  const { code, message } = error as NodeJS.ErrnoException
  return code === 'ERR_MODULE_NOT_FOUND' ? /^Cannot find package '([^']+)'/.exec(message)?.[1] : undefined
}
