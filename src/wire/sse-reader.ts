/** One event as a reader sees it (HTML Standard, section 9.2.6). */
export interface ReadEvent {
  readonly event: string
  readonly data: string
  readonly id: string
}

/**
 * Puts the events of a text/event-stream together, whatever the pieces it comes in. Understands what Hubline sends: LF
 * line ends.
 */
export class SseReader {
  #rest = ''
  #id = ''

  /** What to come back with. An id alone, without an event, counts. */
  get lastId(): string {
    return this.#id
  }

  #read(block: string): ReadEvent | undefined {
    const data: string[] = []
    let event = 'message'
    for (const line of block.split('\n')) {
      const colon = line.indexOf(':')
      const field = colon === -1 ? line : line.slice(0, colon)
      const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '')
      if (field === 'data') data.push(value)
      else if (field === 'event') event = value
      else if (field === 'id') this.#id = value
    }
    return data.length === 0 ? undefined : { event, data: data.join('\n'), id: this.#id }
  }

  *push(text: string): Generator<ReadEvent> {
    this.#rest += text
    for (let end = this.#rest.indexOf('\n\n'); end !== -1; end = this.#rest.indexOf('\n\n')) {
      const block = this.#rest.slice(0, end)
      this.#rest = this.#rest.slice(end + 2)
      const event = this.#read(block)
      if (event) yield event
    }
  }
}
