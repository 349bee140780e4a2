const encoder = new TextEncoder()

/** The end of a chunked body (RFC 9112, section 7.1): without it the reader knows that the stream was cut. */
export const LAST_CHUNK = encoder.encode('0\r\n\r\n')

/**
 * One chunk of a chunked body (RFC 9112, section 7.1). Empty bytes give no bytes, for an empty chunk would end the
 * body.
 */
export function httpChunk(bytes: Uint8Array): Uint8Array {
  if (bytes.byteLength === 0) return bytes
  const size = encoder.encode(`${bytes.byteLength.toString(16)}\r\n`)
  const chunk = new Uint8Array(size.byteLength + bytes.byteLength + 2)
  chunk.set(size)
  chunk.set(bytes, size.byteLength)
  chunk[chunk.byteLength - 2] = 0x0d
  chunk[chunk.byteLength - 1] = 0x0a
  return chunk
}

/**
 * What a multipart stream begins with. With a content type: the head of the first part as well (see `multipartNext`).
 */
export function multipartStart(boundary: string, contentType?: string): Uint8Array {
  return encoder.encode(contentType === undefined ? `--${boundary}\r\n` : nextHead(boundary, contentType))
}

function nextHead(boundary: string, contentType: string): string {
  return `--${boundary}\r\nContent-Type: ${contentType}\r\n\r\n`
}

/**
 * The body of a part and the head of the next one. Chromium shows a picture of multipart/x-mixed-replace when the next
 * part has a head, so a head that came with the next picture would show every picture one too late. Such a part has no
 * Content-Length, since the next picture is not known yet.
 */
export function multipartNext(boundary: string, contentType: string, bytes: Uint8Array): Uint8Array {
  const tail = encoder.encode(`\r\n${nextHead(boundary, contentType)}`)
  const part = new Uint8Array(bytes.byteLength + tail.byteLength)
  part.set(bytes)
  part.set(tail, bytes.byteLength)
  return part
}

/** One part (RFC 2046, section 5.1), up to and with the next boundary, so that a reader sees its end at once. */
export function multipartPart(boundary: string, contentType: string, bytes: Uint8Array): Uint8Array {
  const head = encoder.encode(`Content-Type: ${contentType}\r\nContent-Length: ${bytes.byteLength}\r\n\r\n`)
  const tail = encoder.encode(`\r\n--${boundary}\r\n`)
  const part = new Uint8Array(head.byteLength + bytes.byteLength + tail.byteLength)
  part.set(head)
  part.set(bytes, head.byteLength)
  part.set(tail, head.byteLength + bytes.byteLength)
  return part
}
