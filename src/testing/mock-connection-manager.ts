import { readFilter } from '../core/arguments.ts'
import { type ErrorCode, HubError } from '../core/errors.ts'
import { Events } from '../core/events.ts'
import type { ClientId } from '../core/ids.ts'
import { checkValue, object, readOptions } from '../core/options.ts'
import { checkUser } from '../core/users.ts'
import {
  BROADCAST_OPTIONS,
  type BroadcastOptions,
  type ClientOutcome,
  readTargets,
  summarize,
} from '../sending/broadcast.ts'
import type { HubApi } from '../sending/hub-api.ts'
import type { SendOptions } from '../sending/outgoing.ts'
import { MockAnswers } from './mock-answers.ts'

/** The calls that are recorded and answered. */
export type HubMethod = Exclude<keyof HubApi, 'events'>
type Arguments<M extends HubMethod> = Parameters<HubApi[M]>
type Result<M extends HubMethod> = ReturnType<HubApi[M]>
type Scripted<R> = R extends Promise<infer T> ? Promise<T | undefined> | T | undefined : R | undefined
// biome-ignore lint/suspicious/noConfusingVoidType: a function that throws for some, and says nothing of the others, returns it
type Silent<R> = R extends Promise<unknown> ? Promise<void> | void : void
/** A test has ids of its own, which nobody parsed. */
type Plain<R> = R extends ClientId[] ? string[] : R

/**
 * What a method answers: the same every time, or what a function makes of the call. Undefined leaves it to the mock.
 */
export type Answer<M extends HubMethod> =
  | Plain<Awaited<Result<M>>>
  | ((...args: Arguments<M>) => Scripted<Plain<Result<M>>> | Silent<Result<M>>)

export type Answers = { readonly [M in HubMethod]?: Answer<M> }

/** One call, with its arguments as they were when it was made. */
export type HubCall = { [M in HubMethod]: { readonly method: M; readonly args: Arguments<M> } }[HubMethod]

/**
 * Stands in for a hub in the tests of an application that uses one: remembers what it was asked, and answers as the
 * test says. Without a script it is a hub on which everybody is connected and takes everything. It keeps no state of
 * its own: who is registered, and what waits, is what the test answers. Needs no test runner.
 */
export class MockConnectionManager implements HubApi {
  /** For the application to listen on, and for the test to emit on. */
  readonly events = new Events()
  readonly #given: Answers
  #unscripted = new MockAnswers()
  #calls: HubCall[] = []
  readonly #always = new Map<HubMethod, unknown>()
  readonly #once = new Map<HubMethod, unknown[]>()

  constructor(answers: Answers = {}) {
    checkValue(answers, object, 'answers')
    this.#given = answers
    this.reset()
  }

  /** From now on the method answers so. */
  answer<M extends HubMethod>(method: M, answer: Answer<M>): this {
    this.#always.set(method, answer)
    return this
  }

  /** The next call of the method is answered so; said several times, one call after the other. */
  answerOnce<M extends HubMethod>(method: M, answer: Answer<M>): this {
    this.#once.set(method, [...(this.#once.get(method) ?? []), answer])
    return this
  }

  /** From now on the method fails with this code. */
  fail(method: HubMethod, code: ErrorCode, message?: string): this {
    return this.answer(method, failing(method, code, message))
  }

  /** The next call of the method fails with this code. */
  failOnce(method: HubMethod, code: ErrorCode, message?: string): this {
    return this.answerOnce(method, failing(method, code, message))
  }

  /** Everything that it was asked, in order. */
  get calls(): readonly HubCall[] {
    return this.#calls
  }

  /** The arguments of each call of one method. */
  callsOf<M extends HubMethod>(method: M): readonly Arguments<M>[] {
    return this.#calls.flatMap(call => (call.method === method ? [call.args as Arguments<M>] : []))
  }

