import { Command, InvalidArgumentError, Option } from '../bundled/commander.ts'
import type { ClientInfo, ConnectionStats } from '../core/stats.ts'
import type { HubMetrics } from '../index.ts'
import { answerOf, type HubFlags, hubOptions, hubUrl } from './hub-url.ts'
import { type Keyboard, openKeyboard, type Terminal } from './terminal.ts'
import { type Look, SORTS, type Sort, topText } from './top-table.ts'

interface TopFlags extends HubFlags {
  readonly once?: boolean
  readonly interval: number
  readonly sort: Sort
}

/** Clients that are asked for; a small terminal shows fewer. */
const MAX_ROWS = 30
/** Lines of a terminal that are not clients, and those that each client has between lines. */
const OTHER_LINES = 10
const LINES_PER_CLIENT = 2

const KEYS: Readonly<Record<string, Sort>> = { b: 'queue', w: 'wait', d: 'drops', i: 'id' }
const QUIT: ReadonlySet<string> = new Set(['q', '\u0003', '\u0004'])
const CLEAR = '\u001b[2J\u001b[H'
const OTHER_SCREEN = '\u001b[?1049h\u001b[?25l'
const FIRST_SCREEN = '\u001b[?25h\u001b[?1049l'

export function topCommand(): Command {
  return hubOptions(new Command('top'))
    .alias('stats')
    .description('Watch who is connected and how delivery goes: those first who wait longest.')
    .option('--once', 'print once and end')
    .option('-i, --interval <ms>', 'between two looks', intervalMs, 1000)
    .addOption(new Option('-s, --sort <by>', 'who comes first').choices([...SORTS]).default('wait'))
    .addHelpText(
      'after',
      `
Examples:
  $ hubline top
  $ hubline top --once --url http://127.0.0.1:9000 --sort drops

In a terminal: b sorts by bytes that are queued, w by the longest wait, d by drops, i by id; q ends. Elsewhere each look is printed.`,
    )
    .action((flags: TopFlags) => {
      // The reader of the output is gone.
      process.stdout.on('error', () => process.exit(0))
      return top(flags, { input: process.stdin, output: process.stdout })
    })
}

/** Looks again and again, until somebody has seen enough. */
export async function top(flags: TopFlags, terminal: Terminal): Promise<void> {
  const { output } = terminal
  const live = output.isTTY === true && flags.once !== true
  using keyboard = openKeyboard(live ? terminal : { output })
  let { sort } = flags
  let before: Look | undefined
  if (live) output.write(OTHER_SCREEN)
  try {
    for (;;) {
      const look = await lookAt(flags, sort, rowsOf(output))
      output.write(`${live ? CLEAR : ''}${topText(look, { before, sort, boxed: live })}\n`)
      if (flags.once) return
      before = look
      const key = await nextKey(keyboard, flags.interval)
      if (key !== undefined && QUIT.has(key)) return
      sort = KEYS[key ?? ''] ?? sort
    }
  } finally {
    if (live) output.write(FIRST_SCREEN)
  }
}

/** One that means something, or undefined when it is time to look again. */
async function nextKey(keyboard: Keyboard, ms: number): Promise<string | undefined> {
  const until = performance.now() + ms
  for (;;) {
    const key = await keyboard.next(until - performance.now())
    if (key === undefined || key in KEYS || QUIT.has(key)) return key
  }
}

async function lookAt(flags: TopFlags, sort: Sort, limit: number): Promise<Look> {
  const [stats, metrics, { clients, total }] = await Promise.all([
    read<ConnectionStats>(flags, '/api/stats'),
    read<HubMetrics>(flags, '/api/metrics'),
    read<{ clients: ClientInfo[]; total: number }>(flags, '/api/clients', { sort, limit: `${limit}` }),
  ])
  return { stats, metrics, clients, total }
}

function rowsOf({ isTTY, rows }: Terminal['output']): number {
  if (!isTTY || rows === undefined) return MAX_ROWS
  return Math.min(MAX_ROWS, Math.max(1, Math.floor((rows - OTHER_LINES) / LINES_PER_CLIENT)))
}

async function read<T>(flags: HubFlags, path: string, query: Record<string, string> = {}): Promise<T> {
  return (await (await answerOf(hubUrl(flags.url, path, query), flags)).json()) as T
}

function intervalMs(text: string): number {
  if (!/^\d{2,6}$/.test(text)) throw new InvalidArgumentError('An interval is 10 to 999999 ms.')
  return Number(text)
}
