import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeUtf8, isImage, isJson, isText } from '../../src/wire/content-type.ts'
import { httpChunk, LAST_CHUNK, multipartPart } from '../../src/wire/http-framing.ts'
import { LineSplitter } from '../../src/wire/lines.ts'
import { sseEvent } from '../../src/wire/sse-event.ts'
import { SseReader } from '../../src/wire/sse-reader.ts'
import { WS_BINARY, WS_TEXT, wsFrame } from '../../src/wire/ws-frame.ts'
import { runs } from '../property-runs.ts'

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()

/** Cuts bytes into pieces at arbitrary places. */
function pieces(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [...new Set(cuts.map(cut => cut % (bytes.byteLength + 1)))].sort((a, b) => a - b)
  return [0, ...places].map((start, i) => bytes.subarray(start, places[i] ?? bytes.byteLength))
}

describe('lines', () => {
  it('are the same whatever the pieces they come in', () => {
    const line = fc
      .string({ unit: fc.constantFrom('a', 'é', '\r', ' '), maxLength: 8 })
      .map(each => each.replace(/\r+$/, ''))
    fc.assert(
      fc.property(fc.array(line), fc.constantFrom('\n', '\r\n'), fc.array(fc.nat()), (lines, end, cuts) => {
        const splitter = new LineSplitter(1000)
        const bytes = Buffer.from(lines.map(each => each + end).join(''))
        const read = pieces(bytes, cuts).flatMap(piece => [...splitter.push(piece)])
        expect([...read, ...splitter.end()].map(text)).toEqual(lines)
      }),
      runs(100),
    )
  })

  it('may lack the last end, and may not be longer than the limit, also over many pieces', () => {
    const splitter = new LineSplitter(10)
    expect([...splitter.push(Buffer.from('one\ntwo'))].map(text)).toEqual(['one'])
    expect([...splitter.end()].map(text)).toEqual(['two'])
    expect(() => {
      for (let i = 0; i < 11; i++) for (const line of splitter.push(Buffer.from('x'))) expect(line).toBeUndefined()
    }).toThrow(RangeError)
  })
})

describe('server-sent events', () => {
  it('carry any text, and no text can forge a field or end its event', () => {
    const data = fc.string({
      unit: fc.constantFrom('a', '\n', '\r', ':', ' ', 'id: 9', 'event: gap', 'data: x', '\0', '☃'),
    })
    fc.assert(
      fc.property(fc.array(data, { maxLength: 4 }), fc.nat({ max: 30 }), (all, cut) => {
        const stream = Buffer.concat(all.map((each, i) => sseEvent({ id: `e-${i}`, data: each }))).toString()
        const reader = new SseReader()
        const read = [...reader.push(stream.slice(0, cut)), ...reader.push(stream.slice(cut))]
        const expected = all.map((each, i) => ({
          event: 'message',
          id: `e-${i}`,
          data: each.replace(/\r\n|\r/g, '\n'),
        }))
        expect(read).toEqual(expected)
      }),
      runs(100),
    )
  })
})

describe('WebSocket frames (RFC 6455, section 5.2)', () => {
  it('say their length in the shortest form and are not masked', () => {
    for (const [length, head] of [
      [0, [0x82, 0]],
      [125, [0x82, 125]],
      [126, [0x82, 126, 0, 126]],
      [65_535, [0x82, 126, 255, 255]],
      [65_536, [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]],
    ] as const) {
      const frame = wsFrame(WS_BINARY, new Uint8Array(length).fill(7))
      expect([...frame.subarray(0, head.length)]).toEqual(head)
      expect(frame.byteLength).toBe(head.length + length)
      expect(frame.subarray(head.length).every(byte => byte === 7)).toBe(true)
    }
    expect(wsFrame(WS_TEXT, new Uint8Array(1))[0]).toBe(0x81)
  })
})

describe('HTTP framing', () => {
  it('makes one chunk of a message, and none of nothing, which would end the body', () => {
    expect(text(httpChunk(Buffer.from('hello')))).toBe('5\r\nhello\r\n')
    expect(text(httpChunk(Buffer.alloc(300, 'x')))).toBe(`12c\r\n${'x'.repeat(300)}\r\n`)
    expect(httpChunk(new Uint8Array(0)).byteLength).toBe(0)
    expect(text(LAST_CHUNK)).toBe('0\r\n\r\n')
  })

  it('ends a part with the next boundary, so that a picture is shown when it is there', () => {
    expect(text(multipartPart('b', 'image/png', Buffer.from('PNG')))).toBe(
      'Content-Type: image/png\r\nContent-Length: 3\r\n\r\nPNG\r\n--b\r\n',
    )
  })
})

describe('content types', () => {
  it('are told apart', () => {
    for (const type of [
      'text/plain',
      'text/html; charset=utf-8',
      'application/json',
      'application/ld+json',
      'application/xml',
    ])
      expect(isText(type)).toBe(true)
    for (const type of ['audio/wav', 'application/octet-stream', 'image/svg', 'application/jsonish'])
      expect(isText(type)).toBe(false)
    expect([
      isJson('application/json; charset=utf-8'),
      isJson('application/problem+json'),
      isJson('text/plain'),
    ]).toEqual([true, true, false])
    expect([isImage('image/png'), isImage('Image/JPEG'), isImage('text/plain')]).toEqual([true, true, false])
  })

  it('text is what is valid UTF-8', () => {
    expect(decodeUtf8(Buffer.from('é☃'))).toBe('é☃')
    for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80]])
      expect(decodeUtf8(Uint8Array.from(bytes))).toBeNull()
  })
})
