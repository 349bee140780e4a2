import { atOnce } from './attempt.ts'
import { Batch } from './batch.ts'
import type { CloseReason } from './connection.ts'
import type { Events } from './events.ts'
import { type Fault, GuardedCodec } from './guarded-codec.ts'
import type { Link } from './link.ts'
import type { Gap, Message } from './message.ts'
import type { Outbox } from './outbox.ts'
import type { Parcel } from './parcel.ts'
import type { Verdict } from './policy.ts'
import { notBytes } from './refusals.ts'
import type { Scheduler } from './scheduler.ts'
import { Stalls } from './stalls.ts'
import { Sweeper } from './sweeper.ts'
import { LANES, type Topic } from './topic.ts'

/** Payload bytes that wait in all topics before a tick runs at once instead of waiting for the loop. */
export const SEAL_BYTES = 256 * 1024
/** Payload bytes that a link which is behind may put into one flush; one larger message goes alone. */
export const PULL_BYTES = 64 * 1024
/** Bytes of protocol frames that may wait for one client before it counts as slow. */
export const MAX_CONTROL_BYTES = 64 * 1024
/** The same for a client whose connection holds little: what the kernel would have taken waits here. */
export const MAX_HELD_BACK_CONTROL_BYTES = 1024 * 1024

/** Time of one tick in which clients are ended, in ms. */
const REAP_MS = 5

const LANE_ORDER = Object.values(LANES).sort()
const ANY_LANE = [undefined]

/** The manager, as the delivery may call it: at the end of a tick, when nothing is walked. */
interface Owner {
  /** Ends a condemned client; it must call `discard` on the outbox. */
  reap(outbox: Outbox, reason: CloseReason): void
  /** Frees memory if too much is kept. True: not all of it in this tick. */
  relieve(): boolean
  /** A tick has handed over what was routed since; the oldest of it took so long, in ms. */
  handed(ms: number): void
}

/**
 * The way of a message from the topic to the connection, one tick at a time:
 * read on (links behind) -> seal (pending becomes a batch) -> fan out -> flush -> reap -> tell.
 * Owns the lists of what is to be done in the next tick. Nothing here waits, and nothing here asks who a client is.
 */
export class Delivery {
  readonly sweeper: Sweeper
  readonly #scheduler: Scheduler
  readonly #events: Events
  readonly stalls = new Stalls()
  readonly #owner: Owner
  #topics: Topic[] = []
  readonly #lingering = new Set<Topic>()
  #outboxes: Outbox[] = []
  #spare: Outbox[] = []
  #ready: Outbox[] = []
  #condemned: [Outbox, CloseReason][] = []
  #told: [Link, Gap][] = []
  /** Of a gap whose notice was refused: the part that a `gap` event has reported already. */
  readonly #heard = new WeakMap<Link, Pick<Gap, 'count' | 'to'>>()
  #faults: { error: unknown; where: string }[] = []
  #retry: Link[] = []
  #leaving: Link[] = []
  #pendingBytes = 0
  #armed = false
  #ticking = false
  readonly #run = (): void => this.tick()

  /** @param cap bytes that may wait for one client */
  constructor(scheduler: Scheduler, events: Events, cap: () => number, owner: Owner) {
    this.#scheduler = scheduler
    this.#events = events
    this.#owner = owner
    this.sweeper = new Sweeper(scheduler, this, cap)
  }

