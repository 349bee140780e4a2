import { open } from 'node:fs/promises'
import { extname } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { Command } from '../bundled/commander.ts'
import { contentType, UNSAID } from './content-type.ts'
import { Failure } from './failure.ts'
import { answerOf, type HubFlags, hubOptions, topicUrl } from './hub-url.ts'
import { bytesPerSecond, paced } from './rate.ts'

interface PublishFlags extends HubFlags {
  readonly lines?: boolean
  readonly rate?: number
  readonly type?: string
  readonly key?: string
}

/** What a file's name says of its content; the hub looks at the rest itself. */
const TYPES: Readonly<Record<string, string>> = {
  '.json': 'application/json',
  '.ndjson': 'application/json',
  '.jsonl': 'application/json',
  '.txt': 'text/plain; charset=utf-8',
  '.png': 'image/png',
  '.jpg': 'image/jpeg',
  '.mp3': 'audio/mpeg',
  '.ogg': 'audio/ogg',
  '.wav': 'audio/wav',
}

export function publishCommand(): Command {
  return hubOptions(new Command('publish'))
    .description('Publish a file, or what comes on stdin, to a topic.')
    .argument('<topic>', 'the topic')
    .argument('[file]', 'the file; - or nothing reads stdin', '-')
    .option('-l, --lines', 'each line is a message, sent as it comes')
    .option('-r, --rate <bytes>', 'a live source of so many bytes a second, such as 128k', bytesPerSecond)
    .option('-t, --type <type>', 'the content type (default: by the name of the file, or by its look)', contentType)
    .option('-k, --key <key>', 'what the message is the newest value of, for the latest policy')
    .addHelpText(
      'after',
      `
Examples:
  $ echo hello | hubline publish news
  $ journalctl -f | hubline publish logs --lines
  $ hubline publish radio song.mp3 --rate 16k`,
    )
    .action(publish)
}

async function publish(topic: string, file: string, flags: PublishFlags): Promise<void> {
  const source = await openSource(file)
  const live = flags.lines === true || flags.rate !== undefined
  const url = topicUrl(flags.url, topic, { key: flags.key, ...(flags.lines && { split: 'lines' }) })
  const type =
    flags.type ?? TYPES[extname(file).toLowerCase()] ?? (flags.lines ? 'text/plain; charset=utf-8' : undefined)
  const body = flags.rate === undefined ? source : Readable.from(paced(source, flags.rate))
  const answer = await answerOf(url, flags, {
    method: live ? 'PUT' : 'POST',
    headers: { 'content-type': type ?? (live ? 'application/octet-stream' : UNSAID) },
    body: live ? Readable.toWeb(body) : await buffer(body),
    // fetch wants to be told that the answer may come while the body is still on its way.
    ...(live && { duplex: 'half' }),
  } as RequestInit)
  const { messages, bytes, seq, matched, unsupported, refused } = (await answer.json()) as Record<string, number>
  const what = live ? `${messages} messages, ${bytes} bytes` : `message ${seq}, ${matched} subscribers`
  // A subscriber's protocol may not be able to carry a message, as the client protocol carries JSON only.
  const lost = `${refused ? `, ${refused} refused` : ''}${unsupported ? `, ${unsupported} undeliverable` : ''}`
  console.error(what + lost)
}

async function openSource(file: string): Promise<Readable> {
  if (file === '-') return process.stdin
  try {
    const handle = await open(file)
    if (!(await handle.stat()).isDirectory()) return handle.createReadStream()
    await handle.close()
  } catch (error) {
    throw new Failure(2, `${file}: cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
  throw new Failure(2, `${file}: cannot be read (EISDIR)`)
}
