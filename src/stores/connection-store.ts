/** What a store keeps of one connection, so that another process, or this one after a restart, knows of it. */
export interface ConnectionRecord {
  readonly id: string
  /** The hub that it is connected to. */
  readonly node: string
  readonly protocol: string
  readonly user?: string | undefined
  /** Wall time, in ms since 1970, as the next two. */
  readonly connectedAt: number
  /** Of the last message that its receiver took. */
  readonly lastSendAt?: number | undefined
  /** The record is worth nothing from then on; absent: until it is deleted. */
  readonly expiresAt?: number | undefined
  /** Of a client that is a URL: all that is needed to have it again, as plain JSON. May hold a secret: never logged. */
  readonly restore?: unknown
}

/** What `touch` changes; what is not named stays as it is. */
export interface ConnectionTouch {
  readonly id: string
  readonly lastSendAt?: number | undefined
  readonly expiresAt?: number | undefined
}

/**
 * Remembers connections. Every method may be called at any time, also for ids that are not there; calls take effect in
 * the order in which they were made, awaited or not. Records whose time has come are not found by any of them. Rejects
 * with what its driver says where the store is out of reach, within its time limit, and with REQUEST_INVALID where a
 * time is no finite number.
 */
export interface ConnectionStore {
  readonly name: string
  /** Replaces a record of the same id. */
  put(record: ConnectionRecord): Promise<void>
  get(id: string): Promise<ConnectionRecord | undefined>
  /**
   * Changes what each names of records that are there; others are passed over, never made. One round trip for all of
   * them.
   */
  touch(touches: readonly ConnectionTouch[]): Promise<void>
  /** False: it was not there. */
  delete(id: string): Promise<boolean>
  /** In no order. */
  listByUser(user: string): Promise<ConnectionRecord[]>
  listByNode(node: string): Promise<ConnectionRecord[]>
  close(): Promise<void>
}
