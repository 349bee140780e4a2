import type { PolicyDescription } from '../core/policy.ts'
import { printable } from './terminal.ts'

/** How a client is when a tail begins. */
export interface ClientState {
  readonly id: string
  readonly protocol: string
  readonly user?: string
  readonly address?: string
  readonly queuedBytes: number
  readonly waitedMs: number
  readonly drops: Readonly<Record<string, number>>
  readonly patterns: readonly string[]
  readonly subscriptions: readonly {
    readonly topic: string
    readonly policy: PolicyDescription
    readonly decidedBy: string
    readonly rule?: string
    readonly pattern?: string
    readonly state: string
    readonly pending: number
  }[]
}

interface SeenMessage {
  readonly seq: number
  readonly bytes: number
  readonly contentType: string
  readonly data?: unknown
  readonly text?: string
  readonly base64?: string
  readonly cut?: boolean
}

/** One thing that happened; `at` in ms since the tail began. */
export type Seen = { readonly at: number } & (
  | {
      readonly kind: 'messages'
      readonly topic: string
      readonly first: number
      readonly last: number
      readonly bytes: number
      readonly result: string
      readonly messages?: readonly SeenMessage[]
    }
  | { readonly kind: 'frame' | 'direct'; readonly bytes: number; readonly result: string }
  | { readonly kind: 'behind'; readonly topic: string; readonly policy: string }
  | { readonly kind: 'caught up'; readonly topic: string }
  | {
      readonly kind: 'dropped'
      readonly topic: string
      readonly from: number
      readonly to: number
      readonly count: number
      readonly reason: string
    }
  | {
      readonly kind: 'gap'
      readonly gap: {
        readonly topic: string
        readonly from: number
        readonly to: number
        readonly count: number | null
        readonly reason: string
      }
    }
  | { readonly kind: 'drained'; readonly bytes: number; readonly waitedMs: number }
  | { readonly kind: 'closed'; readonly reason: string }
)

/** What the hub does not tell apart from a client that takes everything. */
const RESULTS: Readonly<Record<string, string>> = {
  ok: '',
  full: ', and its connection is full',
  gone: ', and it has gone',
}

export function stateText(state: ClientState): string {
  const { id, protocol, address, user, queuedBytes, waitedMs, drops, subscriptions, patterns } = state
  const lost = Object.entries(drops).map(([reason, count]) => `${count} ${reason}`)
  const who = [id, protocol, address, user === undefined ? undefined : `user ${user}`].filter(Boolean).join('  ')
  return [
    printable(who),
    `  queued ${queuedBytes} B, waits ${Math.round(waitedMs)} ms, lost ${lost.join(', ') || 'nothing'}`,
    ...subscriptions.map(({ topic, policy, decidedBy, rule, pattern, state, pending }) => {
      const why = decidedBy === 'rule' ? `rule ${rule}` : decidedBy
      const by = pattern === undefined ? '' : `, by ${pattern}`
      return printable(`  ${topic}: ${policy.name} (${why})${by}, ${state}, ${pending} pending`)
    }),
    ...patterns.map(pattern => `  pattern ${printable(pattern)}`),
  ].join('\n')
}

export function seenText(seen: Seen): string {
  const time = `${(seen.at / 1000).toFixed(3)}s`.padStart(9)
  const lines = [printable(whatHappened(seen))]
  if (seen.kind === 'messages') lines.push(...(seen.messages ?? []).map(message => `    ${messageText(message)}`))
  return `${time} ${lines.join('\n         ')}`
}

function whatHappened(seen: Seen): string {
  switch (seen.kind) {
    case 'messages':
      return `sent ${seen.topic} ${range(seen.first, seen.last)}, ${seen.bytes} B${RESULTS[seen.result] ?? ''}`
    case 'direct':
      return `sent to it alone, ${seen.bytes} B${RESULTS[seen.result] ?? ''}`
    case 'frame':
      return `frame of the protocol, ${seen.bytes} B${RESULTS[seen.result] ?? ''}`
    case 'behind':
      return `behind on ${seen.topic}: ${seen.policy} decides`
    case 'caught up':
      return `caught up on ${seen.topic}`
    case 'dropped':
      return `dropped ${seen.topic} ${range(seen.from, seen.to)}, ${seen.count} messages: ${seen.reason}`
    case 'gap': {
      const { topic, from, to, reason } = seen.gap
      return `told of a gap on ${topic} ${range(from, to)}: ${reason}`
    }
    case 'drained':
      return `took everything; the oldest had waited ${Math.round(seen.waitedMs)} ms`
    case 'closed':
      return `closed: ${seen.reason}`
  }
}

function messageText({ seq, bytes, contentType, cut, ...payload }: SeenMessage): string {
  const shown = payload.text ?? payload.base64 ?? JSON.stringify(payload.data)
  return printable(`${seq} ${contentType} ${bytes} B${cut ? ', begins' : ''}: ${shown}`)
}

function range(first: number, last: number): string {
  return first === last ? `${first}` : `${first} to ${last}`
}
