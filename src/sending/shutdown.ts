import { HubError } from '../core/errors.ts'
import type { ConnectionManager } from '../core/manager.ts'
import { MAX_TIMER_MS, number, type Rules } from '../core/options.ts'
import type { Scheduler } from '../core/scheduler.ts'
import type { OperationName } from './metrics.ts'
import type { Operation } from './operation.ts'
import { signalRule } from './outgoing.ts'
import type { Sender } from './sender.ts'

export interface ShutdownOptions {
  /** Ends all waiting at once: what is left is given up. */
  readonly signal?: AbortSignal | undefined
  /** How long all of it may take, in ms in which the process runs. Default 30,000. */
  readonly deadlineMs?: number | undefined
  /**
   * How long what is under way, and what waits for clients that are behind, may take, in ms. Default: half of the
   * deadline.
   */
  readonly drainMs?: number | undefined
  /**
   * The clients are closed one after the other over this time, so that they do not all come back at once; in ms.
   * Default 0: at once.
   */
  readonly spreadMs?: number | undefined
  /**
   * Each client is told, where its protocol can, to come back after a random time of at most this, in ms. Default
   * 5,000.
   */
  readonly reconnectMs?: number | undefined
}

const ms = number(0, MAX_TIMER_MS)

export const SHUTDOWN_OPTIONS: Rules<ShutdownOptions> = {
  signal: signalRule,
  deadlineMs: ms,
  drainMs: ms,
  spreadMs: ms,
  reconnectMs: ms,
}

export interface ShutdownReport {
  /** drained: nothing was left. deadline, aborted: what ended the waiting. */
  readonly outcome: 'drained' | 'deadline' | 'aborted'
  readonly ms: number
  /** Sends that were under way: those that came to an end of their own, and those that were given up. */
  readonly sends: { readonly finished: number; readonly abandoned: number }
  /**
   * Messages that waited for a client or its confirmation, once per subscription: handed over or lost meanwhile, and
   * lost with the client.
   */
  readonly messages: { readonly settled: number; readonly abandoned: number }
  /** Clients that were closed, and those of them that were still owed something. */
  readonly clients: { readonly closed: number; readonly behind: number }
}

const DEADLINE_MS = 30_000
const RECONNECT_MS = 5000
/** How often the shutdown looks whether all is done, in ms. */
const LOOK_MS = 20
/** Clients that one turn of the event loop closes: a socket takes about 0.1 ms. */
export const CLOSES_PER_TURN = 32
/** Clients that one turn looks at. */
const LOOKS_PER_TURN = 256

/** What the shutdown needs of the hub. */
interface Ending {
  readonly hub: ConnectionManager
  readonly sender: Sender
  readonly operations: Readonly<Record<OperationName, Operation>>
  readonly scheduler: Scheduler
  readonly random: () => number
}

/**
 * Refuses new work, waits for what is under way, empties the queues, closes the clients spread over a window, and
 * closes the hub: within the deadline, whatever a client or the broker does.
 */
export async function shutdown(ending: Ending, options: ShutdownOptions): Promise<ShutdownReport> {
  const { hub, sender, scheduler } = ending
  const {
    signal,
    deadlineMs = DEADLINE_MS,
    drainMs = deadlineMs / 2,
    spreadMs = 0,
    reconnectMs = RECONNECT_MS,
  } = options
  const startedAt = scheduler.now()
  using deadline = new Deadline(scheduler, deadlineMs, signal)
  using drainTime = new Deadline(scheduler, Math.min(drainMs, deadlineMs), signal)
  hub.drain()
  const endedBefore = sender.ended
  const atStart = tally(hub)
  const drained = await drain(ending, drainTime.signal)
  const behind = await countBehind(ending)
  const finished = sender.ended - endedBefore
  const abandoned = sender.abandon(new HubError('SHUTTING_DOWN', 'the hub shut down before it was sent'))
  const afterDrain = tally(hub)
  const windowMs = Math.min(spreadMs, startedAt + deadlineMs - scheduler.now())
  const closed = await closeSpread(ending, windowMs, reconnectMs, deadline.signal)
  const restMs = Math.max(0, startedAt + deadlineMs - scheduler.now())
  // After the signal of the caller nothing is waited for.
  await Promise.race([hub.close(restMs), aborted(scheduler, deadline.signal)])
  const atEnd = tally(hub)
  const lost = atEnd.closed - afterDrain.closed
  return {
    outcome: drained ? 'drained' : signal?.aborted ? 'aborted' : 'deadline',
    ms: Math.round(scheduler.now() - startedAt),
    sends: { finished, abandoned },
    messages: { settled: atEnd.ended - atStart.ended - lost, abandoned: lost },
    clients: { closed, behind },
  }
}

