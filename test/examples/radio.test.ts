import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { chromium } from 'playwright-core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const RADIO = join(import.meta.dirname, '../../examples/radio')
const SOUND = join(RADIO, 'sound.mp3')
/** By a name that the type checker does not follow: examples are plain JavaScript. */
const load = (name: string) => import(join(RADIO, name))

const { Mp3Parser, frameHeader, MAX_NOISE } = await load('mp3.mjs')
const { OggParser, checksum } = await load('ogg.mjs')
const { AHEAD_MS, bundles, Pacer } = await load('pace.mjs')
const { Cutter, icyCodec, metadataBlock, METAINT, plainTitle } = await load('icy.mjs')
const { Preface } = await load('preface.mjs')
const { Source } = await load('source.mjs')
const { peek } = await load('formats.mjs')

interface Unit {
  readonly bytes: Buffer
  readonly seconds: number
  readonly header?: true
}
interface Parser {
  push(chunk: Buffer): Unit[]
  end(): Unit[]
}

const KBPS = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128]

/** A frame of MPEG-1 layer III, 44.1 kHz, joint stereo: a right header, and any bytes in it. */
function frame(kbps = 64, fill = 0xab): Buffer {
  const bytes = Buffer.alloc(Math.floor((144_000 * kbps) / 44_100), fill)
  bytes.set([0xff, 0xfb, KBPS.indexOf(kbps) << 4, 0x40])
  return bytes
}

const frames = (count: number, fill?: number): Buffer[] => Array.from({ length: count }, () => frame(64, fill))

/** All that a parser finds in these bytes, which come in pieces of this size. */
function parse(parser: Parser, bytes: Buffer, size = bytes.length): Unit[] {
  const units: Unit[] = []
  for (let at = 0; at < bytes.length; at += size) units.push(...parser.push(bytes.subarray(at, at + size)))
  return [...units, ...parser.end()]
}

/** Array.fromAsync, which Node 20 does not have. */
async function collect<T>(input: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const each of input) all.push(each)
  return all
}

const joined = (units: readonly Unit[]) => Buffer.concat(units.map(({ bytes }) => bytes))
const seconds = (units: readonly Unit[]) => units.reduce((sum, unit) => sum + unit.seconds, 0)

/** What a tagger puts before a song: here with bytes that look like frames in it. */
function id3v2(size: number): Buffer {
  const head = Buffer.from([0x49, 0x44, 0x33, 4, 0, 0, 0, (size >> 14) & 127, (size >> 7) & 127, size & 127])
  return Buffer.concat([head, Buffer.concat(frames(200)).subarray(0, size)])
}

const id3v1 = Buffer.concat([Buffer.from('TAG'), Buffer.alloc(125, 0x20)])

