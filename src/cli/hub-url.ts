import { type Command, Option } from '../bundled/commander.ts'
import { HubError } from '../core/errors.ts'
import { parseTopicName } from '../core/ids.ts'
import { Failure } from './failure.ts'

/** Of every command that asks a hub. */
export interface HubFlags {
  readonly url: string
  readonly apiKey?: string
}

export function hubOptions(command: Command): Command {
  return command
    .option('-u, --url <url>', 'where the hub is', 'http://127.0.0.1:8000')
    .addOption(
      new Option('--api-key <key>', 'for a hub that asks for keys; the variable is seen by fewer').env(
        'HUBLINE_API_KEY',
      ),
    )
}

type Query = Readonly<Record<string, string | undefined>>

/** Checks the topic here, where a mistake costs nothing. */
export function topicUrl(base: string, topic: string, query: Query): URL {
  return hubUrl(base, `/topics/${parseTopicName(topic)}`, query)
}

/** The base may have a path, where the hub is behind a proxy. */
export function hubUrl(base: string, path: string, query: Query = {}): URL {
  const url = URL.canParse(base) ? new URL(base) : undefined
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new HubError(
      'REQUEST_INVALID',
      `--url: ${JSON.stringify(base)} is no HTTP URL; it looks like http://127.0.0.1:8000`,
    )
  }
  url.pathname = url.pathname.replace(/\/+$/, '') + path
  for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, value)
  return url
}

/** The hub's answer, or the one sentence that it has to say. */
export async function answerOf(url: URL, { apiKey }: HubFlags, init: RequestInit = {}): Promise<Response> {
  let answer: Response
  const headers = { ...init.headers, ...authorization(apiKey) }
  try {
    answer = await fetch(url, { ...init, headers })
  } catch (error) {
    const { code, message } = ((error as Error).cause ?? error) as NodeJS.ErrnoException
    throw new Failure(
      1,
      `${url.origin}: ${code === 'ECONNREFUSED' ? 'nobody is listening; start one with: hubline serve' : message}`,
      {
        cause: error,
      },
    )
  }
  if (answer.ok) return answer
  const body = (await answer.json().catch(() => undefined)) as
    | { error?: { code?: string; message?: string } }
    | undefined
  const { code, message = `${url}: ${answer.status} ${answer.statusText}` } = body?.error ?? {}
  throw new Failure(1, `${message}${mends(answer.status, code, url)}`)
}

/** What the hub cannot say, for it knows nothing of this command's options. */
function mends(status: number, code: string | undefined, { origin }: URL): string {
  if (status === 401) return '; give one with --api-key or HUBLINE_API_KEY'
  if (code === 'NOT_FOUND')
    return ` on ${origin}; with admin.port the API is on that port, and topics are on the other: see --url`
  return ''
}

function authorization(apiKey: string | undefined): { authorization?: string } {
  if (apiKey === undefined || apiKey === '') return {}
  // fetch would say what is wrong by repeating it.
  if (!/^[\x21-\x7e]+$/.test(apiKey)) {
    throw new HubError('REQUEST_INVALID', '--api-key: a key is printable ASCII without spaces')
  }
  return { authorization: `Bearer ${apiKey}` }
}
