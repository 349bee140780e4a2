import { Command } from '../bundled/commander.ts'
import { parseClientId } from '../core/ids.ts'
import { SseReader } from '../wire/sse-reader.ts'
import { Failure } from './failure.ts'
import { answerOf, type HubFlags, hubOptions, hubUrl } from './hub-url.ts'
import { type ClientState, type Seen, seenText, stateText } from './tail-text.ts'

interface TailFlags extends HubFlags {
  readonly client: string
  readonly payload?: boolean
}

export function tailCommand(): Command {
  return hubOptions(new Command('tail'))
    .description('Watch what is done for one client: each frame, and each decision of its policy.')
    .requiredOption('--client <id>', 'the client')
    .option('--payload', 'show what the messages say, the first KiB of each')
    .addHelpText(
      'after',
      `
Examples:
  $ hubline tail --client ada
  $ hubline tail --client ada --payload

It begins with how the client is, and ends when the client goes. Lines begin with seconds since then.`,
    )
    .action(tail)
}

async function tail(flags: TailFlags): Promise<void> {
  const { client, payload } = flags
  // Checked here, where a mistake costs nothing.
  const path = `/api/clients/${encodeURIComponent(parseClientId(client))}/tail`
  const answer = await answerOf(hubUrl(flags.url, path, { payload: payload ? 'true' : undefined }), flags)
  // The reader of the output is gone.
  process.stdout.on('error', () => process.exit(0))
  try {
    await show(answer.body!)
  } catch (error) {
    throw new Failure(1, 'the hub cut the stream: it may have gone away', { cause: error })
  }
}

async function show(body: ReadableStream<Uint8Array>): Promise<void> {
  const reader = new SseReader()
  const decoder = new TextDecoder()
  for await (const piece of body) {
    for (const { event, data } of reader.push(decoder.decode(piece, { stream: true }))) {
      const line = lineOf(event, JSON.parse(data))
      if (line !== undefined) console.log(line)
    }
  }
}

function lineOf(event: string, data: unknown): string | undefined {
  switch (event) {
    case 'state':
      return stateText(data as ClientState)
    case 'seen':
      return seenText(data as Seen)
    case 'skipped':
      return `         ... ${(data as { count: number }).count} more that this reader was too slow for`
    case 'end':
      return seenText({ ...(data as { at: number; reason: string }), kind: 'closed' })
    default:
      return undefined
  }
}
