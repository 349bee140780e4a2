import { z } from 'zod'
import type { Position } from '../core/ids.ts'
import { isPattern } from '../core/patterns.ts'
import { ERRORS, type ProtocolError } from '../wire/client-protocol.ts'
import { JsonText, MAX_JSON_DEPTH, parseJson } from '../wire/json.ts'

/** A line of the client protocol, read. Every command but what is in a `send` has an id, which its reply repeats. */
export type Command =
  | {
      readonly method: 'connect'
      readonly id: number
      readonly token: string | undefined
      /** Where it stopped in subscriptions that the server made. */
      readonly positions: ReadonlyMap<string, Position>
    }
  | ({ readonly method: 'subscribe'; readonly id: number; readonly channel: string } & SubscribeWish)
  | { readonly method: 'unsubscribe'; readonly id: number; readonly channel: string }
  /** `data` is the JSON text as it came. */
  | { readonly method: 'publish'; readonly id: number; readonly channel: string; readonly data: string }
  | { readonly method: 'presence'; readonly id: number; readonly channel: string }
  | { readonly method: 'presence_stats'; readonly id: number; readonly channel: string }
  | ({ readonly method: 'history'; readonly id: number; readonly channel: string } & HistoryWish)
  | { readonly method: 'refresh'; readonly id: number; readonly token: string }
  | { readonly method: 'sub_refresh'; readonly id: number; readonly channel: string; readonly token: string }
  | { readonly method: 'ping'; readonly id: number }
  /** Everything of the channel up to the offset has arrived. Without an id (in a `send`) nobody waits for an answer. */
  | ({ readonly method: 'ack'; readonly id: number | undefined } & Ack)
  /** Well formed, but `error` is all the answer that it gets. `of` is the method that was asked for. */
  | { readonly method: 'refused'; readonly of: string; readonly id: number; readonly error: ProtocolError }
  /** Of data that mean nothing here. */
  | { readonly method: 'send' }
  | { readonly method: 'pong' }
  /** Not this protocol. `why` is ours, never the peer's text: it goes into the close frame. */
  | { readonly method: 'malformed'; readonly why: string }

export interface SubscribeWish {
  readonly policy: unknown
  readonly token: string | undefined
  /** Where it stopped; undefined: it begins now. */
  readonly after: Position | undefined
  readonly joinLeave: boolean
  /** Rather an error than a subscription that has lost something. */
  readonly rejectUnrecovered: boolean
}

export interface HistoryWish {
  /** 0: the position alone. */
  readonly limit: number
  readonly since: Position | undefined
  readonly reverse: boolean
}

export interface Ack {
  readonly topic: string
  /** Undefined: that of the subscription, which the SDKs do not show to applications. */
  readonly epoch: string | undefined
  readonly offset: number
}

type Reader = (id: number, body: unknown, line: string) => Command

/** Null is as good as absent: the SDKs of other languages write either. */
const optional = <T extends z.ZodType>(type: T) => type.nullish().transform(value => value ?? undefined)
const channel = z.string()
const id = z.int().min(1).max(0xffff_ffff)
const offset = z.int().min(0)
const ack = z.object({ topic: z.string(), epoch: optional(z.string()), offset })
/** Zeros and empty strings are left out by some SDKs. */
const position = { epoch: optional(z.string()), offset: optional(offset) }
const recovery = z.object({ recover: optional(z.boolean()), ...position })
/** Most subscriptions of the server that a connect may ask to go on with. */
const MAX_CONNECT_SUBS = 512
/** Of `flag`. */
const REJECT_UNRECOVERED = 2

/** Without an epoch nobody can know what was missed, so that there is nothing to resume from: no topic has this one. */
function positionOf({ epoch = '', offset = 0 }: { epoch?: string | undefined; offset?: number | undefined }): Position {
  return { epoch, seq: offset }
}