  /**
   * Takes a message in. Under load ticks gather; a tick's worth of bytes goes at once, so that memory stays bounded.
   */
  route(topic: Topic, message: Message): void {
    topic.pending.push(message)
    topic.ledger.keep(message)
    topic.pendingBytes += message.bytes
    this.#pendingBytes += message.bytes
    if (!topic.dirty) {
      topic.dirty = true
      if (topic.lingerMs > 0) this.#linger(topic)
      else this.#topics.push(topic)
    }
    if (this.#pendingBytes >= SEAL_BYTES && !this.#ticking) this.hasten()
    else if (topic.linger === undefined) this.#arm()
  }

  /** The topic gathers for as long as it says, from its first message on. Whatever seals it earlier ends that. */
  #linger(topic: Topic): void {
    this.#lingering.add(topic)
    topic.linger = this.#scheduler.every(topic.lingerMs, () => {
      this.#endLinger(topic)
      this.#topics.push(topic)
      this.#arm()
    })
  }

  #endLinger(topic: Topic): void {
    topic.linger?.[Symbol.dispose]()
    topic.linger = undefined
    this.#lingering.delete(topic)
  }

  /** A tick now, and nothing lingers any longer. */
  hasten(): void {
    for (const topic of this.#lingering) this.#topics.push(topic)
    this.tick()
  }

  tick(): void {
    if (this.#ticking) return
    this.#ticking = true
    this.#armed = false
    const now = this.#scheduler.now()
    try {
      const ready = this.#ready
      this.#ready = []
      for (const outbox of ready) this.#readOn(outbox, now)
      const topics = this.#topics
      this.#topics = []
      const oldest = topics[0]?.pending[0]?.at
      for (const topic of topics) this.seal(topic, now)
      this.#flushAll()
      if (oldest !== undefined) this.#owner.handed(this.#scheduler.now() - oldest)
    } finally {
      this.#ticking = false
    }
    this.#reapCondemned()
    const relieving = this.#owner.relieve()
    this.#tell()
    const waiting = this.#topics.length + this.#outboxes.length + this.#ready.length + this.#condemned.length
    if (relieving || waiting > 0) this.#arm()
  }

  /** The list is emptied and kept: growing a new one each tick would cost every client of a tick its share. */
  #flushAll(): void {
    const outboxes = this.#outboxes
    this.#outboxes = this.#spare
    // Never the same list twice, whatever is thrown meanwhile.
    this.#spare = []
    for (let i = 0; i < outboxes.length; i++) this.flush(outboxes[i]!)
    while (outboxes.length > 0) outboxes.pop()
    this.#spare = outboxes
  }

  /**
   * Turns what the topic gathered into a batch and offers it to every link. Also done before any change of membership
   * (I2).
   */
  seal(topic: Topic, now = this.#scheduler.now()): void {
    if (topic.walking || topic.pending.length === 0) return
    const messages = topic.pending
    topic.pending = []
    this.#pendingBytes -= topic.pendingBytes
    topic.pendingBytes = 0
    topic.dirty = false
    if (topic.linger !== undefined) this.#endLinger(topic)
    topic.sealed = messages[messages.length - 1]!.seq
    for (const message of messages) {
      topic.log.append(message)
      topic.ledger.release(message)
    }
    if (topic.links.length > 0) this.#fanOut(topic, new Batch(messages), now)
    if (topic.live === topic.links.length || topic.overfull) this.settle(topic, now)
  }

  /**
   * Writes what the link's topic has gathered, before its subscription ends: no message of it may come later. The write
   * may call the hub.
   */
  finish(link: Link): void {
    this.seal(link.topic)
    if (link.outbox.holds(link)) this.flush(link.outbox)
  }

  /** Applies the bounds of every backlog and frees what no link needs. */
  settle(topic: Topic, now: number): void {
    for (let i = topic.live; i < topic.links.length; i++) this.bound(topic.links[i]!)
    topic.trim(now)
  }

  /** Hands the outbox to its connection, unless that has not taken the last flush yet. */
  flush(outbox: Outbox): void {
    outbox.dirty = false
    if (outbox.condemned || outbox.empty || outbox.flushing) return
    if (!outbox.writable) {
      outbox.countWaiting()
      return
    }
    const result = outbox.flush(this.#scheduler)
    if (result === 'gone') this.condemn(outbox, 'lost')
    else if (result === 'full') this.sweeper.watch(outbox)
    else if (outbox.more) this.wake(outbox)
    else outbox.caughtUp()
    // What its protocol could not carry is found out only here.
    if (outbox.untold + outbox.unconfirmed > 0) this.sweeper.watch(outbox)
    if (outbox.wire !== undefined) this.sweeper.watchFlight(outbox)
  }

  /** Never ends a client inside a walk: it is marked now and reaped at the end of the tick (I4). */
  condemn(outbox: Outbox, reason: CloseReason): void {
    if (outbox.condemned) return
    outbox.condemned = true
    this.#condemned.push([outbox, reason])
    this.#arm()
  }

  drained(outbox: Outbox): void {
    if (outbox.writable || outbox.condemned) return
    outbox.drained(this.#scheduler.now())
    if (outbox.behind > 0 || outbox.untold > 0 || !outbox.empty) this.wake(outbox)
    else outbox.caughtUp()
  }

  /** Throws INVALID_MESSAGE where the frame is not bytes. */
  send(outbox: Outbox, frame: Uint8Array): boolean {
    if (!(frame instanceof Uint8Array)) throw notBytes(frame)
    if (outbox.condemned) return false
    outbox.pushControl(frame, this.#scheduler.now())
    const most = outbox.holdsLittle ? MAX_HELD_BACK_CONTROL_BYTES : MAX_CONTROL_BYTES
    if (outbox.controlBytes > most && outbox.controlBytes > frame.byteLength) {
      this.condemn(outbox, 'slow')
      return false
    }
    this.#touch(outbox)
    return true
  }

  /**
   * After what was published before it: only a topic that lingers, and what waits for a client that is behind, may come
   * later.
   */
  post(outbox: Outbox, parcel: Parcel): void {
    for (const { topic } of outbox.links.values()) if (topic.linger === undefined) this.seal(topic)
    outbox.pushParcel(parcel, this.#scheduler.now())
    this.#touch(outbox)
  }

  /** Takes the link off its topic, now or when the walk is over. What it still waits for is dropped as closed. */
  leave(link: Link): void {
    if (link.closed) return
    link.abandon()
    if (link.gapCount !== 0) link.takeGap()
    const { topic } = link
    if (topic.walking) this.#leaving.push(link)
    else topic.remove(link)
    // The last that was behind: what was kept for it is freed now, not with the next message.
    if (topic.live === topic.links.length) topic.trim(this.#scheduler.now())
  }

  /** Drops what exceeds the backlog of a link that is behind, or condemns its client, as the backlog says. */
  bound(link: Link): void {
    const { topic } = link
    const { backlog } = link.terms
    if (backlog.kind !== 'log' || !link.behind) return
    const room = Math.max(0, backlog.bytes - link.outbox.waitingBytes)
    const floor = Math.max(topic.log.floor(backlog.messages, room), topic.log.first - 1)
    const cursor = Math.min(floor, topic.sealed)
    if (cursor <= link.cursor) return
    if (backlog.overflow === 'close') this.condemn(link.outbox, 'slow')
    else link.skipTo(cursor)
  }

  /** Tells the gap of a link that is writable and up to date, where no message will carry the notice soon. */
  tellGap(link: Link): void {
    const gap = link.takeGap()
    link.outbox.watcher?.({ kind: 'gap', gap })
    // A codec that throws has no notice to give.
    const frame = new GuardedCodec(link.outbox.codec, this.fault).gap(gap)
    if (frame) {
      link.outbox.pushControl(frame, this.#scheduler.now())
      this.#touch(link.outbox)
    }
    const unheard = this.#takeUnheard(link, gap)
    if (unheard !== undefined && this.#events.listenerCount('gap') > 0) {
      this.#told.push([link, unheard])
      this.#arm()
    }
  }

  /** The receiver did not take this notice: it is part of the next one. */
  retell(link: Link, gap: Gap): void {
    const { count = 0, to = 0 } = this.#heard.get(link) ?? {}
    this.#heard.set(link, { count: sum(count, gap.count), to: Math.max(to, gap.to) })
    link.retell(gap, this.#scheduler.now())
    this.sweeper.watch(link.outbox)
  }

  /** What of this gap no event has told. Undefined: nothing, because its receiver only refused the notice before. */
  #takeUnheard(link: Link, gap: Gap): Gap | undefined {
    const heard = this.#heard.get(link)
    if (heard === undefined) return gap
    this.#heard.delete(link)
    if (gap.count === heard.count && gap.to === heard.to) return undefined
    return { ...gap, count: gap.count === null || heard.count === null ? null : gap.count - heard.count }
  }

  /** The hot loop. Backwards, because `demote` swaps only with links that were visited already. */
  #fanOut(topic: Topic, batch: Batch, now: number): void {
    topic.walking = true
    const { links } = topic
    const before = batch.first - 1
    for (let i = topic.live - 1; i >= 0; i--) {
      const link = links[i]!
      // It joined within the batch's span, or reads a list of its own first.
      if (link.cursor !== before || link.holding) {
        if (link.hold(batch.messages, batch.last)) this.#soon(link)
        else this.condemn(link.outbox, 'slow')
        continue
      }
      if (link.outbox.mixed && givesWay(link)) {
        this.#defer(link, batch)
        continue
      }
      switch (this.#admit(link, batch, now)) {
        case 'send':
          this.#push(link, batch)
          break
        case 'defer':
          this.#defer(link, batch)
          break
        case 'close':
          this.condemn(link.outbox, 'slow')
          break
        default:
          link.cursor = batch.last
          link.drop(batch.first, batch.last, batch.count, 'behind')
          this.sweeper.watch(link.outbox)
      }
    }
    if (topic.newest !== undefined) for (const message of batch.messages) topic.remember(message)
    topic.walking = false
    this.#afterWalk(topic, now)
  }

  /** A policy that throws is a fault of its author: this link loses the batch, the others never notice. */
  #admit(link: Link, batch: Batch, now: number): Verdict {
    try {
      return atOnce(link.policy.admit(link, batch, now), 'admit')
    } catch (error) {
      this.fault(`policy '${link.terms.name}'`, error)
      return 'drop'
    }
  }

  /** Told when nothing is walked any more: a handler may call anything. */
  readonly fault: Fault = (where, error) => {
    this.#faults.push({ error, where })
    this.#arm()
  }

  #push(link: Link, batch: Batch): void {
    if (link.gapCount !== 0 && link.gapFrom <= batch.last) this.tellGap(link)
    link.outbox.push(link, batch)
    link.cursor = Math.max(link.cursor, batch.last)
    this.#touch(link.outbox)
  }

  #defer(link: Link, batch: Batch): void {
    const { backlog } = link.terms
    if (backlog.kind === 'none' || (backlog.kind === 'log' && backlog.overflow === 'drop-newest')) {
      link.hold(batch.messages, batch.last)
    } else {
      if (backlog.kind === 'newest') link.topic.newest ??= new Map()
      link.topic.demote(link)
    }
    link.outbox.watcher?.({ kind: 'behind', topic: link.topicName, policy: link.terms.name })
    // It is not the connection that holds it up but a rate: what the rate still allows goes at once.
    if (link.outbox.writable) this.#soon(link)
    this.sweeper.watch(link.outbox)
  }

  /** It reads on when the walk is over; or, where others of its client may go before it, in the next tick with them. */
  #soon(link: Link): void {
    if (link.outbox.mixed) this.wake(link.outbox)
    else this.#retry.push(link)
  }

  #afterWalk(topic: Topic, now: number): void {
    if (this.#leaving.length > 0) {
      const leaving = this.#leaving
      this.#leaving = []
      for (const link of leaving) if (!link.closed) link.topic.remove(link)
    }
    if (this.#retry.length > 0) {
      const retry = this.#retry
      this.#retry = []
      for (const link of retry) if (!link.closed) this.#pull(link, now)
    }
    topic.dirty = topic.pending.length > 0
  }

  /** The one function behind catching up, rate-limited sending and resuming: same admit, same outbox, same flush. */
  #pull(link: Link, now: number): void {
    const { outbox, topic } = link
    // Where not the connection but a window holds it up, what fits that goes first.
    if (!link.terms.confirm) this.bound(link)
    while (outbox.writable && !outbox.condemned && (link.behind || link.holding)) {
      if (outbox.queuedBytes >= PULL_BYTES) {
        outbox.more = true
        return
      }
      const batch = topic.next(link, PULL_BYTES - outbox.queuedBytes)
      if (batch === undefined) {
        link.cursor = Math.max(link.cursor, topic.sealed)
        this.#promote(link)
        return
      }
      const verdict = this.#admit(link, batch, now)
      if (verdict === 'close') this.condemn(outbox, 'slow')
      if (verdict === 'defer' && link.terms.backlog.kind === 'none') link.giveUpHeld('rate')
      if (verdict === 'defer' || verdict === 'close') return
      if (link.holding) this.#unhold(link, batch)
      // What is missing in what the topic keeps was replaced; what a link holds has lost nothing that is not counted.
      else link.drop(batch.first, batch.last, batch.last - batch.first + 1 - batch.count, 'conflated')
      this.#passOn(link, batch, verdict)
    }
  }

  #unhold(link: Link, batch: Batch): void {
    link.unhold(batch)
    if (!link.holding) link.outbox.watcher?.({ kind: 'caught up', topic: link.topicName })
  }

  #promote(link: Link): void {
    link.topic.promote(link)
    link.outbox.watcher?.({ kind: 'caught up', topic: link.topicName })
  }

  #passOn(link: Link, batch: Batch, verdict: 'send' | 'drop'): void {
    if (verdict === 'send') {
      this.#push(link, batch)
    } else {
      link.cursor = Math.max(link.cursor, batch.last)
      link.drop(batch.first, batch.last, batch.count, 'behind')
    }
  }

  /**
   * Lets the links of a client that are behind read on. A link that filled the flush goes to the end of the queue.
   */
  #readOn(outbox: Outbox, now: number): void {
    outbox.ready = false
    outbox.more = false
    if (outbox.condemned || !outbox.writable) return
    for (const lane of outbox.mixed ? LANE_ORDER : ANY_LANE) {
      this.#readLane(outbox, lane, now)
      if (outbox.more) break
    }
    if (!outbox.empty) this.#touch(outbox)
    // What still waits is held up by a rate and not by its connection.
    else outbox.caughtUp()
  }

  /** `lane` undefined: all of them. */
  #readLane(outbox: Outbox, lane: number | undefined, now: number): void {
    for (const link of outbox.links.values()) {
      if (lane !== undefined && link.topic.lane !== lane) continue
      if (link.behind || link.holding) this.#pull(link, now)
      else if (link.tells(now)) this.tellGap(link)
      if (!outbox.more) continue
      outbox.links.delete(link.topic.name)
      outbox.links.set(link.topic.name, link)
      return
    }
  }

  #touch(outbox: Outbox): void {
    if (outbox.dirty) return
    outbox.dirty = true
    this.#outboxes.push(outbox)
    this.#arm()
  }

  /** The client may read on: its connection is not what holds it up. */
  wake(outbox: Outbox): void {
    if (outbox.ready || outbox.condemned) return
    outbox.ready = true
    this.#ready.push(outbox)
    this.#arm()
  }

  /**
   * What is condemned meanwhile is reaped as well. Thousands of clients may be slow at the same message: the rest waits
   * for the next tick.
   */
  #reapCondemned(): void {
    if (this.#condemned.length === 0) return
    const startedAt = this.#scheduler.now()
    let reaped = 0
    while (reaped < this.#condemned.length && this.#scheduler.now() - startedAt < REAP_MS) {
      const [outbox, reason] = this.#condemned[reaped++]!
      this.#owner.reap(outbox, reason)
    }
    this.#condemned.splice(0, reaped)
  }

  /** What a handler causes to be told is told by the tick that it causes. */
  #tell(): void {
    if (this.#told.length > 0) {
      const told = this.#told
      this.#told = []
      for (const [link, gap] of told) {
        this.#events.emit('gap', { id: link.clientId, gap, policy: link.terms.name })
      }
    }
    if (this.#faults.length > 0) {
      const faults = this.#faults
      this.#faults = []
      for (const fault of faults) this.#events.emit('fault', fault)
    }
  }

  #arm(): void {
    if (this.#armed || this.#ticking) return
    this.#armed = true
    this.#scheduler.defer(this.#run)
  }
}

/** Null: one of the counts is unknown. */
function sum(one: number | null, other: number | null): number | null {
  return one === null || other === null ? null : one + other
}

/**
 * A link below the high lane waits while another link of its client does. A policy without a backlog cannot wait.
 */
function givesWay({ outbox, topic, terms }: Link): boolean {
  return outbox.behind > 0 && outbox.writable && topic.lane > LANES.high && terms.backlog.kind !== 'none'
}
