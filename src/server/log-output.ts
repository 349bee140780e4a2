/** Most characters of lines that wait for a reader of the log. */
const MAX_WAITING = 1024 * 1024

/** What a log is written to: `process.stderr`, or anything like it. */
export interface LogStream {
  readonly writableLength: number
  write(text: string, done: (error?: Error | null) => void): boolean
  on(event: 'error' | 'drain', listener: () => void): unknown
}

/**
 * The destination of the server's log, for pino. Never blocks and keeps at most 1 MiB: while nothing reads the stream,
 * lines are dropped and counted, and so are lines that the stream refuses (a full disk). Lines of one turn of the event
 * loop are one write.
 */
export class LogOutput {
  /** Lines that were dropped since the process began. */
  dropped = 0
  readonly #stream: LogStream
  readonly #onRoom: (lines: number) => void
  #told = 0
  #lines = ''
  #count = 0

  /** @param onRoom called with the number of lines that were dropped, once the stream takes lines again */
  constructor(stream: LogStream, onRoom: (lines: number) => void) {
    this.#stream = stream
    this.#onRoom = onRoom
    // Each write hears of its own.
    stream.on('error', () => {})
    stream.on('drain', () => this.#tell())
  }

  write(line: string): void {
    if (this.#lines.length + this.#stream.writableLength + line.length > MAX_WAITING) {
      this.dropped++
      return
    }
    if (this.#lines === '') setImmediate(() => this.flushSync())
    this.#lines += line
    this.#count++
  }

  /** Hands the lines to the stream. pino calls it before the process ends by a fatal fault. */
  flushSync(): void {
    const lines = this.#lines
    const count = this.#count
    this.#lines = ''
    this.#count = 0
    if (lines === '') return
    this.#stream.write(lines, error => {
      if (error) this.dropped += count
      else if (this.#stream.writableLength === 0) this.#tell()
    })
  }

  #tell(): void {
    const lines = this.dropped - this.#told
    this.#told = this.dropped
    if (lines > 0) this.#onRoom(lines)
  }
}

let ofStderr: LogOutput | undefined

/**
 * The one of this process: several servers may log to the same stderr. `logTo` makes a logger of it. This file does not
 * import pino: the plugin counts dropped lines too, and must load where pino is not installed.
 */
export function stderrLog(logTo: (output: LogOutput) => { warn(about: object, text: string): void }): LogOutput {
  if (ofStderr === undefined) {
    unblock(process.stderr)
    const output = new LogOutput(process.stderr, lines => {
      logTo(output).warn({ lines }, 'log lines were dropped because stderr did not take them')
    })
    process.on('exit', () => output.flushSync())
    ofStderr = output
  }
  return ofStderr
}

/**
 * Node writes to a terminal synchronously: one that is stopped (Ctrl-S) would stop the process. There is no public call
 * for this.
 */
function unblock(stream: NodeJS.WriteStream): void {
  const { _handle: handle } = stream as { _handle?: { setBlocking?(blocks: boolean): void } }
  if (stream.isTTY) handle?.setBlocking?.(false)
}

/** Lines that the log of this process has dropped. */
export function droppedLogLines(): number {
  return ofStderr?.dropped ?? 0
}
