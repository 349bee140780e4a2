import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Command, InvalidArgumentError } from 'commander'
import { type ReadEvent, SseReader } from '../wire/sse-reader.ts'
import { Failure } from './failure.ts'
import { answerOf, type HubFlags, hubOptions, topicUrl } from './hub-url.ts'

interface SubscribeFlags extends HubFlags {
  readonly lines?: boolean
  readonly count?: number
  readonly client?: string
  readonly policy?: string
}

export function subscribeCommand(): Command {
  return hubOptions(new Command('subscribe'))
    .description('Write what is published to a topic to stdout, as it comes.')
    .argument('<topic>', 'the topic')
    .option('-l, --lines', 'end each message with a line feed')
    .option('-n, --count <number>', 'end after so many messages', countNumber)
    .option('--client <id>', 'the id that this client shall have')
    .option('--policy <policy>', 'the delivery policy that this client wishes: a name, or JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ hubline subscribe demo/telemetry --lines
  $ hubline subscribe radio | mpg123 -`,
    )
    .action(subscribe)
}

async function subscribe(topic: string, flags: SubscribeFlags): Promise<void> {
  const single = flags.lines === true || flags.count !== undefined
  const { client, policy } = flags
  const url = topicUrl(flags.url, topic, { client, policy, ...(single && { encoding: 'base64' }) })
  const leave = new AbortController()
  const answer = await answerOf(url, flags, {
    signal: leave.signal,
    headers: { accept: single ? 'text/event-stream' : '*/*' },
  })
  const body = Readable.fromWeb(answer.body as never)
  try {
    await pipeline(single ? messages(body, flags) : body, process.stdout, { end: false })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // Whoever read our output has had enough.
    if (code === 'EPIPE' || code === 'ERR_STREAM_PREMATURE_CLOSE') return
    if (error instanceof Failure) throw error
    throw new Failure(1, 'the hub cut the stream: this client was too slow, or the hub went away', { cause: error })
  } finally {
    leave.abort()
  }
}

/** The messages of an event stream, one at a time; losses and the reason of the end go to stderr. */
async function* messages(
  body: Readable,
  { lines, count = Number.POSITIVE_INFINITY }: SubscribeFlags,
): AsyncGenerator<Buffer> {
  const reader = new SseReader()
  const decoder = new TextDecoder()
  let left = count
  for await (const piece of body as AsyncIterable<Uint8Array>) {
    for (const event of reader.push(decoder.decode(piece, { stream: true }))) {
      if (event.event !== 'message') {
        console.error(noticeOf(event))
        checkClose(event)
        continue
      }
      const payload = Buffer.from(event.data, 'base64')
      yield lines ? Buffer.concat([payload, Buffer.from('\n')]) : payload
      if (--left === 0) return
    }
  }
}

/** A hub that shuts down ends the stream in order; any other reason of its own is a failure, though it closed politely. */
function checkClose({ event, data }: ReadEvent): void {
  if (event !== 'close') return
  const { reason } = JSON.parse(data) as { reason?: string }
  if (reason !== 'shutdown') throw new Failure(1, `the hub closed the stream: ${reason}`)
}

export function noticeOf({ event, data }: ReadEvent): string {
  const { count, reason } = JSON.parse(data) as { count?: number | null; reason?: string }
  return event === 'gap'
    ? `[lost ${count ?? 'an unknown number of'} messages: ${reason}]`
    : `[closed by the hub: ${reason}]`
}

function countNumber(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('A count is a whole number from 1.')
  return Number(text)
}
