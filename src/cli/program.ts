import { readFileSync } from 'node:fs'
import { Command, CommanderError } from '../bundled/commander.ts'
import { HubError } from '../core/errors.ts'
import { configCommand } from './config.ts'
import { demoCommand } from './demo.ts'
import { Failure } from './failure.ts'
import { publishCommand } from './publish.ts'
import { sendCommand } from './send.ts'
import { serveCommand } from './serve.ts'
import { subscribeCommand } from './subscribe.ts'
import { tailCommand } from './tail.ts'
import { tokenCommand } from './token.ts'
import { topCommand } from './top.ts'

const { version, description } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))

const oneLine = (text: string): string => `${text.trim().replace(/\s*\n\s*/g, ' ')}\n`

/**
 * Runs the command line `hubline ...args`. Resolves to the exit code when the command has ended, or when a server has
 * started. Never rejects: what went wrong is on stderr.
 */
export async function runCommand(args: readonly string[]): Promise<number> {
  try {
    await createProgram().parseAsync(args, { from: 'user' })
    return 0
  } catch (error) {
    return explain(error)
  }
}

function createProgram(): Command {
  const program = new Command('hubline')
    .description(description)
    .version(version)
    .showSuggestionAfterError()
    .addHelpText(
      'after',
      `
Begin with:
  $ hubline demo                      live sources and a page at http://127.0.0.1:8000/
  $ hubline serve                     an empty hub on port 8000
  $ hubline subscribe news            in one terminal
  $ echo hello | hubline publish news in another
  $ hubline send ada 'for you alone'  to one client, and how it ended
  $ hubline top                       who is connected, and who cannot keep up
  $ hubline tail --client ada         what is sent to one client, and what is not

Each command explains itself: hubline publish --help`,
    )
  program.addCommand(serveCommand()).addCommand(demoCommand())
  program.addCommand(configCommand()).addCommand(tokenCommand())
  program.addCommand(publishCommand()).addCommand(subscribeCommand()).addCommand(sendCommand())
  program.addCommand(topCommand()).addCommand(tailCommand())
  for (const command of [program, ...program.commands, ...program.commands.flatMap(({ commands }) => commands)]) {
    command.exitOverride().configureOutput({ outputError: (text, write) => write(oneLine(text)) })
  }
  return program
}

/**
 * One line for people; the stack only for those who ask with HUBLINE_DEBUG=1. Returns the exit code: 2 for what the
 * user can mend.
 */
function explain(error: unknown): number {
  // commander has said it already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  if (process.env.HUBLINE_DEBUG === '1') console.error(error)
  process.stderr.write(oneLine(`hubline: ${error instanceof Error ? error.message : String(error)}`))
  if (error instanceof Failure) return error.exitCode
  return error instanceof HubError ? 2 : 1
}