/** Its signal aborts when the process has run for `ms`, or with the `other` signal. */
class Deadline implements Disposable {
  readonly #cut = new AbortController()
  readonly #timer: Disposable
  readonly #other: AbortSignal | undefined
  readonly #end = (): void => this.#cut.abort()

  constructor(scheduler: Scheduler, ms: number, other: AbortSignal | undefined) {
    this.#timer = scheduler.after(ms, this.#end)
    this.#other = other
    if (other?.aborted || !(ms > 0)) this.#end()
    else other?.addEventListener('abort', this.#end)
  }

  get signal(): AbortSignal {
    return this.#cut.signal
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]()
    this.#other?.removeEventListener('abort', this.#end)
  }
}

/** Messages that have come to an end, once per subscription, and those of them that ended with their client. */
function tally(hub: ConnectionManager): { readonly ended: number; readonly closed: number } {
  const { delivered, dropped, drops } = hub.getConnectionStats()
  const closed = drops.reduce((sum, { reason, count }) => (reason === 'closed' ? sum + count : sum), 0)
  return { ended: delivered + dropped, closed }
}

/** Waits until nothing is under way and nothing waits for a client: true. False: the signal aborted. */
async function drain(ending: Ending, signal: AbortSignal): Promise<boolean> {
  const { hub, operations, scheduler } = ending
  let looks = 0
  // Nothing new comes, so a client for which nothing waits is not looked at again.
  for (const { id } of hub.getActiveClients()) {
    while (hub.handleOf(id) !== undefined && owes(hub.getClient(id).subscriptions)) {
      if (signal.aborted) return false
      await pause(scheduler, LOOK_MS, signal)
    }
    if (++looks % LOOKS_PER_TURN === 0) await nextTurn(scheduler)
  }
  while (operations.send.active + operations.broadcast.active > 0) {
    if (signal.aborted) return false
    await pause(scheduler, LOOK_MS, signal)
  }
  return true
}

/** The number of clients for which messages still wait, counted in several turns of the event loop. */
async function countBehind({ hub, sender, scheduler }: Ending): Promise<number> {
  let behind = 0
  let looks = 0
  for (const { id, subscriptions } of hub.getActiveClients()) {
    if (owes(subscriptions) || sender.owes(id)) behind++
    if (++looks % LOOKS_PER_TURN === 0) await nextTurn(scheduler)
  }
  return behind
}

function owes(subscriptions: readonly { readonly pending: number }[]): boolean {
  return subscriptions.some(({ pending }) => pending > 0)
}

/**
 * Closes every client within `window` ms, evenly; all that are left at once when the signal says so. Answers how many
 * there were to close.
 */
async function closeSpread(
  { hub, scheduler, random }: Ending,
  window: number,
  reconnectMs: number,
  signal: AbortSignal,
): Promise<number> {
  const ids = hub.selectClients({ all: true })
  const startedAt = scheduler.now()
  let closed = 0
  for (let next = 0; next < ids.length; ) {
    const elapsed = scheduler.now() - startedAt
    // At the end of the window, or when the signal aborts, all the other clients are closed and counted.
    const isOver = signal.aborted || !(elapsed < window)
    const due = isOver ? ids.length : Math.ceil((ids.length * elapsed) / window)
    for (const end = Math.min(due, next + CLOSES_PER_TURN); next < end; next++) {
      // Some clients leave by themselves meanwhile.
      if (hub.unregisterClient(ids[next]!, 'shutdown', Math.ceil(random() * reconnectMs))) closed++
    }
    if (next < due) await nextTurn(scheduler)
    else if (next < ids.length) await pause(scheduler, Math.min(LOOK_MS, window - elapsed), signal)
  }
  return closed
}

/** Resolves in the turn after the signal has aborted: what ends by then counts as ended. */
async function aborted(scheduler: Scheduler, signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await new Promise(resolve => signal.addEventListener('abort', resolve, { once: true }))
  await nextTurn(scheduler)
}

function nextTurn(scheduler: Scheduler): Promise<void> {
  return new Promise(resolve => scheduler.defer(resolve))
}

/** Resolves after so many ms, or when the signal aborts. */
function pause(scheduler: Scheduler, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const timer = scheduler.after(ms, end)
    function end(): void {
      timer[Symbol.dispose]()
      signal.removeEventListener('abort', end)
      resolve()
    }
    signal.addEventListener('abort', end, { once: true })
  })
}
