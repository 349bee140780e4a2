import { decode } from 'fast-png'
import { describe, expect, test } from 'vitest'
import { audioChunk, audioPreamble, CHUNK_SAMPLES } from '../../../src/server/demo/audio.ts'
import { cameraFrame } from '../../../src/server/demo/camera.ts'
import { chimes, SAMPLE_RATE } from '../../../src/server/demo/chimes.ts'
import { palette } from '../../../src/server/demo/daylight.ts'
import { cpuShares, parseNetDev, readCores } from '../../../src/server/demo/machine.ts'
import { Meter } from '../../../src/server/demo/meter.ts'
import { pace } from '../../../src/server/demo/pace.ts'
import { HEIGHT, INK, RAMPS, WIDTH } from '../../../src/server/demo/picture.ts'
import { type Reading, telemetry } from '../../../src/server/demo/telemetry.ts'
import { demoTopics } from '../../../src/server/demo/topics.ts'
import { UNKNOWN_SIZE, WAV_HEADER_BYTES, wavHeader } from '../../../src/server/demo/wav.ts'
import { ManualScheduler } from '../../../src/testing/manual-scheduler.ts'

describe('pace', () => {
  test('calls once per period, without drift, whatever the timer does', () => {
    const scheduler = new ManualScheduler()
    const calls: number[] = []
    const pacing = pace(scheduler, { periodMs: 100 }, n => calls.push(n))
    scheduler.advance(60_000)
    expect(calls).toEqual(Array.from({ length: 601 }, (_, n) => n))
    pacing[Symbol.dispose]()
    scheduler.advance(1000)
    expect(calls.length).toBe(601)
  })

  test('after the loop was blocked it makes up for so many periods and skips what is older', () => {
    const scheduler = new ManualScheduler()
    const one: number[] = []
    const three: number[] = []
    pace(scheduler, { periodMs: 100 }, n => one.push(n))
    pace(scheduler, { periodMs: 100, catchUp: 3 }, n => three.push(n))
    scheduler.advance(200)
    scheduler.block(1000)
    // The run that is late is left out.
    scheduler.advance(25)
    expect(one).toEqual([0, 1, 2, 12])
    expect(three).toEqual([0, 1, 2, 10, 11, 12])
  })
})

describe('audio', () => {
  test('the WAV header says 16-bit PCM, one channel, length unknown', () => {
    const header = Buffer.from(wavHeader(SAMPLE_RATE))
    expect(header.length).toBe(WAV_HEADER_BYTES)
    expect(header.toString('latin1', 0, 4)).toBe('RIFF')
    expect(header.toString('latin1', 8, 16)).toBe('WAVEfmt ')
    expect(header.toString('latin1', 36, 40)).toBe('data')
    const fields = [4, 16, 24, 28, 40].map(offset => header.readUInt32LE(offset))
    expect(fields).toEqual([UNKNOWN_SIZE, 16, 22_050, 44_100, UNKNOWN_SIZE])
    expect([20, 22, 32, 34].map(offset => header.readUInt16LE(offset))).toEqual([1, 1, 2, 16])
  })

  test('the preamble is the header and enough sound for a player to start with, ending in silence', () => {
    const preamble = audioPreamble()
    expect(preamble.subarray(0, WAV_HEADER_BYTES)).toEqual(wavHeader(SAMPLE_RATE))
    expect(preamble.length).toBeGreaterThan(WAV_HEADER_BYTES + 128 * 1024)
    expect((preamble.length - WAV_HEADER_BYTES) % 2).toBe(0)
    expect(preamble.subarray(WAV_HEADER_BYTES).some(byte => byte !== 0)).toBe(true)
    expect([...preamble.subarray(-20)]).toEqual(Array(20).fill(0))
    expect(Buffer.from(preamble).equals(demoTopics['demo/audio']!.preamble!)).toBe(true)
  })

  test('a chunk is a tenth of a second, aligned to samples', () => {
    expect(CHUNK_SAMPLES).toBe(2205)
    expect(audioChunk(7).length).toBe(4410)
  })

  test('chunks join without a seam: cut anywhere, the sound is the same', () => {
    const whole = chimes(0, 44_100)
    const parts = [0, 1, 999, 2205, 8820, 20_000].flatMap((from, i, cuts) => [
      ...chimes(from, (cuts[i + 1] ?? 44_100) - from),
    ])
    expect(parts.length).toBe(whole.length)
    for (const [i, sample] of parts.entries()) expect(Math.abs(sample - whole[i]!)).toBeLessThan(1e-9)
  })

  test('it is there to be heard, does not clip, and neither jumps nor fades over hours', () => {
    for (const start of [0, 3600, 86_400 * 30]) {
      const samples = chimes(start * SAMPLE_RATE, 10 * SAMPLE_RATE)
      let peak = 0
      let step = 0
      for (let i = 1; i < samples.length; i++) {
        peak = Math.max(peak, Math.abs(samples[i]!))
        step = Math.max(step, Math.abs(samples[i]! - samples[i - 1]!))
      }
      expect(peak).toBeGreaterThan(0.15)
      expect(peak).toBeLessThan(0.95)
      expect(step).toBeLessThan(0.3)
    }
  })
})

