/** The head of a request that opens a WebSocket; the answer's key is not checked, for it is the server's speed that counts. */
export const upgrade = (path, extra = '') =>
  `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
  `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${extra}\r\n`

/** A text frame as a client sends it; masked with zeros, which leaves the bytes as they are. */
export function clientMessage(payload, opcode = 1) {
  const { length } = payload
  const head =
    length < 126
      ? [length | 0x80]
      : length < 65536
        ? [0xfe, length >> 8, length & 255]
        : [0xff, 0, 0, 0, 0, (length / 2 ** 24) & 255, (length >> 16) & 255, (length >> 8) & 255, length & 255]
  return Buffer.concat([Buffer.from([0x80 | opcode, ...head, 0, 0, 0, 0]), payload])
}
