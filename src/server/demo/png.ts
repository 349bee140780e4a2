import { crc32, deflateSync } from 'node:zlib'

export interface IndexedImage {
  readonly width: number
  readonly height: number
  /** One byte per pixel, row by row: an index into `palette`. */
  readonly pixels: Uint8Array
  /** Up to 256 colours: red, green and blue, 0 to 255. */
  readonly palette: readonly (readonly number[])[]
}

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
const BIT_DEPTH = 8
const INDEXED = 3
/** Speed before size: a camera encodes ten pictures a second. */
const COMPRESSION_LEVEL = 1

/** A PNG image (RFC 2083) with one byte per pixel and no row filter. */
export function encodePng({ width, height, pixels, palette }: IndexedImage): Uint8Array {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([BIT_DEPTH, INDEXED], 8)
  // Each row begins with the number of its filter: 0, which is none.
  const rows = Buffer.alloc((width + 1) * height)
  for (let y = 0; y < height; y++) rows.set(pixels.subarray(y * width, (y + 1) * width), y * (width + 1) + 1)
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header),
    chunk('PLTE', Uint8Array.from(palette.flat())),
    chunk('IDAT', deflateSync(rows, { level: COMPRESSION_LEVEL })),
    chunk('IEND', new Uint8Array()),
  ])
}

/** Length of the data, type, data, and a checksum of type and data. */
function chunk(type: string, data: Uint8Array): Buffer {
  const bytes = Buffer.alloc(data.byteLength + 12)
  bytes.writeUInt32BE(data.byteLength, 0)
  bytes.write(type, 4, 'latin1')
  bytes.set(data, 8)
  bytes.writeUInt32BE(crc32(bytes.subarray(4, -4)), data.byteLength + 8)
  return bytes
}