describe('MP3', () => {
  const song = Buffer.concat([frame(64), frame(128), frame(32), frame(96), frame(64)])

  it.each([1, 7, 100, 417, 100_000])('is cut into frames, in pieces of %i bytes', size => {
    const units = parse(new Mp3Parser(), song, size)
    expect(units.map(({ bytes }) => bytes.length)).toEqual([208, 417, 104, 313, 208])
    expect(joined(units).equals(song)).toBe(true)
    expect(seconds(units)).toBeCloseTo((5 * 1152) / 44_100, 9)
  })

  it('has tags before and behind it, which are not sent', () => {
    const tagged = Buffer.concat([id3v2(20_000), song, id3v1, id3v2(300), song, id3v1])
    for (const size of [1, 999, tagged.length]) {
      expect(joined(parse(new Mp3Parser(), tagged, size)).equals(Buffer.concat([song, song]))).toBe(true)
    }
  })

  it('has a table of contents for a first frame, which is not sent', () => {
    for (const name of ['Xing', 'Info', 'VBRI']) {
      const first = frame()
      first.write(name, 36, 'latin1')
      expect(joined(parse(new Mp3Parser(), Buffer.concat([first, song]))).equals(song)).toBe(true)
    }
  })

  it('is found again after damage, and what looks like a header is none', () => {
    const fake = Buffer.concat([Buffer.alloc(50, 1), Buffer.from([0xff, 0xfb, 0x50, 0x40]), Buffer.alloc(500, 2)])
    const units = parse(new Mp3Parser(), Buffer.concat([frame().subarray(90), song, fake, song]), 64)
    expect(joined(units).equals(Buffer.concat([song, song]))).toBe(true)
  })

  it('a lot of something else is refused, and not kept', () => {
    const parser = new Mp3Parser()
    expect(parse(parser, Buffer.alloc(MAX_NOISE))).toEqual([])
    expect(() => parse(parser, Buffer.alloc(100))).toThrow('64 KiB without a frame: this is not MP3')
  })

  it('knows the headers of MPEG-2 and 2.5, and none that the standard does not have', () => {
    expect(frameHeader(Buffer.from([0xff, 0xf3, 0x80, 0xc0]))).toMatchObject({ kbps: 64, length: 208, mono: true })
    expect(frameHeader(Buffer.from([0xff, 0xe3, 0x48, 0x00]))).toMatchObject({ kbps: 32, length: 288, seconds: 0.072 })
    // Free format, a bit rate and a sample rate that are none, a version that is none, layer II, and too little.
    for (const header of ['fffb0040', 'fffbf040', 'fffb5c40', 'ffeb5040', 'fffd5040', 'fffb50']) {
      expect(frameHeader(Buffer.from(header, 'hex'))).toBeUndefined()
    }
  })

  it('the sound that comes along is all frames, and as long as it should be', () => {
    const file = readFileSync(SOUND)
    const units = parse(new Mp3Parser(), file, 4096)
    expect(file.length).toBeLessThan(250_000)
    expect(seconds(units)).toBeGreaterThan(20)
    expect(file.length - joined(units).length).toBeLessThan(1000)
  })
})

/** The first page of a file that oggenc wrote. */
const REAL_PAGE = Buffer.from(
  'T2dnUwACAAAAAAAAAACvKuscAAAAALSlI7UBHgF2b3JiaXMAAAAAAgB9AAAAAAAAkF8BAAAAAAC4AQ==',
  'base64',
)

interface PageOptions {
  readonly flags?: number
  readonly serial?: number
  readonly packets?: Buffer[]
}

/** A page of whole packets of less than 255 bytes each. */
function page(
  granule: bigint,
  { flags = 0, serial = 7, packets = [Buffer.alloc(100, 0xcd)] }: PageOptions = {},
): Buffer {
  const head = Buffer.alloc(27)
  head.write('OggS')
  head[5] = flags
  head.writeBigUInt64LE(BigInt.asUintN(64, granule), 6)
  head.writeUInt32LE(serial, 14)
  head[26] = packets.length
  const bytes = Buffer.concat([head, Buffer.from(packets.map(({ length }) => length)), ...packets])
  bytes.writeUInt32LE(checksum(bytes), 22)
  return bytes
}

function vorbisHeaders(serial = 7): Buffer {
  const first = Buffer.concat([Buffer.from('\x01vorbis', 'latin1'), Buffer.alloc(23)])
  first.writeUInt32LE(48_000, 12)
  const others = [Buffer.from('\x03vorbis comment'), Buffer.from('\x05vorbis setup')]
  return Buffer.concat([page(0n, { flags: 2, serial, packets: [first] }), page(0n, { serial, packets: others })])
}

