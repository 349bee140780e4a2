import type { TopicName } from './ids.ts'

/** Who a client is. An open hub has only anonymous sessions. */
export interface Session {
  readonly user?: string | undefined
}

export type Action = 'subscribe' | 'publish'

/** What a transport knows of a peer before it has a session. Secrets in it must never be logged. */
export interface Handshake {
  readonly protocol: string
  readonly address?: string | undefined
  readonly token?: string | undefined
  readonly headers?: Readonly<Record<string, string | string[] | undefined>> | undefined
}

/** Says who may do what. `authenticate` rejects with PERMISSION_DENIED; `authorize` answers false. */
export interface SessionManager {
  authenticate(handshake: Handshake): Session | Promise<Session>
  authorize(session: Session, action: Action, topic: TopicName): boolean | Promise<boolean>
}

const anonymous: Session = Object.freeze({})

/** Everybody may do everything: for a hub that listens on loopback only. */
export const openSessions: SessionManager = Object.freeze({
  authenticate: () => anonymous,
  authorize: () => true,
})
