import { heldBytes, PLACE_BYTES } from '../../src/core/ledger.ts'

interface Held {
  readonly key?: string
  /** How many lists hold the message. */
  readonly places?: number
}

/** What the hub counts for a message with a payload of so many bytes. */
export function held(payloadBytes: number, { key, places = 1 }: Held = {}): number {
  const message = { bytes: payloadBytes, key, correlationId: undefined }
  return heldBytes(message) + places * PLACE_BYTES
}
