/** Opcodes of the frames that we build ourselves (RFC 6455, section 5.2). */
export const WS_TEXT = 0x1
export const WS_BINARY = 0x2
export const WS_PING = 0x9

/**
 * One unfragmented, unmasked frame as a server sends it (RFC 6455, section 5.2). It carries nothing of a connection, so
 * that all WebSockets share it; that rules out compression, whose state is per connection.
 */
export function wsFrame(opcode: number, payload: Uint8Array): Uint8Array {
  const { byteLength } = payload
  const head = byteLength < 126 ? 2 : byteLength < 65_536 ? 4 : 10
  const frame = new Uint8Array(head + byteLength)
  frame[0] = 0x80 | opcode
  if (head === 2) {
    frame[1] = byteLength
  } else {
    frame[1] = head === 4 ? 126 : 127
    const view = new DataView(frame.buffer)
    if (head === 4) view.setUint16(2, byteLength)
    else view.setBigUint64(2, BigInt(byteLength))
  }
  frame.set(payload, head)
  return frame
}
