import { buffer } from 'node:stream/consumers'
import { Command, InvalidArgumentError } from '../bundled/commander.ts'
import { parseClientId } from '../core/ids.ts'
import type { SendResult } from '../index.ts'
import { contentType, UNSAID } from './content-type.ts'
import { answerOf, type HubFlags, hubOptions, hubUrl } from './hub-url.ts'

interface SendFlags extends HubFlags {
  readonly confirm?: boolean
  readonly id?: string
  readonly type?: string
  readonly timeout?: number
}

/** The hub waits no longer for one send. */
const MAX_TIMEOUT_MS = 300_000

export function sendCommand(): Command {
  return hubOptions(new Command('send'))
    .description('Send a text, or what comes on stdin, to one client, and say how it ended.')
    .argument('<client>', 'the id of the client')
    .argument('[text]', 'the message; without it stdin is read')
    .option('-c, --confirm', 'wait until the client has it, where its protocol can tell')
    .option('--id <id>', 'the id of the message: what is sent again under it is no second message to a URL')
    .option('-t, --type <type>', 'the content type (default: by its look)', contentType)
    .option('--timeout <ms>', 'how long it may take (default: 30000)', timeoutMs)
    .addHelpText(
      'after',
      `
Examples:
  $ hubline send ada 'hello'
  $ hubline send shop --confirm --id order-7 < order.json`,
    )
    .action(send)
}

async function send(client: string, text: string | undefined, flags: SendFlags): Promise<void> {
  const { confirm, id, type = UNSAID, timeout } = flags
  const query = { confirm: confirm ? 'true' : undefined, id, timeoutMs: timeout?.toString() }
  // Checked here, where a mistake costs nothing.
  const url = hubUrl(flags.url, `/api/clients/${parseClientId(client)}/send`, query)
  const answer = await answerOf(url, flags, {
    method: 'POST',
    headers: { 'content-type': type },
    body: text ?? (await buffer(process.stdin)),
  })
  console.error(outcomeOf((await answer.json()) as SendResult, confirm))
}

function outcomeOf({ id, confirmed, ms }: SendResult, confirm: boolean | undefined): string {
  const after = `after ${ms.toFixed(1)} ms`
  if (confirmed) return `message ${id}, confirmed ${after}`
  return `message ${id}, taken by its transport ${after}${confirm ? '; its protocol cannot confirm' : ''}`
}

function timeoutMs(text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text) && Number(text) <= MAX_TIMEOUT_MS) return Number(text)
  throw new InvalidArgumentError(`A time limit is 1 to ${MAX_TIMEOUT_MS} ms.`)
}