describe('Ogg', () => {
  const sound = [page(24_000n), page(-1n), page(60_000n), page(72_000n)]
  const song = Buffer.concat([vorbisHeaders(), ...sound])

  it('has the checksum that others compute', () => {
    expect(checksum(REAL_PAGE)).toBe(REAL_PAGE.readUInt32LE(22))
  })

  it.each([1, 33, 5000])('is cut into pages, with the headers as one unit, in pieces of %i bytes', size => {
    const units = parse(new OggParser(), song, size)
    expect(units.map(({ header, seconds: time }) => [header ?? false, time])).toEqual([
      [true, 0],
      [false, 0.5],
      [false, 0],
      [false, 0.75],
      [false, 0.25],
    ])
    expect(joined(units).equals(song)).toBe(true)
  })

  it('knows Opus, whose clock is always 48 kHz', () => {
    const packets = [Buffer.from('OpusHead and more')]
    const head = [page(0n, { flags: 2, packets }), page(0n, { packets: [Buffer.from('OpusTags')] })]
    const units = parse(new OggParser(), Buffer.concat([...head, page(48_000n)]))
    expect(units.map(({ seconds: time }) => time)).toEqual([0, 1])
  })

  it('knows FLAC, which says how many headers there are', () => {
    const first = Buffer.concat([Buffer.from('\x7fFLAC\x01\0\0\x02fLaC', 'latin1'), Buffer.alloc(38)])
    // 20 bits in the middle of STREAMINFO.
    first.writeUIntBE(44_100 << 4, 27, 3)
    const head = [page(0n, { flags: 2, packets: [first] }), page(0n, { packets: [Buffer.from('a'), Buffer.from('b')] })]
    const units = parse(new OggParser(), Buffer.concat([...head, page(22_050n)]), 30)
    expect(units.map(({ header, seconds: time }) => [header, time])).toEqual([
      [true, 0],
      [undefined, 0.5],
    ])
  })

  it('begins anew with each chained stream, and a recording may begin at any position', () => {
    const late = Buffer.concat([vorbisHeaders(8), page(10_000_000n, { serial: 8 }), page(10_024_000n, { serial: 8 })])
    const units = parse(new OggParser(), Buffer.concat([song, late]), 50)
    expect(units.filter(({ header }) => header)).toHaveLength(2)
    expect(seconds(units)).toBeCloseTo(2)
  })

  it('loses a damaged page, and no other; another stream in it is left out', () => {
    const damaged = Buffer.from(sound[2]!)
    damaged.writeUInt8(1, 60)
    const bytes = Buffer.concat([vorbisHeaders(), sound[0]!, damaged, page(5n, { serial: 9 }), sound[3]!])
    expect(parse(new OggParser(), bytes, 40).map(({ seconds: time }) => time)).toEqual([0, 0.5, 1])
  })

  it('refuses other codecs, a lot of something else, and pages that never take time', () => {
    const theora = page(0n, { flags: 2, packets: [Buffer.from('\x80theora')] })
    expect(() => parse(new OggParser(), theora)).toThrow('neither Vorbis, Opus nor FLAC')
    expect(() => parse(new OggParser(), Buffer.alloc(MAX_NOISE + 10))).toThrow('64 KiB without a page of sound')
    const still = Buffer.concat([vorbisHeaders(), ...Array.from({ length: 1000 }, () => page(5n))])
    expect(() => parse(new OggParser(), still)).toThrow('64 KiB without a page of sound')
  })
})

describe('the beginning of Ogg for a late listener', () => {
  const [one, two] = [vorbisHeaders(1), vorbisHeaders(2)]

  it('is in the burst at first; then the headers come before it, and before a repetition of the same', () => {
    const preface = new Preface(1000)
    expect(preface.forListener()).toEqual({ header: undefined, burst: true })
    preface.sent(1000, one)
    expect(preface.forListener()).toEqual({ header: undefined, burst: true })
    preface.sent(1)
    expect(preface.forListener()).toEqual({ header: one, burst: true })
    preface.sent(10, Buffer.from(one))
    expect(preface.forListener()).toEqual({ header: one, burst: true })
  })

  it('has no burst of what belongs to other headers', () => {
    const preface = new Preface(1000)
    preface.sent(5000, one)
    preface.sent(1000, two)
    expect(preface.forListener()).toEqual({ header: two, burst: false })
    preface.sent(1)
    expect(preface.forListener()).toEqual({ header: two, burst: true })
  })
})

/** A clock that a test holds; each sleep lasts longer than asked for by what `lateness` says. */
function heldClock(lateness = 0) {
  const clock = {
    time: 1000,
    now: () => clock.time,
    async sleep(ms: number) {
      clock.time += ms + lateness
    },
  }
  return clock
}