describe('camera', () => {
  test('a frame is a PNG of 320 by 180 below 40 KB', () => {
    const frame = cameraFrame(0, 0)
    const image = decode(frame)
    expect([image.width, image.height, image.channels, image.depth]).toEqual([WIDTH, HEIGHT, 1, 8])
    for (const n of [0, 300, 600, 900, 123_456]) expect(cameraFrame(n, 0).length).toBeLessThan(40_000)
  })

  test('the clock and the frame counter change, each where it stands', () => {
    const corner = (n: number, wallMs: number, left: number, width: number): string => {
      const { data } = decode(cameraFrame(n, wallMs))
      const inks: string[] = []
      for (let y = 4; y < 22; y++)
        for (let x = left; x < left + width; x++) inks.push(data[y * WIDTH + x] === INK.text ? '#' : '.')
      return inks.join('')
    }
    const clock = (n: number, wallMs: number): string => corner(n, wallMs, 0, 180)
    const counter = (n: number, wallMs: number): string => corner(n, wallMs, 230, 90)
    expect(clock(1, 0)).not.toBe(clock(1, 100))
    expect(clock(1, 0)).toBe(clock(2, 0))
    expect(counter(1, 0)).not.toBe(counter(2, 0))
    expect(counter(1, 0)).toBe(counter(1, 100))
    expect(clock(0, 0)).toContain('#')
  })

  test('the scene moves and is grainy, the same frame is always the same', () => {
    const pixels = (n: number) => decode(cameraFrame(n, 0)).data
    const next = pixels(51)
    const changed = pixels(50).filter((index, i) => index !== next[i]).length
    expect(changed).toBeGreaterThan((WIDTH * HEIGHT) / 4)
    expect(Buffer.from(cameraFrame(50, 0)).equals(cameraFrame(50, 0))).toBe(true)
  })

  test('no pixel leaves the palette, at any time', () => {
    const last = RAMPS.lamp.first + RAMPS.lamp.shades
    for (let n = 0; n < 1200; n += 37) {
      const { data } = decode(cameraFrame(n, n))
      expect(data.every(index => index < last || index === INK.paper || index === INK.text)).toBe(true)
    }
  })

  test('the sky is dark at midnight and bright at noon', () => {
    const blue = (time: number): number => palette(time)[RAMPS.sky.first + 30]![2]!
    expect(blue(0)).toBeLessThan(80)
    expect(blue(0.5)).toBeGreaterThan(200)
    for (let time = 0; time < 1; time += 0.01)
      expect(
        palette(time)
          .flat()
          .every(value => value >= 0 && value <= 255),
      ).toBe(true)
  })
})

describe('telemetry', () => {
  const reading = (change: Partial<Reading> = {}): Reading => ({
    at: 0,
    cores: [
      { busy: 0, total: 0 },
      { busy: 0, total: 0 },
    ],
    memory: { total: 1000, free: 400, process: 50 },
    network: { received: 0, sent: 0, loopback: 0 },
    loop: { p50: 0.1, p99: 2.3456 },
    hub: { clients: 3, published: 0, delivered: 100 },
    ...change,
  })

  test('is what went on between two readings, as shares and per second', () => {
    const after = reading({
      at: 500,
      cores: [
        { busy: 250, total: 500 },
        { busy: 0, total: 500 },
      ],
      network: { received: 1000, sent: 500, loopback: 10 },
      hub: { clients: 4, published: 10, delivered: 150 },
    })
    expect(telemetry(reading(), after, new Date(0))).toEqual({
      time: '1970-01-01T00:00:00.000Z',
      cpu: { total: 0.25, cores: [0.5, 0] },
      memory: { total: 1000, used: 600, process: 50 },
      network: { received: 2000, sent: 1000, loopback: 20 },
      loop: { p50: 0.1, p99: 2.346 },
      hub: { clients: 4, published: 20, delivered: 100 },
    })
  })

  test('the first reading, against itself, is all zero and no NaN', () => {
    const first = telemetry(reading(), reading(), new Date(0))
    expect(first.cpu).toEqual({ total: 0, cores: [0, 0] })
    expect(JSON.stringify(first)).not.toContain('null')
  })

  test('without /proc/net/dev the network is null', () => {
    expect(telemetry(reading({ network: null }), reading(), new Date(0)).network).toBeNull()
  })

  test('reads /proc/net/dev, the loopback apart', () => {
    const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  700       9    0    0    0     0          0         0  700       9    0    0    0     0       0          0
  eth0: 1000      10    0    0    0     0          0         0  200       5    0    0    0     0       0          0
 wlan0:1000      10    0    0    0     0          0         0  300       5    0    0    0     0       0          0
`
    expect(parseNetDev(text)).toEqual({ received: 2000, sent: 500, loopback: 700 })
  })

  test('cores that appear in between count as idle', () => {
    const cores = readCores()
    expect(cores.length).toBeGreaterThan(0)
    expect(cpuShares([], cores).cores).toEqual(cores.map(() => 0))
  })
})

describe('meter', () => {
  test('counts what came in within its window', () => {
    const meter = new Meter(3000, 0)
    for (let at = 0; at < 10_000; at += 100) meter.add(at, 5)
    expect(meter.rate(9900)).toBe(10)
    expect(meter.amountRate(9900)).toBe(50)
    expect(meter.mean(9900)).toBe(5)
    expect(meter.rate(20_000)).toBe(0)
    expect(meter.mean(20_000)).toBe(0)
  })
})
