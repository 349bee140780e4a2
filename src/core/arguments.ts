import type { Publication } from './broker.ts'
import { CLOSE_REASONS, type Connection } from './connection.ts'
import type { ClientFilter, HistoryOptions, RegisterOptions, SubscribeOptions } from './contract.ts'
import { HubError } from './errors.ts'
import { positionRule } from './ids.ts'
import {
  anything,
  callable,
  checkValue,
  flag,
  having,
  integer,
  json,
  nearest,
  object,
  oneOf,
  type Rule,
  type Rules,
  readOptions,
  text,
  texts,
  unknownOption,
} from './options.ts'
import { policyRule } from './policy-check.ts'
import { notBytes } from './refusals.ts'
import type { Grants, Session } from './sessions.ts'

export const codecRule = having('a codec', 'encode', 'concat')
const methods = having('a connection', 'write', 'close')
export const connectionRule: Rule = (value, field) => {
  const wrong = methods(value, field)
  if (wrong !== undefined) return wrong
  const { protocol, codec: own } = value as Connection
  if (typeof protocol !== 'string') return 'a connection whose protocol is a string'
  return codecRule(own, field) && 'a connection whose codec has the methods encode, concat'
}

const time: Rule = value => (Number.isFinite(value) ? undefined : 'a time in ms since 1970, as a number')

const grants: Rule = (value, field) =>
  void readOptions(value as Grants, { subscribe: texts, publish: texts }, `${field}.`, 'REQUEST_INVALID', [
    'subscribe',
    'publish',
  ])

const SESSION: Rules<Session> = {
  user: text,
  tokenId: text,
  expiresAt: time,
  issuedAt: time,
  info: json,
  backend: flag,
  key: text,
  anonymous: flag,
  grants,
}
const SESSION_FIELDS = Object.keys(SESSION)

/**
 * Other keys are allowed, because a SessionManager may keep more in its sessions. A key that looks like a field that is
 * absent is refused: with `expiresat` a session would never end.
 */
export const sessionRule: Rule = (value, field) => {
  const wrong = object(value, field)
  if (wrong !== undefined) return wrong
  const session = value as Readonly<Record<string, unknown>>
  // A session of a class may have fields in its prototype.
  const isPlain = Object.getPrototypeOf(session) === Object.prototype
  for (const key of isPlain ? Object.keys(session) : SESSION_FIELDS) {
    if (!Object.hasOwn(SESSION, key)) checkUnknown(session, key, field)
    else if (session[key] !== undefined) checkValue(session[key], SESSION[key as keyof Session], `${field}.${key}`)
  }
  return undefined
}

function checkUnknown(session: Readonly<Record<string, unknown>>, key: string, field: string): void {
  const near = nearest(key, SESSION_FIELDS)
  if (near === undefined || session[near] !== undefined) return
  throw new HubError('REQUEST_INVALID', `${field}: ${unknownOption(key, SESSION_FIELDS)}`)
}

/** A content type becomes a header of a response without a change. */
export const contentTypeRule: Rule = value =>
  typeof value === 'string' && /^[\x20-\x7e]{1,255}$/.test(value) ? undefined : '1 to 255 printable ASCII characters'

const REGISTER: Rules<RegisterOptions> = {
  protocols: texts,
  session: sessionRule,
  address: text,
  ifExists: oneOf('replace', 'seize', 'refuse'),
  restore: anything,
  internal: flag,
}

const SUBSCRIBE: Rules<SubscribeOptions> = {
  policy: policyRule,
  after: (value, field) =>
    value === 'oldest' ? undefined : positionRule(value, field) && '"oldest" or a position { epoch, seq }',
  begun: callable,
}

const HISTORY: Rules<HistoryOptions> = { after: positionRule, limit: integer(0), reverse: flag }

const FILTER: Rules<ClientFilter> = {
  topic: text,
  user: text,
  protocol: text,
  all: value => (value === true ? undefined : 'true'),
  except: texts,
}

export const reasonRule = oneOf(...CLOSE_REASONS)

/** Throws REQUEST_INVALID, as the functions below do. */
export function readRegister(options: RegisterOptions): RegisterOptions {
  return readOptions(options, REGISTER, 'registerClient')
}

/** @param call the name of the call, for the error. Throws POLICY_INVALID as well. */
export function readSubscribe(options: SubscribeOptions, call: string): SubscribeOptions {
  return readOptions(options, SUBSCRIBE, call)
}

export function readHistory(options: HistoryOptions): HistoryOptions {
  return readOptions(options, HISTORY, 'history')
}

export function checkSession(given: Session): void {
  checkValue(given, sessionRule, 'session')
}

/**
 * Throws REQUEST_INVALID for a filter that names nothing, or a key that is undefined: a mistake must not select every
 * client.
 */
export function readFilter(filter: ClientFilter): ClientFilter {
  const read = readOptions(filter, FILTER, 'filter.')
  const missing = Object.keys(filter).find(key => !Object.hasOwn(read, key))
  if (missing !== undefined) {
    throw new HubError(
      'REQUEST_INVALID',
      `filter.${missing} must not be undefined; leave it out, or ask for { all: true }`,
    )
  }
  const { all, except: _, ...named } = read
  const names = Object.keys(named)
  if (all === undefined && names.length === 0) {
    throw new HubError('REQUEST_INVALID', 'filter: name topic, user or protocol, or everybody with { all: true }')
  }
  if (all === undefined || names.length === 0) return read
  throw new HubError('REQUEST_INVALID', `filter.all cannot be combined with ${names.join(', ')}; give one or the other`)
}

/**
 * Checks the fields that the account of memory needs. `routeData` checks no options, and a custom broker can give
 * anything to its sink. Throws INVALID_MESSAGE and REQUEST_INVALID.
 */
export function checkPublication({ data, contentType, key, correlationId, publisher }: Publication): void {
  if (!(data instanceof Uint8Array)) throw notBytes(data)
  if (typeof contentType !== 'string') checkValue(contentType, text, 'contentType')
  if (key !== undefined) checkValue(key, text, 'key')
  if (correlationId !== undefined) checkValue(correlationId, text, 'correlationId')
  if (publisher === undefined) return
  checkValue(publisher, object, 'publisher')
  if (publisher.user !== undefined) checkValue(publisher.user, text, 'publisher.user')
}