describe('pace', () => {
  it('sends no more than half a second early, and errors of timers do not add up', async () => {
    const clock = heldClock(13)
    const pacer = new Pacer(clock)
    for (let sent = 0; sent < 1000; sent++) {
      await pacer.wait(0.2)
      pacer.sent(0.2)
      const early = 1000 + (sent + 1) * 200 - clock.time
      expect(early).toBeLessThanOrEqual(AHEAD_MS + 0.001)
      if (sent > 5) expect(early).toBeGreaterThanOrEqual(AHEAD_MS - 13.001)
    }
  })

  it('catches up what is a little late, and begins anew where nothing came for long', async () => {
    const clock = heldClock()
    const pacer = new Pacer(clock)
    const send = async (count: number) => {
      const from = clock.time
      for (let sent = 0; sent < count; sent++) {
        await pacer.wait(0.1)
        pacer.sent(0.1)
      }
      return clock.time - from
    }
    expect(await send(10)).toBeCloseTo(500)
    clock.time += 800
    expect(await send(8)).toBeCloseTo(0)
    clock.time += 60_000
    expect(await send(20)).toBeCloseTo(1500)
  })

  it('stops at once', async () => {
    const stop = new AbortController()
    stop.abort()
    await expect(new Pacer(heldClock()).wait(1, stop.signal)).rejects.toThrow('aborted')
  })

  it('bundles whole frames, about five times a second', async () => {
    const song = Buffer.concat(frames(100))
    const all = await collect(bundles([song.subarray(0, 1000), song.subarray(1000)], new Mp3Parser()))
    const found = all as Unit[]
    expect(joined(found).equals(song)).toBe(true)
    for (const bundle of found.slice(0, -1)) expect(bundle.seconds).toBeCloseTo(0.209, 3)
    for (const { bytes } of found) expect(bytes.length % 208).toBe(0)
  })

  it('begins a bundle with headers, and tells them apart', async () => {
    const song = Buffer.concat([
      vorbisHeaders(1),
      page(4800n, { serial: 1 }),
      vorbisHeaders(2),
      page(4800n, { serial: 2 }),
    ])
    const all = (await collect(bundles([song], new OggParser()))) as { bytes: Buffer; header: Buffer }[]
    expect(all.map(({ header }) => header.equals(vorbisHeaders(1)))).toEqual([true, false])
    for (const { bytes, header } of all) expect(bytes.indexOf(header)).toBe(0)
  })

  it('says so when there was no sound at all', async () => {
    await expect(collect(bundles([Buffer.from('hello')], new Mp3Parser()))).rejects.toThrow('without one frame')
  })
})

describe('titles in the stream', () => {
  it('a block is its length in units of 16, and text', () => {
    const block: Buffer = metadataBlock('Ann - Four Bells')
    expect([block[0], block.length]).toEqual([2, 33])
    expect(block.toString('latin1', 1).replace(/\0+$/, '')).toBe("StreamTitle='Ann - Four Bells';")
    expect(metadataBlock('x'.repeat(10_000)).length).toBeLessThan(4081)
  })

  it('a title is one line, cannot end the block, and is cut between characters', () => {
    expect(plainTitle("a\r\nb'; StreamUrl='c")).toBe("a b' StreamUrl='c")
    expect(plainTitle(`a${'ü'.repeat(400)}`)).toBe(`a${'ü'.repeat(255)}`)
  })

  it('sound is cut to pieces of one size, and each gets the title of its time', () => {
    const cutter = new Cutter(10)
    const pieces = [4, 30, 1, 9].flatMap(size => cutter.push(Buffer.alloc(size, size)))
    expect(pieces.map((piece: Buffer) => piece.length)).toEqual([10, 10, 10, 10])
    let title = 'one'
    const codec = icyCodec(() => title)
    const first = codec.encode({ payload: pieces[0] })
    title = 'two'
    expect(first.equals(codec.encode({ payload: pieces[0] }))).toBe(false)
    expect(first.subarray(0, 10).equals(pieces[0])).toBe(true)
  })
})

describe('a source', () => {
  const headers = { authorization: `Basic ${btoa('source:secret')}` }
  const nothing = () => new Readable({ read() {} })
  function source(playLive: (chunks: AsyncIterable<Buffer>) => Promise<number>, live = false) {
    const station = { format: { contentType: 'audio/mpeg', names: ['audio/mpeg'] }, live, playLive }
    return new Source({ station, password: 'secret', silenceMs: 1, log: () => {} })
  }
  const listen = async (chunks: AsyncIterable<Buffer>) => (await collect(chunks)).length

  it.each([
    {},
    { authorization: 'Basic' },
    { authorization: `Basic ${btoa('source:secre')}` },
    { authorization: 'Bearer x' },
  ])('must know the password: %o', wrong => {
    expect(() => source(listen).check(wrong)).toThrow(expect.objectContaining({ status: 401 }))
    expect(() => source(listen).check(headers)).not.toThrow()
  })

  it('must send what the station sends, and be the only one', () => {
    const other = { ...headers, 'content-type': 'audio/ogg' }
    expect(() => source(listen).check(other)).toThrow('This station sends audio/mpeg, and you have audio/ogg.')
    expect(() => source(listen, true).check(headers)).toThrow(expect.objectContaining({ status: 409 }))
  })

  it('is dropped when it says nothing, and told when it is no sound', async () => {
    await expect(source(listen).play(headers, nothing())).rejects.toMatchObject({ status: 408 })
    const noSound = source(() => Promise.reject(new Error('no frame')))
    await expect(noSound.play(headers, nothing())).rejects.toMatchObject({ status: 415 })
  })
})

