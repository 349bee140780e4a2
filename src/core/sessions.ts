import type { TopicName } from './ids.ts'
import type { TopicPattern } from './patterns.ts'

/** Who a client is, and what it may do. Made by a SessionManager; never changed, a refresh makes a new one. */
export interface Session {
  /** One user may have many clients. */
  readonly user?: string | undefined
  /** Of the token that opened it, for revocation (RFC 7519, jti). */
  readonly tokenId?: string | undefined
  /** When it ends, in ms since 1970: within two seconds of it its clients are closed as `expired`. Undefined: never. */
  readonly expiresAt?: number | undefined
  /** When its token was made, in ms since 1970: a revocation of a user ends what is older. */
  readonly issuedAt?: number | undefined
  /** What presence shows of it beside the user: a small JSON value. */
  readonly info?: unknown
  /** A backend with a key of its own: topics' own rules of who may do what are not for it. */
  readonly backend?: boolean | undefined
  /** The name of a backend's key. */
  readonly key?: string | undefined
  /**
   * It has brought nothing, and is as good as any other that has not: it may not say what its client shall be called.
   */
  readonly anonymous?: boolean | undefined
  /** What it may do, where its token says so. Undefined: its SessionManager decides in another way. */
  readonly grants?: Grants | undefined
}

export interface Grants {
  readonly subscribe: readonly TopicPattern[]
  readonly publish: readonly TopicPattern[]
}

/** presence and history are read by whoever may subscribe, unless a SessionManager says otherwise. */
export type Action = 'subscribe' | 'publish' | 'presence' | 'history'

/** What a transport knows of a peer before it has a session. Secrets in it must never be logged. */
export interface Handshake {
  readonly protocol: string
  readonly address?: string | undefined
  /** As the client protocol's connect command or an `Authorization: Bearer` header brings it. */
  readonly token?: string | undefined
  /** A one-use ticket, from the query of a URL. */
  readonly ticket?: string | undefined
  readonly headers?: Readonly<Record<string, string | string[] | undefined>> | undefined
}

/** What a token for one topic allows. */
export interface SubscriptionGrant {
  /** When the subscription ends, in ms since 1970. Undefined: with the session. */
  readonly expiresAt?: number | undefined
  readonly info?: unknown
}

/**
 * Says who may do what. Refusals are HubErrors: UNAUTHENTICATED with a reason class, PERMISSION_DENIED,
 * AUTH_UNAVAILABLE where whoever knows cannot be asked. Whatever else is thrown refuses as well. No message may have
 * anything of a token in it.
 */
export interface SessionManager {
  /** Throws or rejects with UNAUTHENTICATED, AUTH_UNAVAILABLE, PERMISSION_DENIED. */
  authenticate(handshake: Handshake): Session | Promise<Session>
  /** A pattern is asked for as a whole: true only if everything that it matches may be subscribed to. */
  authorize(session: Session, action: Action, topic: TopicName | TopicPattern): boolean | Promise<boolean>
  /**
   * A client brings a token for one topic (Centrifuge's subscription token). Throws as `authenticate`. Absent: there
   * are no such tokens.
   */
  grant?(session: Session, token: string, topic: TopicName): SubscriptionGrant | Promise<SubscriptionGrant>
  /**
   * A newer token for a client that is connected: of the same user, or it is refused. Absent: sessions cannot be
   * refreshed.
   */
  refresh?(session: Session, token: string): Session | Promise<Session>
  /** Is the session over before its time? Asked of every session that is open, about once a second. Absent: never. */
  revoked?(session: Session): boolean
}

/** Why a token or a ticket is refused: as much as its bearer may know. */
export type RefusalReason =
  | 'missing'
  | 'malformed'
  | 'algorithm'
  | 'signature'
  | 'expired'
  | 'early'
  | 'audience'
  | 'issuer'
  | 'claims'
  | 'type'
  | 'key'
  | 'revoked'
  | 'used'

const anonymous: Session = Object.freeze({})

/** Everybody may do everything: for a hub that listens on loopback only. */
export const openSessions: SessionManager = Object.freeze({
  authenticate: () => anonymous,
  authorize: () => true,
})