/** Unknown keys are dropped, not refused: the protocol grows. */
const readers: Readonly<Record<string, Reader>> = {
  connect: reader(
    'connect',
    z.object({ token: optional(z.string()), subs: optional(z.record(z.string(), recovery)) }),
    (id, { token, subs = {} }) => {
      const asked = Object.entries(subs).filter(([, { recover }]) => recover)
      const positions = new Map(asked.slice(0, MAX_CONNECT_SUBS).map(([name, sub]) => [name, positionOf(sub)]))
      return { method: 'connect', id, token, positions }
    },
  ),

  subscribe: reader(
    'subscribe',
    recovery.extend({
      channel,
      token: optional(z.string()),
      /** Any JSON, of which we know one key. */
      data: z.object({ policy: z.unknown() }).optional().catch(undefined),
      join_leave: optional(z.boolean()),
      flag: optional(z.int()),
      type: optional(z.number()),
      tf: optional(z.unknown()),
    }),
    (id, { channel, token, data, type, tf, recover, join_leave: joinLeave = false, flag = 0, ...stopped }) => {
      if (type) return refuse('subscribe', id, ERRORS.notAvailable, 'type: maps and shared polls are not there yet')
      // Passing over the filter would send what the subscriber asked not to get.
      if (tf !== undefined) return refuse('subscribe', id, ERRORS.notAvailable, 'tf: filters are not there yet')
      const after = recover ? positionOf(stopped) : undefined
      const rejectUnrecovered = (flag & REJECT_UNRECOVERED) !== 0
      const policy = data?.policy ?? undefined
      return {
        method: 'subscribe',
        id,
        channel,
        token: token || undefined,
        policy,
        after,
        joinLeave,
        rejectUnrecovered,
      }
    },
  ),

  unsubscribe: reader('unsubscribe', z.object({ channel }), (id, { channel }) => ({
    method: 'unsubscribe',
    id,
    channel,
  })),

  publish: reader('publish', z.object({ channel, type: optional(z.number()) }), (id, { channel, type }, line) => {
    if (type) return refuse('publish', id, ERRORS.notAvailable, 'type: maps are not there yet')
    const data = new JsonText(line).member('publish')!.member('data')?.text
    if (data === undefined) return refuse('publish', id, ERRORS.badRequest, 'data: it is missing; it may be any JSON')
    return { method: 'publish', id, channel, data }
  }),

  ping: reader('ping', z.object({}), id => ({ method: 'ping', id })),

  rpc: reader(
    'rpc',
    z.object({ method: optional(z.string()), data: z.unknown().optional() }),
    (id, { method, data }) => {
      if (method !== 'ack') return refuse('rpc', id, ERRORS.notAvailable, 'the only method of rpc is ack')
      const { success, data: said, error } = ack.safeParse(data)
      return success ? { method: 'ack', id, ...said } : refuse('rpc', id, ERRORS.badRequest, describe(error, 'data'))
    },
  ),

  presence: reader('presence', z.object({ channel }), (id, { channel }) => ({ method: 'presence', id, channel })),

  presence_stats: reader('presence_stats', z.object({ channel }), (id, { channel }) => ({
    method: 'presence_stats',
    id,
    channel,
  })),

  history: reader(
    'history',
    z.object({
      channel,
      /** Negative: as many as there may be. */
      limit: optional(z.int()),
      since: optional(z.object(position)),
      reverse: optional(z.boolean()),
    }),
    (id, { channel, limit = 0, since, reverse = false }) => {
      return { method: 'history', id, channel, limit, since: since && positionOf(since), reverse }
    },
  ),

  refresh: reader('refresh', z.object({ token: z.string() }), (id, { token }) => ({ method: 'refresh', id, token })),

  sub_refresh: reader(
    'sub_refresh',
    z.object({ channel, token: z.string(), type: optional(z.number()) }),
    (id, { channel, token, type }) => {
      if (type) return refuse('sub_refresh', id, ERRORS.notAvailable, 'type: shared polls are not there yet')
      return { method: 'sub_refresh', id, channel, token }
    },
  ),
}

/** Never throws, whatever the line. */
export function readCommand(line: string): Command {
  const command = parseJson(line)
  if (typeof command !== 'object' || command === null || Array.isArray(command)) {
    return {
      method: 'malformed',
      why: `a command is one JSON object on one line, at most ${MAX_JSON_DEPTH} levels deep`,
    }
  }
  const members = new Map<string, unknown>(Object.entries(command))
  const has = (method: string) => (members.get(method) ?? null) !== null
  if (members.size === 0) return { method: 'pong' }
  if (has('send')) return readSend(members.get('send'))
  const known = id.safeParse(members.get('id'))
  if (!known.success) return { method: 'malformed', why: 'a command has an id, a whole number from 1' }
  const method = Object.keys(readers).find(has)
  if (method === undefined) return refuse('', known.data, ERRORS.methodNotFound)
  return readers[method]!(known.data, members.get(method), line)
}

const sent = z.object({ data: z.object({ ack: z.unknown() }) })

function readSend(body: unknown): Command {
  const carried = sent.safeParse(body)
  if (!carried.success) return { method: 'send' }
  const { success, data, error } = ack.safeParse(carried.data.data.ack)
  return success
    ? { method: 'ack', id: undefined, ...data }
    : { method: 'malformed', why: describe(error, 'send.data.ack') }
}

function reader<T>(method: string, schema: z.ZodType<T>, read: (id: number, body: T, line: string) => Command): Reader {
  return (id, value, line) => {
    const { success, data, error } = schema.safeParse(value)
    return success ? read(id, data, line) : refuse(method, id, ERRORS.badRequest, describe(error))
  }
}

function refuse(of: string, id: number, error: ProtocolError, detail?: string): Command {
  const message = detail === undefined ? error.message : `${error.message}: ${detail}`
  return { method: 'refused', of, id, error: { ...error, message } }
}

function describe({ issues }: z.ZodError, ...within: string[]): string {
  const { path, message } = issues[0]!
  const place = [...within, ...path].join('.')
  return place === '' ? message : `${place}: ${message}`
}

/**
 * What a subscription to a pattern counts in what a client may send, in bytes: for it all topics are looked through.
 */
export const PATTERN_BYTES = 256 * 1024

/** It takes as long as there are topics: whoever asks for it pays for it, and lets others have their turn. */
export function namesMany(command: Command): boolean {
  return command.method === 'subscribe' && isPattern(command.channel)
}