it('looks at the first bytes of an input, and loses none', async () => {
  async function* input() {
    yield* [Buffer.from('OggS'), Buffer.from('more')]
  }
  const { format, chunks } = await peek(input())
  expect([format.contentType, String(await collect(chunks))]).toEqual(['audio/ogg', 'OggS,more'])
  await expect(peek((async function* () {})())).rejects.toThrow('empty')
})

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
const CURL = spawnSync('curl', ['--version']).status === 0
const required = process.env.HUBLINE_TEST_REQUIRE_ALL === '1'
for (const [program, there] of Object.entries({ Chromium: CHROMIUM, curl: CURL })) {
  if (there || required) continue
  console.log(
    `Skipped: a test of the radio needs ${program}; scripts/install-browser.sh installs it (apt-get, as root).`,
  )
}

interface Status {
  readonly title: string
  readonly live: boolean
  readonly count: number
  readonly kbps: number
  readonly slow: number
}

describe('the radio', () => {
  let url: string
  let child: ReturnType<typeof spawn>
  let output: string
  let ended: Promise<number | null>
  const open: { destroy(): unknown }[] = []

  async function start(...parameters: string[]): Promise<void> {
    output = ''
    child = spawn(process.execPath, [join(RADIO, 'radio.mjs'), '--port', '0', '--password', 'secret', ...parameters])
    ended = new Promise(resolve => child.on('close', resolve))
    for (const stream of [child.stdout!, child.stderr!]) stream.on('data', text => (output += text))
    await expect.poll(() => /http:\/\/127\.0\.0\.1:\d+/.exec(output)?.[0], { timeout: 10_000 }).toBeDefined()
    url = /http:\/\/127\.0\.0\.1:\d+/.exec(output)![0]
  }

  beforeEach(() => start())
  afterEach(async () => {
    for (const each of open.splice(0)) each.destroy()
    child.kill('SIGTERM')
    expect(await ended).toBe(0)
  })

  const status = async () => (await (await fetch(`${url}/status.json`)).json()) as Status
  const listen = (headers: Record<string, string> = {}) =>
    new Promise<IncomingMessage>(resolve => {
      open.push(get(`${url}/stream`, { headers, agent: false }, resolve).on('error', () => {}))
    })

  /** Reads until so much has come, or the marked bytes have. */
  async function read(stream: IncomingMessage | Socket, enough: (bytes: Buffer) => boolean): Promise<Buffer> {
    const parts: Buffer[] = []
    for await (const part of stream.iterator({ destroyOnReturn: false })) {
      parts.push(part)
      if (enough(Buffer.concat(parts))) break
    }
    return Buffer.concat(parts)
  }
  const atLeast = (size: number) => (bytes: Buffer) => bytes.length >= size

  /** Are these all frames of the sound, but for a piece at each end? */
  function expectFrames(bytes: Buffer): void {
    const sound = readFileSync(SOUND)
    const units = parse(new Mp3Parser(), bytes)
    expect(bytes.length - joined(units).length).toBeLessThan(2 * units[0]!.bytes.length)
    for (const unit of units) expect(sound.includes(unit.bytes)).toBe(true)
  }

  it('gives a new listener what was played before, at once, in whole frames, and goes on', async () => {
    await read(await listen(), atLeast(30_000))
    const begun = performance.now()
    const late = await listen()
    const burst = await read(late, atLeast(20_000))
    // 20,000 bytes at 80 kbit/s are two seconds of sound: they were there before.
    expect(performance.now() - begun).toBeLessThan(1800)
    expect(late.headers).toMatchObject({ 'content-type': 'audio/mpeg', 'transfer-encoding': 'chunked' })
    expect(frameHeader(burst)).toMatchObject({ kbps: 80 })
    expectFrames(burst)
    expectFrames(await read(late, atLeast(5000)))
    expect(await status()).toMatchObject({ count: 2, kbps: 80, live: false })
  })

  it('puts the title where the listener expects it; without it the sound is whole', async () => {
    const stream = await listen({ 'Icy-MetaData': '1' })
    expect(stream.headers).toMatchObject({
      'icy-metaint': String(METAINT),
      'icy-name': 'Hubline Radio',
      'icy-br': '80',
    })
    expect(stream.headers['transfer-encoding']).toBeUndefined()
    const set = await fetch(`${url}/admin/metadata?mode=updinfo&song=Ann%20-%20Gr%C3%BC%C3%9Fe`, {
      headers: { authorization: `Basic ${btoa('source:secret')}` },
    })
    expect(await set.text()).toContain('<return>1</return>')
    const bytes = await read(stream, all => all.includes('Grüße') && all.length > 4 * METAINT + 1000)
    const sound: Buffer[] = []
    const titles: string[] = []
    for (let at = 0; at + METAINT < bytes.length; ) {
      sound.push(bytes.subarray(at, at + METAINT))
      const length = bytes[at + METAINT]! * 16
      at += METAINT + 1 + length
      if (at <= bytes.length) titles.push(bytes.toString('utf8', at - length, at).replace(/\0+$/, ''))
    }
    expectFrames(Buffer.concat(sound))
    expect(titles.length).toBeGreaterThan(3)
    for (const title of titles) expect(title).toMatch(/^StreamTitle='(Hubline - Four Bells|Ann - Grüße)';$/)
    expect(titles.at(-1)).toContain('Ann - Grüße')
  })

  it.skipIf(!CURL && !required)('is fed by curl -T: the file is heard, and then the programme goes on', async () => {
    const song = Buffer.concat(frames(60, 0x5a))
    const stream = await listen()
    const curl = spawn('curl', ['-sS', '-u', 'source:secret', '-H', 'Ice-Name: My song', '-T', '-', `${url}/live`])
    let said = ''
    curl.stdout.on('data', text => (said += text))
    curl.stdin.end(song)
    await expect.poll(status).toMatchObject({ live: true, title: 'My song' })
    await new Promise(resolve => curl.on('close', resolve))
    expect(said).toBe('Thank you. 1.6 seconds were heard.\n')
    const heard = await read(stream, all => all.includes(song))
    expect(heard.includes(song)).toBe(true)
    expect(await status()).toMatchObject({ live: false, title: 'Hubline - Four Bells' })
    expectFrames((await read(stream, atLeast(4000))).subarray(0))
  })

  /** A source of the old kind, which sends bytes without a length. */
  async function oldSource(head: string, body: Buffer): Promise<Socket> {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    open.push(socket.on('error', () => {}))
    // In two pieces, so that the first one does not say yet what it is.
    socket.write(head.slice(0, 4))
    await expect.poll(status).toBeDefined()
    socket.write(Buffer.concat([Buffer.from(`${head.slice(4)}\r\n\r\n`), body]))
    return socket
  }
  const login = `Authorization: Basic ${btoa('source:secret')}`

  it('is fed by SOURCE over a bare socket; a second one is refused; the programme goes on when it leaves', async () => {
    const stream = await listen()
    const song = Buffer.concat(frames(30, 0x77))
    const socket = await oldSource(`SOURCE /live HTTP/1.0\r\n${login}\r\nice-name: Old`, song)
    expect(String(await read(socket, all => all.includes('\r\n\r\n')))).toBe('HTTP/1.0 200 OK\r\n\r\n')
    await expect.poll(status).toMatchObject({ live: true, title: 'Old' })
    expect((await read(stream, all => all.includes(song.subarray(0, 4000)))).includes(song.subarray(0, 4000))).toBe(
      true,
    )
    const second = await oldSource(`SOURCE /live HTTP/1.0\r\n${login}`, song)
    expect(String(await read(second, () => false))).toMatch(/^HTTP\/1\.0 409 [\s\S]*Somebody else is live/)
    socket.end()
    await expect.poll(status).toMatchObject({ live: false, title: 'Hubline - Four Bells' })
  })

  it('is fed by a PUT without a length, as ffmpeg sends it', async () => {
    const socket = await oldSource(`PUT /live HTTP/1.1\r\n${login}\r\nExpect: 100-continue`, Buffer.concat(frames(30)))
    socket.end()
    expect(String(await read(socket, () => false))).toMatch(
      /^HTTP\/1\.1 100 Continue\r\n\r\n[\s\S]*0\.8 seconds were heard/,
    )
  })

  it('is switched off at once, even while a live source says nothing', async () => {
    const socket = await oldSource(`SOURCE /live HTTP/1.0\r\n${login}`, frame())
    await expect.poll(status).toMatchObject({ live: true })
    const begun = performance.now()
    const answer = read(socket, () => false)
    child.kill('SIGTERM')
    expect(await ended).toBe(0)
    expect(performance.now() - begun).toBeLessThan(8000)
    expect(String(await answer)).toMatch(/HTTP\/1\.0 503 [\s\S]*The radio is being switched off\./)
    expect(output).toContain('live: over.')
  })

  it('gives a late listener of Ogg the headers first, and then whole pages', async () => {
    child.kill('SIGTERM')
    await ended
    const folder = mkdtempSync(join(tmpdir(), 'radio-'))
    const pages = Array.from({ length: 200 }, (_, index) => page(BigInt(index + 1) * 9600n))
    writeFileSync(join(folder, 'song.ogg'), Buffer.concat([vorbisHeaders(), ...pages]))
    await start(join(folder, 'song.ogg'))
    rmSync(folder, { recursive: true, force: true })
    const first = await listen({ 'Icy-MetaData': '1' })
    await read(first, all => all.includes(pages[4]!))
    const late = await listen()
    expect(late.headers).toMatchObject({ 'content-type': 'audio/ogg', 'icy-name': 'Hubline Radio' })
    const bytes = await read(late, all => all.length > 800)
    expect(bytes.indexOf(vorbisHeaders())).toBe(0)
    const units = parse(new OggParser(), bytes)
    expect(joined(units).equals(bytes)).toBe(true)
    expect(units.length).toBeGreaterThan(3)
    expect(units.filter(({ header }) => header)).toHaveLength(1)
    expect(await status()).toMatchObject({ title: 'song', count: 2 })

    // Somebody goes live with headers of their own; when the programme goes on, it brings its headers again.
    const live = Buffer.concat([vorbisHeaders(9), ...[1n, 2n, 3n].map(n => page(n * 9600n, { serial: 9 }))])
    const answer = await fetch(`${url}/live`, {
      method: 'PUT',
      body: live,
      headers: { authorization: `Basic ${btoa('source:secret')}` },
    })
    expect(await answer.text()).toBe('Thank you. 0.6 seconds were heard.\n')
    const after = await read(late, all => all.includes(vorbisHeaders(), all.indexOf(live) + live.length))
    expect(after.lastIndexOf(vorbisHeaders())).toBe(after.indexOf(live) + live.length)
  })

  it('cuts off a listener that stalls, while another one loses nothing', async () => {
    child.kill('SIGTERM')
    await ended
    const folder = mkdtempSync(join(tmpdir(), 'radio-'))
    // 4 MB a second, so that the kernel soon takes no more for who does not read; each page is like no other.
    const pages = Array.from({ length: 250 }, (_, index) =>
      page(BigInt(index + 1) * 192n, { packets: Array.from({ length: 64 }, () => Buffer.alloc(250, index)) }),
    )
    const song = Buffer.concat([vorbisHeaders(), ...pages])
    writeFileSync(join(folder, 'song.ogg'), song)
    await start(join(folder, 'song.ogg'))
    const [stalled, good] = [await listen(), await listen()]
    const fault = new Promise(resolve => stalled.on('error', resolve))
    stalled.pause()
    const parts: Buffer[] = []
    good.on('data', part => parts.push(part))
    await expect.poll(status, { timeout: 20_000 }).toMatchObject({ slow: 1, count: 1 })
    rmSync(folder, { recursive: true, force: true })
    const size = parts.reduce((sum, { length }) => sum + length, 0)
    await expect.poll(() => parts.reduce((sum, { length }) => sum + length, 0)).toBeGreaterThan(size + 500_000)
    // After the headers that a late listener gets, every byte of the file, over and over.
    const heard = Buffer.concat(parts).subarray(vorbisHeaders().length)
    const from = song.indexOf(heard.subarray(0, 1000))
    expect(from).toBeGreaterThanOrEqual(0)
    const times = Math.ceil((from + heard.length) / song.length)
    const played = Buffer.concat(Array.from({ length: times }, () => song))
    expect(heard.equals(played.subarray(from, from + heard.length))).toBe(true)
    stalled.resume()
    expect(await fault).toMatchObject({ code: 'ECONNRESET' })
  })

  it('refuses, with a sentence, who has the wrong password, what is no sound, and what is not there', async () => {
    const put = async (password: string, text: string, headers = {}) => {
      const body = Buffer.from(text)
      const authorization = `Basic ${btoa(`source:${password}`)}`
      const answer = await fetch(`${url}/live`, { method: 'PUT', body, headers: { authorization, ...headers } })
      return [answer.status, await answer.text()]
    }
    expect(await put('wrong', 'x')).toEqual([401, expect.stringContaining('The user is "source"')])
    expect(await put('secret', 'x', { 'content-type': 'audio/ogg' })).toEqual([
      415,
      expect.stringContaining('audio/mpeg'),
    ])
    expect(await put('secret', 'x'.repeat(200_000))).toEqual([415, expect.stringContaining('this is not MP3')])
    expect(await put('secret', 'x')).toEqual([415, expect.stringContaining('without one frame')])
    const old = await oldSource('SOURCE /live HTTP/1.0\r\nAuthorization: Basic eDp5', Buffer.alloc(0))
    expect(String(await read(old, () => false))).toMatch(/^HTTP\/1\.0 401 /)
    expect((await fetch(`${url}/admin/metadata?mode=updinfo&song=x`)).status).toBe(401)
    const lost = await fetch(`${url}/nowhere`)
    expect([lost.status, await lost.text()]).toEqual([404, expect.stringContaining('Nothing is at /nowhere.')])
    const head = await fetch(`${url}/stream`, { method: 'HEAD' })
    expect([head.status, head.headers.get('content-type'), await head.text()]).toEqual([200, 'audio/mpeg', ''])
    expect(await status()).toMatchObject({ live: false, count: 0 })
  })

  it('ends the streams politely when it is stopped', async () => {
    const stream = await listen()
    stream.resume()
    child.kill('SIGINT')
    await new Promise((resolve, reject) => stream.on('end', resolve).on('error', reject))
    expect(await ended).toBe(0)
    expect(output).not.toContain('Error')
  })

  it.skipIf(!CHROMIUM && !required)('has a page that shows what is on, and plays it', async () => {
    const args = ['--no-sandbox', '--disable-gpu', '--autoplay-policy=no-user-gesture-required']
    const browser = await chromium.launch({ executablePath: CHROMIUM!, args })
    try {
      const tab = await browser.newPage({ viewport: { width: 900, height: 640 } })
      const faults: string[] = []
      tab.on('pageerror', error => faults.push(error.message))
      tab.on('console', message => message.type() === 'error' && faults.push(message.text()))
      await tab.goto(url)
      await expect.poll(() => tab.textContent('#title')).toBe('Hubline - Four Bells')
      await tab.evaluate("document.querySelector('audio').play()")
      const time = () => tab.evaluate("document.querySelector('audio').currentTime")
      await expect.poll(time, { timeout: 15_000 }).toBeGreaterThan(1)
      await expect.poll(() => tab.textContent('#rows')).toContain('listener-1')
      const path = process.env.HUBLINE_TEST_SCREENSHOT
      if (path) await tab.screenshot({ path })
      await tab.setViewportSize({ width: 400, height: 800 })
      expect(await tab.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(400)
      // Who pauses leaves the station, and who comes back hears what is on by then.
      await tab.evaluate("document.querySelector('audio').pause()")
      await expect.poll(async () => (await status()).count).toBe(0)
      await tab.evaluate("document.querySelector('audio').play()")
      await expect.poll(time, { timeout: 15_000 }).toBeGreaterThan(0.5)
      expect(faults).toEqual([])
    } finally {
      await browser.close()
    }
  })
})