  /** As it was made: no calls, and the answers that the constructor was given. Listeners on its events stay. */
  reset(): void {
    this.#calls = []
    this.#unscripted = new MockAnswers()
    this.#once.clear()
    this.#always.clear()
    for (const [method, answer] of Object.entries(this.#given)) this.#always.set(method as HubMethod, answer)
  }

  async send(...args: Arguments<'send'>): Result<'send'> {
    this.#record('send', args)
    return this.#send(...args)
  }

  async broadcast(...args: Arguments<'broadcast'>): Result<'broadcast'> {
    const [targets, message, options] = args
    const read = readTargets(targets)
    const asked: Arguments<'broadcast'> = options === undefined ? [read, message] : [read, message, options]
    this.#record('broadcast', asked)
    const { id } = this.#unscripted.send(message, sendOptions('broadcast', options))
    const scripted = await this.#scripted('broadcast', asked)
    if (scripted !== undefined) return scripted
    const ids = Array.isArray(read) ? read : (this.#scripted('selectClients', [read]) ?? [])
    return this.#toAll(ids, message, { ...sendOptions('broadcast', options), id })
  }

  /** To whom `connectionsOf` is scripted to answer; unscripted to nobody, as of a user who is not online. */
  async sendToUser(...args: Arguments<'sendToUser'>): Result<'sendToUser'> {
    const [user, message, options] = args
    checkUser(user)
    this.#record('sendToUser', args)
    const read = sendOptions('sendToUser', options)
    const { id } = this.#unscripted.send(message, read)
    const scripted = await this.#scripted('sendToUser', args)
    if (scripted !== undefined) return scripted
    return this.#toAll(this.#scripted('connectionsOf', [user]) ?? [], message, { ...read, id })
  }

  async isActive(...args: Arguments<'isActive'>): Result<'isActive'> {
    return (await this.#ask('isActive', args)) ?? true
  }

  async publish(...args: Arguments<'publish'>): Result<'publish'> {
    this.#record('publish', args)
    const result = this.#unscripted.publish(args[0], args[1])
    return (await this.#scripted('publish', args)) ?? result
  }

  stream(...args: Arguments<'stream'>): Result<'stream'> {
    this.#record('stream', args)
    const result = this.#unscripted.stream(args[0])
    return this.#scripted('stream', args) ?? result
  }

  listen(...args: Arguments<'listen'>): Result<'listen'> {
    this.#record('listen', args)
    const result = this.#unscripted.listener(args[0])
    return this.#scripted('listen', args) ?? result
  }

  routeData(...args: Arguments<'routeData'>): Result<'routeData'> {
    this.#record('routeData', args)
    const result = this.#unscripted.route(args[0], args[1])
    return this.#scripted('routeData', args) ?? result
  }

  subscribe(...args: Arguments<'subscribe'>): Result<'subscribe'> {
    this.#record('subscribe', args)
    const result = this.#unscripted.subscribe(args[1])
    return this.#scripted('subscribe', args) ?? result
  }

  unsubscribe(...args: Arguments<'unsubscribe'>): Result<'unsubscribe'> {
    return this.#ask('unsubscribe', args) ?? true
  }

  subscribePattern(...args: Arguments<'subscribePattern'>): Result<'subscribePattern'> {
    this.#record('subscribePattern', args)
    const result = this.#unscripted.subscribePattern(args[1])
    return this.#scripted('subscribePattern', args) ?? result
  }

  unsubscribePattern(...args: Arguments<'unsubscribePattern'>): Result<'unsubscribePattern'> {
    return this.#ask('unsubscribePattern', args) ?? true
  }

  acknowledge(...args: Arguments<'acknowledge'>): Result<'acknowledge'> {
    return this.#ask('acknowledge', args) ?? 1
  }

  unregisterClient(...args: Arguments<'unregisterClient'>): Result<'unregisterClient'> {
    return this.#ask('unregisterClient', args) ?? true
  }

  isOnline(...args: Arguments<'isOnline'>): Result<'isOnline'> {
    checkUser(args[0])
    return this.#ask('isOnline', args) ?? true
  }

  connectionsOf(...args: Arguments<'connectionsOf'>): Result<'connectionsOf'> {
    checkUser(args[0])
    return this.#ask('connectionsOf', args) ?? []
  }

  disconnectUser(...args: Arguments<'disconnectUser'>): Result<'disconnectUser'> {
    checkUser(args[0])
    return this.#ask('disconnectUser', args) ?? 1
  }

  presence(...args: Arguments<'presence'>): Result<'presence'> {
    return this.#ask('presence', args) ?? []
  }

  presenceStats(...args: Arguments<'presenceStats'>): Result<'presenceStats'> {
    return this.#ask('presenceStats', args) ?? { clients: 0, users: 0 }
  }

  history(...args: Arguments<'history'>): Result<'history'> {
    this.#record('history', args)
    const result = this.#unscripted.history(args[0])
    return this.#scripted('history', args) ?? result
  }

  selectClients(...args: Arguments<'selectClients'>): Result<'selectClients'> {
    readFilter(args[0])
    return this.#ask('selectClients', args) ?? []
  }

  getClient(...args: Arguments<'getClient'>): Result<'getClient'> {
    return this.#ask('getClient', args) ?? this.#unscripted.client(...args)
  }

  getActiveClients(): Result<'getActiveClients'> {
    return this.#ask('getActiveClients', []) ?? []
  }

  getClientsForTopic(...args: Arguments<'getClientsForTopic'>): Result<'getClientsForTopic'> {
    return this.#ask('getClientsForTopic', args) ?? []
  }

  getConnectionStats(): Result<'getConnectionStats'> {
    return this.#ask('getConnectionStats', []) ?? this.#unscripted.stats()
  }

  getMetrics(): Result<'getMetrics'> {
    return this.#ask('getMetrics', []) ?? this.#unscripted.metrics()
  }

  async shutdown(...args: Arguments<'shutdown'>): Result<'shutdown'> {
    return (await this.#ask('shutdown', args)) ?? this.#unscripted.report()
  }

  /** The hub objects to a message that cannot be sent before it does anything; so the script is not asked. */
  async #send(...args: Arguments<'send'>): Result<'send'> {
    const [, message, options] = args
    const result = this.#unscripted.send(message, options)
    return (await this.#scripted('send', args)) ?? result
  }

  async #toAll(ids: readonly string[], message: unknown, options: SendOptions): Result<'broadcast'> {
    return summarize(await Promise.all(ids.map(clientId => this.#outcome(clientId, message, options))))
  }

  async #outcome(clientId: string, message: unknown, options: SendOptions): Promise<ClientOutcome> {
    try {
      return { clientId, ok: true, ...(await this.#send(clientId, message, options)) }
    } catch (error) {
      // Anything else is a mistake in the script, and must not look like a client that failed.
      if (!(error instanceof HubError)) throw error
      return { clientId, ok: false, error }
    }
  }

  #ask<M extends HubMethod>(method: M, args: Arguments<M>): Scripted<Result<M>> {
    this.#record(method, args)
    return this.#scripted(method, args)
  }

  #record<M extends HubMethod>(method: M, args: Arguments<M>): void {
    this.#calls.push({ method, args: args.map(arg => copy(arg)) } as unknown as HubCall)
  }

  #scripted<M extends HubMethod>(method: M, args: Arguments<M>): Scripted<Result<M>> {
    const once = this.#once.get(method) ?? []
    const answer = once.length > 0 ? once.shift() : this.#always.get(method)
    return (typeof answer === 'function' ? answer(...args) : answer) as Scripted<Result<M>>
  }
}

/** Of a broadcast: without what is only a broadcast's. Throws REQUEST_INVALID. */
function sendOptions(call: string, options: BroadcastOptions = {}): SendOptions {
  const { concurrency: _, ...rest } = readOptions(options, BROADCAST_OPTIONS, call)
  return rest
}

function failing(method: HubMethod, code: ErrorCode, message = `${method}: the test has it fail`): () => never {
  return () => {
    throw new HubError(code, message)
  }
}

/**
 * The application may go on and change what it gave. Plain data and bytes are copied; what has a class (a signal, a
 * policy, a message of the application's own kind) is kept as it is.
 */
function copy(value: unknown, copies = new Map<object, object>()): unknown {
  if (typeof value !== 'object' || value === null) return value
  // Keeps a Buffer one; its own slice would share its memory.
  if (value instanceof Uint8Array) return Uint8Array.prototype.slice.call(value)
  const done = copies.get(value)
  if (done !== undefined) return done
  if (!Array.isArray(value) && Object.getPrototypeOf(value) !== Object.prototype) return value
  const made: Record<string, unknown> = (Array.isArray(value) ? [] : {}) as Record<string, unknown>
  copies.set(value, made)
  for (const [key, part] of Object.entries(value)) made[key] = copy(part, copies)
  return made
}
