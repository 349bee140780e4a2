export const SAMPLE_RATE = 22_050

/** One note starts on each step, or none. In samples: 0.4 s. */
const STEP = Math.round(SAMPLE_RATE * 0.4)
const BAR = 16
/** MIDI numbers: four chords of an open, pentatonic kind, a bar each. The first is the bass. */
const CHORDS = [
  [38, 62, 66, 69, 71, 74, 78],
  [35, 59, 62, 66, 69, 71, 74],
  [43, 62, 67, 69, 71, 74, 79],
  [45, 61, 64, 69, 71, 73, 76],
] as const
/** Partials of a struck bar: frequency ratio, loudness, and how much faster than the first it dies away. */
const PARTIALS = [
  [1, 1, 1],
  [2.76, 0.28, 2.2],
] as const
const ECHO_DELAY = Math.round(STEP * 1.5)
const ECHO_GAIN = 0.35
const ATTACK = Math.round(SAMPLE_RATE * 0.005)
/** A note is left out once it is 52 dB down. */
const LIFETIMES = 6

interface Note {
  /** First sample. */
  readonly start: number
  readonly frequency: number
  readonly gain: number
  /** Samples in which it dies away to 1/e. */
  readonly decay: number
}

/**
 * Samples from..from+count of the endless piece, -1 to 1. A pure function: any cut into chunks gives the same sound.
 */
export function chimes(from: number, count: number): Float64Array {
  return sound(from, count, notesBetween(from, from + count))
}

/** A few rising notes that have died away after `count` samples: what a listener hears before the endless piece. */
export function prelude(count: number): Float64Array {
  const rising = [50, 57, 62, 66, 69, 74, 69, 74, 78].map((midi, i) => ({
    start: i * STEP,
    frequency: hertz(midi),
    gain: 0.2,
    decay: SAMPLE_RATE * 0.6,
  }))
  const samples = sound(0, count, rising)
  const fade = SAMPLE_RATE / 2
  for (let i = 0; i < fade; i++) samples[count - 1 - i]! *= i / fade
  return samples
}

function sound(from: number, count: number, notes: Iterable<Note>): Float64Array {
  const sum = new Float64Array(count)
  for (const { start, frequency, gain, decay } of notes) {
    for (const [ratio, loudness, damping] of PARTIALS) {
      ring(sum, from, { start, frequency: frequency * ratio, gain: gain * loudness, decay: decay / damping })
    }
  }
  for (let i = 0; i < count; i++) sum[i] = Math.tanh(sum[i]!)
  return sum
}

function* notesBetween(from: number, to: number): Iterable<Note> {
  const bass = { gain: 0.16, decay: SAMPLE_RATE * 1.8 }
  const bell = { gain: 0.2, decay: SAMPLE_RATE * 0.75 }
  const longest = Math.max(bass.decay, bell.decay) * LIFETIMES + ECHO_DELAY
  for (let step = Math.max(0, Math.floor((from - longest) / STEP)); step * STEP < to; step++) {
    const chord = CHORDS[Math.floor(step / BAR) % CHORDS.length]!
    const start = step * STEP
    if (step % BAR === 0) yield { start, frequency: hertz(chord[0]), ...bass }
    const dice = hash(step)
    if (step % 4 !== 0 && dice % 10 < 3) continue
    const frequency = hertz(chord[1 + ((dice >>> 8) % (chord.length - 1))]!)
    const gain = bell.gain * (0.7 + ((dice >>> 16) % 64) / 200)
    yield { start, frequency, gain, decay: bell.decay }
    yield { start: start + ECHO_DELAY, frequency, gain: gain * ECHO_GAIN, decay: bell.decay }
  }
}

/** Adds one partial: a vector that turns and shrinks, four multiplications a sample in place of a sine and a power. */
function ring(sum: Float64Array, from: number, { start, frequency, gain, decay }: Note): void {
  const first = Math.max(from, start)
  const last = Math.min(from + sum.length, Math.ceil(start + decay * LIFETIMES))
  if (first >= last) return
  const turn = (2 * Math.PI * frequency) / SAMPLE_RATE
  const shrink = Math.exp(-1 / decay)
  const cos = Math.cos(turn) * shrink
  const sin = Math.sin(turn) * shrink
  const level = gain * Math.exp((start - first) / decay)
  let re = level * Math.cos(turn * (first - start))
  let im = level * Math.sin(turn * (first - start))
  for (let i = first; i < last; i++) {
    const age = i - start
    sum[i - from]! += age < ATTACK ? (im * age) / ATTACK : im
    const turned = re * cos - im * sin
    im = re * sin + im * cos
    re = turned
  }
}

function hertz(midi: number): number {
  return 440 * 2 ** ((midi - 69) / 12)
}

/** Same step, same note, on every machine. */
function hash(n: number): number {
  let h = Math.imul(n + 1, 0x9e3779b1)
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b)
  return (h ^ (h >>> 13)) >>> 0
}
