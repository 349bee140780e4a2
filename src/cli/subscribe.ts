import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { Command, InvalidArgumentError } from '../bundled/commander.ts'
import { type ReadEvent, SseReader } from '../wire/sse-reader.ts'
import { Failure } from './failure.ts'
import { answerOf, type HubFlags, hubOptions, topicUrl } from './hub-url.ts'

interface SubscribeFlags extends HubFlags {
  readonly lines?: boolean
  readonly count?: number
  readonly client?: string
  readonly policy?: string
  readonly since?: string
}

/** How long it tries to come back after a cut, in ms, and how long it waits in between. */
const COME_BACK_MS = 30_000
const FIRST_WAIT_MS = 250
const LONGEST_WAIT_MS = 4000

const CUT = 'the hub cut the stream: this client was too slow, or the hub went away'

export function subscribeCommand(): Command {
  return hubOptions(new Command('subscribe'))
    .description('Write what is published to a topic to stdout, as it comes.')
    .argument('<topic>', 'the topic')
    .option('-l, --lines', 'end each message with a line feed')
    .option('-n, --count <number>', 'end after so many messages', countNumber)
    .option('--client <id>', 'the id that this client shall have')
    .option('--policy <policy>', 'the delivery policy that this client wishes: a name, or JSON')
    .option('--since <position>', 'begin there: oldest, or epoch-seq')
    .addHelpText(
      'after',
      `
Examples:
  $ hubline subscribe demo/telemetry --lines
  $ hubline subscribe radio | mpg123 -

With --lines or --count it comes back after a cut, and goes on where it stopped.`,
    )
    .action(subscribe)
}

async function subscribe(topic: string, flags: SubscribeFlags): Promise<void> {
  const single = flags.lines === true || flags.count !== undefined
  const { client, policy, since } = flags
  const url = topicUrl(flags.url, topic, { client, policy, since, ...(single && { encoding: 'base64' }) })
  const leave = new AbortController()
  const open = async (lastId = ''): Promise<Readable> => {
    const headers = {
      // With JSON beside it, an error comes as its status and not in the form for EventSource.
      accept: single ? 'text/event-stream, application/json' : '*/*',
      ...(lastId !== '' && { 'last-event-id': lastId }),
    }
    const answer = await answerOf(url, flags, { signal: leave.signal, headers })
    return Readable.fromWeb(answer.body as never)
  }
  // Where it cannot even begin, the sentence is another than of a cut.
  const body = await open()
  try {
    await pipeline(single ? messages(body, open, flags) : body, process.stdout, { end: false })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // Whoever read our output has had enough.
    if (code === 'EPIPE' || code === 'ERR_STREAM_PREMATURE_CLOSE') return
    if (error instanceof Failure) throw error
    throw new Failure(1, CUT, { cause: error })
  } finally {
    leave.abort()
  }
}

/** The messages of an event stream, over all its cuts, one at a time; losses and the reason of the end go to stderr. */
async function* messages(
  first: Readable,
  open: (lastId: string) => Promise<Readable>,
  { lines, count = Number.POSITIVE_INFINITY }: SubscribeFlags,
): AsyncGenerator<Buffer> {
  const end = lines ? Buffer.from('\n') : Buffer.alloc(0)
  let left = count
  let lastId = ''
  for (let body = first; ; body = await comeBack(open, lastId)) {
    const reader = new SseReader()
    let cut: unknown
    try {
      for await (const payload of payloadsOf(body, reader)) {
        if (payload === undefined) return
        yield Buffer.concat([payload, end])
        if (--left === 0) return
      }
    } catch (error) {
      if (error instanceof Failure) throw error
      cut = error
    }
    lastId = reader.lastId || lastId
    // Without a place to go on from, what came meanwhile would be a silent hole.
    if (lastId === '') return rethrow(cut)
    console.error('[cut off: coming back]')
  }
}

function rethrow(error: unknown): void {
  if (error) throw error
}

/** Of one connection; undefined where the hub ended it in order. */
async function* payloadsOf(body: Readable, reader: SseReader): AsyncGenerator<Buffer | undefined> {
  for await (const event of eventsOf(body, reader)) {
    if (event.event === 'message') yield Buffer.from(event.data, 'base64')
    else console.error(noticeOf(event))
    checkClose(event)
    if (event.event === 'close') yield undefined
  }
}

async function* eventsOf(body: Readable, reader: SseReader): AsyncGenerator<ReadEvent> {
  const decoder = new TextDecoder()
  for await (const piece of body as AsyncIterable<Uint8Array>) {
    yield* reader.push(decoder.decode(piece, { stream: true }))
  }
}

/** Throws what the last attempt failed with, in the end. */
async function comeBack(open: (lastId: string) => Promise<Readable>, lastId: string): Promise<Readable> {
  const until = performance.now() + COME_BACK_MS
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
    await sleep(wait)
    try {
      return await open(lastId)
    } catch (error) {
      if (performance.now() > until) throw new Failure(1, CUT, { cause: error })
    }
  }
}

/**
 * A hub that shuts down ends the stream in order; any other reason of its own is a failure, though it closed politely.
 */
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
