/** One event of a text/event-stream (HTML Standard, section 9.2). */
export interface SseEvent {
  /** Absent: `message`. */
  readonly event?: string
  readonly id?: string
  readonly data: string
}

const encoder = new TextEncoder()
const LINE_ENDS = /\r\n|\r|\n/g

/**
 * Every line of the data becomes a field of its own, whatever ends it, so that data cannot forge a field. `event` and
 * `id` must not contain a line end or NUL: they are ours, never a publisher's.
 */
export function sseEvent({ event, id, data }: SseEvent): Uint8Array {
  let text = ''
  if (id !== undefined) text += `id: ${id}\n`
  if (event !== undefined) text += `event: ${event}\n`
  // In one go: a megabyte of line ends is a million lines.
  text += `data: ${data.replace(LINE_ENDS, '\ndata: ')}\n\n`
  return encoder.encode(text)
}

/** A line that every reader skips: keeps the way through proxies open. */
export function sseComment(text: string): Uint8Array {
  return encoder.encode(`: ${text}\n\n`)
}

/** How long a browser waits before it connects again, in ms. */
export function sseRetry(ms: number): Uint8Array {
  return encoder.encode(`retry: ${ms}\n\n`)
}

/** What a reader comes back with, without an event. */
export function sseId(id: string): Uint8Array {
  return encoder.encode(`id: ${id}\n\n`)
}
