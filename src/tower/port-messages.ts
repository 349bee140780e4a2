import { z } from 'zod'
import type { RouteResult } from '../core/broker.ts'
import type { CloseReason } from '../core/connection.ts'
import type { ErrorCode } from '../core/errors.ts'

/** Calls of one worker that may wait for their answer. */
export const MAX_CALLS = 1024

const number = z.int().min(0)
const bytes = z.custom<Uint8Array>(value => value instanceof Uint8Array, 'not a Uint8Array')

/** What a worker says. `socket` is its own number for a socket that lives there; `write` answers one write to it. */
export const fromWorkerSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('broadcast'), call: number, data: bytes }),
  z.object({ type: z.literal('add'), call: number, id: z.string(), socket: number }),
  z.object({ type: z.literal('remove'), call: number, id: z.string() }),
  z.object({ type: z.literal('count'), call: number }),
  z.object({ type: z.literal('wrote'), socket: number, count: number }),
  z.object({ type: z.literal('gone'), socket: number }),
])
export type FromWorker = z.infer<typeof fromWorkerSchema>

export type Answer = RouteResult | boolean | number | undefined

/** What the tower's thread says. */
export type ToWorker =
  | { readonly type: 'answer'; readonly call: number; readonly value: Answer }
  | { readonly type: 'error'; readonly call: number; readonly code: ErrorCode; readonly message: string }
  | { readonly type: 'write'; readonly socket: number; readonly data: Uint8Array }
  | { readonly type: 'close'; readonly socket: number; readonly reason: CloseReason }

/** Exactly the bytes of the view: a Buffer's memory is often shared with others, and a port would copy all of it. */
export function copyOf(data: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(data)
}
