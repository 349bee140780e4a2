// What a station can play, and which of it some bytes are.

import { Mp3Parser } from './mp3.mjs'
import { OggParser } from './ogg.mjs'

const MP3 = {
  contentType: 'audio/mpeg',
  names: ['audio/mpeg', 'audio/mp3'],
  titles: true,
  parser: () => new Mp3Parser(),
}
// Players find the titles of Ogg in its comments; blocks between its bytes would break the pages.
const OGG = {
  contentType: 'audio/ogg',
  names: ['audio/ogg', 'application/ogg', 'audio/vorbis', 'audio/opus'],
  titles: false,
  parser: () => new OggParser(),
}

export function formatOf(bytes) {
  return bytes.toString('latin1', 0, 4) === 'OggS' ? OGG : MP3
}

/** Does a source that says this content type fit? One that says nothing (`curl -T`) may try: the parser will find out. */
export function fits(format, contentType) {
  const name = contentType?.split(';')[0].trim().toLowerCase()
  return !name || name === 'application/octet-stream' || format.names.includes(name)
}

/** Looks at the first chunk, and gives all of them back. */
export async function peek(chunks) {
  const iterator = chunks[Symbol.asyncIterator]()
  const first = await iterator.next()
  if (first.done) throw new Error('the input is empty')
  async function* all() {
    yield first.value
    yield* { [Symbol.asyncIterator]: () => iterator }
  }
  return { format: formatOf(first.value), chunks: all() }
}
