import { setTimeout as sleep } from 'node:timers/promises'
import { Command, InvalidArgumentError } from 'commander'
import type { ClientInfo, ConnectionStats } from '../core/stats.ts'
import type { HubMetrics } from '../index.ts'
import { answerOf, hubUrl, urlOption } from './hub-url.ts'
import { type Look, statsText } from './stats-table.ts'

interface StatsFlags {
  readonly url: string
  readonly once?: boolean
  readonly interval: number
}

export function statsCommand(): Command {
  return urlOption(new Command('stats'))
    .description('Show who is connected and how delivery goes, as a live table.')
    .option('--once', 'print once and end')
    .option('-i, --interval <ms>', 'between two looks', intervalMs, 1000)
    .addHelpText(
      'after',
      `
Examples:
  $ hubline stats
  $ hubline stats --once --url http://127.0.0.1:9000`,
    )
    .action(stats)
}

async function stats({ url, once, interval }: StatsFlags): Promise<void> {
  let before: Look | undefined
  process.stdout.on('error', ended)
  for (;;) {
    const [stats, metrics, { clients }] = await Promise.all([
      read<ConnectionStats>(url, '/api/stats'),
      read<HubMetrics>(url, '/api/metrics'),
      read<{ clients: ClientInfo[] }>(url, '/api/clients'),
    ])
    const now = { stats, metrics, clients }
    const boxed = process.stdout.isTTY === true
    console.log((boxed && !once ? '\u001b[2J\u001b[H' : '') + statsText(now, { before, boxed }))
    if (once) return
    before = now
    await sleep(interval)
  }
}

/** Whoever read our output has had enough. */
function ended(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error
  process.exit(0)
}

async function read<T>(base: string, path: string): Promise<T> {
  return (await (await answerOf(hubUrl(base, path))).json()) as T
}

function intervalMs(text: string): number {
  if (!/^\d{2,6}$/.test(text)) throw new InvalidArgumentError('An interval is 10 to 999999 ms.')
  return Number(text)
}
