import { expect } from 'vitest'
import type { Position } from '../../src/core/ids.ts'
import type { Hub } from '../../src/hub.ts'
import type { Received } from '../../src/testing/fake-connection.ts'

type Message = Extract<Received, { kind: 'message' }>

/** One subscription, from joining to leaving, as its client saw it. */
interface Life {
  readonly epoch: string
  /** The last message before it. */
  readonly base: number
  /** Every message that came, in order; some came more than once. */
  readonly seen: number[]
  /** Those that came and are not settled as far as the client knows. */
  readonly open: Set<number>
  /** Those that its receiver has: of a socket what came, of requests what was answered. */
  readonly arrived: Set<number>
  readonly gaps: { from: number; to: number; count: number | null }[]
  /** What is not confirmed may be sent again without being asked for: after a change of policy, once. */
  mayStepBack: boolean
  /** Requests: one was given up, and until it is sent again the answers of others say nothing. */
  halted: boolean
  delivered: number
  dropped: number
}

/**
 * Watches what clients are sent, and holds it against what may never happen. It knows nothing of how the hub does it: only what was
 * subscribed, received, confirmed and told.
 */
export class Witness {
  readonly #hub: Hub
  readonly #lives = new Map<string, Life>()
  /** Messages of all subscriptions that have ended. */
  #offered = 0
  #delivered = 0
  #dropped = 0
  /** Of the client of requests: messages that nobody has answered yet. */
  underWay: Message[] = []

  constructor(hub: Hub) {
    this.#hub = hub
    hub.events.on('subscribe', ({ id, topic }) => this.#begin(id, topic))
    hub.events.on('unsubscribe', ({ id, topic }) => this.#end(id, topic))
    hub.events.on('unregister', ({ id }) => {
      if (id === 'requests') this.underWay = []
    })
  }

  #begin(id: string, topic: string): void {
    const subscription = this.#hub.getSubscription(id, topic)!
    const { epoch, seq } = this.#hub.getTopic(topic)!.position
    this.#lives.set(`${id} ${topic}`, {
      ...{ epoch, base: seq - subscription.published, delivered: 0, dropped: 0 },
      ...{ seen: [], gaps: [], open: new Set(), arrived: new Set(), mayStepBack: false, halted: false },
    })
  }

  #end(id: string, topic: string): void {
    const life = this.#lives.get(`${id} ${topic}`)!
    this.#offered += this.#hub.getTopic(topic)!.position.seq - life.base
    this.#lives.delete(`${id} ${topic}`)
  }

  lastSeen(id: string, topic: string): Position | undefined {
    const life = this.#lives.get(`${id} ${topic}`)
    const { epoch, seq } = this.#hub.getTopic(topic)?.position ?? {}
    if (epoch === undefined) return undefined
    return life ? { epoch, seq: Math.max(life.base, ...life.seen) } : { epoch, seq: Math.min(seq!, 3) }
  }

  mayConfirm(id: string, topic: string, epoch: string, seq: number): boolean {
    const life = this.#lives.get(`${id} ${topic}`)!
    return life.epoch === epoch && seq <= Math.max(life.base, ...life.seen)
  }

  saw(id: string, received: Received): void {
    if (received.kind === 'gap') {
      const { topic, from, to, count } = received.gap
      const life = this.#lives.get(`${id} ${topic}`)
      life?.gaps.push({ from, to, count })
      for (let seq = from; seq <= to; seq++) life?.open.delete(seq)
    }
    if (received.kind !== 'message') return
    if (id === 'requests') this.underWay.push(received)
    const life = this.#lives.get(`${id} ${received.topic}`)
    if (life?.epoch === received.epoch) this.#check(life, received.seq, `${id} ${received.topic}`)
    if (id !== 'requests') life?.arrived.add(received.seq)
  }

  /**
   * I1: numbers rise. What is sent again begins with the oldest that is not settled, and from there on leaves out nothing of what was sent
   * before and is not settled.
   */
  #check(life: Life, seq: number, where: string): void {
    const before = life.seen.at(-1) ?? life.base
    const trace = `${where}: ${life.seen.join(' ')} then ${seq}, open: ${[...life.open].join(' ')}`
    expect(seq, trace).toBeGreaterThan(life.base)
    if (seq > before) {
      const left = [...life.open].filter(each => each > before && each < seq)
      expect(left, trace).toEqual([])
    } else if (life.mayStepBack) {
      life.mayStepBack = false
    } else {
      expect(Math.min(...life.open), trace).toBe(seq)
    }
    if (seq <= before) life.halted = false
    life.seen.push(seq)
    life.open.add(seq)
  }

  confirmed(id: string, topic: string, upTo: number): void {
    const life = this.#lives.get(`${id} ${topic}`)
    for (const seq of life?.open ?? []) if (seq <= upTo) life!.open.delete(seq)
  }

  /** The receiver says itself what it has, whatever became of the requests. */
  acknowledged(id: string, topic: string, upTo: number): void {
    const life = this.#lives.get(`${id} ${topic}`)
    if (life === undefined) return
    for (const seq of life.seen) if (seq <= upTo) life.arrived.add(seq)
    this.confirmed(id, topic, upTo)
    if (life.open.size === 0) life.halted = false
  }

  /** The receiver of requests has it. */
  arrived({ topic, epoch, seq }: Message, settled: number): void {
    const life = this.#lives.get(`requests ${topic}`)
    if (life?.epoch !== epoch) return
    if (life.halted) expect(settled).toBe(0)
    else this.confirmed('requests', topic, seq)
    life.arrived.add(seq)
  }

  /** One request was given up, and the hub wants to send it again: what came after it on its topic is let go. */
  forgotten(topic: string): void {
    this.underWay = this.underWay.filter(message => message.topic !== topic)
    const life = this.#lives.get(`requests ${topic}`)
    if (life) life.halted = true
  }

  /** Whatever was sent may count as delivered from now on, or may be sent once more. */
  policyChanges(topic: string): void {
    for (const [name, life] of this.#lives) {
      if (!name.endsWith(` ${topic}`)) continue
      life.open.clear()
      life.mayStepBack = true
      life.halted = false
    }
  }

  /** I6, for each subscription and for the hub; and what has ended stays ended. `tickDone`: nothing is about to be written. */
  checkAccounts(tickDone: boolean): void {
    let offered = this.#offered
    let pendingOfAll = 0
    let unconfirmedOfAll = 0
    for (const { id, subscriptions } of this.#hub.getActiveClients()) {
      for (const { topic, published, delivered, dropped, pending, unconfirmed } of subscriptions) {
        const life = this.#lives.get(`${id} ${topic}`)!
        expect(delivered + dropped + pending, `${id} ${topic}`).toBe(published)
        expect(Math.min(pending, unconfirmed, pending - unconfirmed)).toBeGreaterThanOrEqual(0)
        expect(delivered).toBeGreaterThanOrEqual(life.delivered)
        expect(dropped).toBeGreaterThanOrEqual(life.dropped)
        Object.assign(life, { delivered, dropped })
        offered += published
        pendingOfAll += pending
        unconfirmedOfAll += unconfirmed
      }
    }
    const stats = this.#hub.getConnectionStats()
    // What a subscription that has ended left to be written is still owed, and in nobody's account until then.
    const sum = stats.delivered + stats.dropped + stats.pending
    if (tickDone) expect(sum).toBe(offered)
    else expect(sum).toBeLessThanOrEqual(offered)
    expect([stats.pending, stats.unconfirmed]).toEqual([pendingOfAll, unconfirmedOfAll])
    expect(stats.delivered).toBeGreaterThanOrEqual(this.#delivered)
    expect(stats.dropped).toBeGreaterThanOrEqual(this.#dropped)
    this.#delivered = stats.delivered
    this.#dropped = stats.dropped
  }

  /** Of each subscription that is still there: every message has arrived, or is within a loss that was told, and those add up. */
  checkNothingLost(): void {
    for (const [name, life] of this.#lives) {
      const [id, topic] = name.split(' ') as [string, string]
      const { dropped } = this.#hub.getSubscription(id, topic)!
      const told = life.gaps.reduce((sum, { count }) => sum + (count ?? 0), 0)
      expect([name, told]).toEqual([name, dropped])
      const { seq: last } = this.#hub.getTopic(topic)!.position
      for (let seq = life.base + 1; seq <= last; seq++) {
        const known = life.arrived.has(seq) || life.gaps.some(({ from, to }) => from <= seq && seq <= to)
        expect(known, `${name}: ${seq} never arrived, and nobody was told`).toBe(true)
      }
    }
  }
}
