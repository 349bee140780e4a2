// Makes sound.mp3: a short piece for bells and a soft pad, composed here and computed from sine waves. Needs `lame` (apt-get install lame).
//
//   node examples/radio/make-sound.mjs
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const RATE = 32_000
const SECONDS = 24
const BEAT = 0.5
/** Four chords of six seconds, in semitones from A3: Am9, F, Cadd9, G. */
const CHORDS = [
  [-12, 0, 3, 7, 14],
  [-16, -4, 0, 3, 8],
  [-9, 3, 7, 10, 17],
  [-14, -2, 2, 5, 10],
]
/** The melody: beat, semitones from A4, and how hard it is struck. */
const MELODY = [
  ...[
    [0, 7, 1],
    [1.5, 10, 0.7],
    [2, 12, 0.9],
    [4, 14, 0.8],
    [5, 12, 0.6],
    [6, 10, 0.8],
    [8, 7, 0.7],
    [10, 3, 0.5],
  ],
  ...[
    [12, 8, 1],
    [13.5, 12, 0.7],
    [14, 15, 0.9],
    [16, 14, 0.8],
    [17, 12, 0.6],
    [18, 8, 0.8],
    [20, 7, 0.7],
    [22, 3, 0.5],
  ],
  ...[
    [24, 10, 1],
    [25.5, 15, 0.7],
    [26, 19, 0.9],
    [28, 17, 0.8],
    [29, 15, 0.6],
    [30, 12, 0.8],
    [32, 10, 0.7],
    [34, 7, 0.5],
  ],
  ...[
    [36, 14, 1],
    [37.5, 10, 0.7],
    [38, 5, 0.9],
    [40, 7, 0.8],
    [41, 10, 0.6],
    [42, 5, 0.7],
    [44, 2, 0.5],
  ],
]
/** The partials of a bell: how much higher than its note, how loud, and how long it rings in seconds. */
const BELL = [
  [1, 1, 1.6],
  [2, 0.5, 1.1],
  [2.76, 0.28, 0.6],
  [4.07, 0.14, 0.35],
  [5.4, 0.08, 0.2],
]

const left = new Float64Array(RATE * SECONDS)
const right = new Float64Array(RATE * SECONDS)

/** Adds a wave to both sides; it wraps around the end, so that the loop has no seam. `pan`: 0 left, 1 right. */
function add({ at, seconds, frequency, gain, pan, shape }) {
  const first = Math.round(at * RATE)
  const length = Math.round(seconds * RATE)
  for (let n = 0; n < length; n++) {
    const value = gain * shape(n / RATE, seconds) * Math.sin((2 * Math.PI * frequency * n) / RATE)
    const place = (first + n) % left.length
    left[place] += value * Math.cos((pan * Math.PI) / 2)
    right[place] += value * Math.sin((pan * Math.PI) / 2)
  }
}

const struck = ring => t => Math.min(1, t / 0.004) * Math.exp(-t / ring)
const swell = (t, seconds) => Math.sin((Math.PI * t) / seconds) ** 1.2
const pitch = (base, semitones) => base * 2 ** (semitones / 12)

function bell(at, semitones, force, pan) {
  for (const [ratio, gain, ring] of BELL) {
    const frequency = pitch(440, semitones) * ratio
    add({ at, seconds: ring * 5, frequency, gain: 0.13 * force * gain, pan, shape: struck(ring) })
  }
}

for (const [index, chord] of CHORDS.entries()) {
  for (const [voice, semitones] of chord.entries()) {
    // Two voices a hair apart beat slowly against each other: a pad that moves. It overlaps with the next chord.
    for (const detune of [-0.04, 0.05]) {
      const frequency = pitch(220, semitones + detune)
      const pan = 0.5 + (detune > 0 ? 0.3 : -0.3)
      add({ at: index * 6 - 1 + SECONDS, seconds: 8, frequency, gain: voice === 0 ? 0.07 : 0.035, pan, shape: swell })
      add({ at: index * 6 - 1 + SECONDS, seconds: 8, frequency: frequency * 2, gain: 0.008, pan, shape: swell })
    }
  }
}
for (const [index, [beat, semitones, force]] of MELODY.entries()) {
  bell(beat * BEAT, semitones, force, 0.35 + 0.3 * (index % 2))
  // An echo on the other side, a beat and a half later.
  bell((beat + 1.5) * BEAT, semitones, force * 0.3, 0.7 - 0.4 * (index % 2))
}

function wav() {
  const peak = Math.max(...[left, right].map(side => side.reduce((most, value) => Math.max(most, Math.abs(value)), 0)))
  const file = Buffer.alloc(44 + left.length * 4)
  file.write('RIFF', 0)
  file.writeUInt32LE(file.length - 8, 4)
  file.write('WAVEfmt ', 8)
  file.writeUInt32LE(16, 16)
  file.writeUInt16LE(1, 20)
  file.writeUInt16LE(2, 22)
  file.writeUInt32LE(RATE, 24)
  file.writeUInt32LE(RATE * 4, 28)
  file.writeUInt16LE(4, 32)
  file.writeUInt16LE(16, 34)
  file.write('data', 36)
  file.writeUInt32LE(left.length * 4, 40)
  for (const [at, value] of left.entries()) {
    file.writeInt16LE(Math.round((value / peak) * 27_000), 44 + at * 4)
    file.writeInt16LE(Math.round((right[at] / peak) * 27_000), 46 + at * 4)
  }
  return file
}

const target = fileURLToPath(new URL('sound.mp3', import.meta.url))
execFileSync('lame', ['--quiet', '--cbr', '-b', '80', '-q', '2', '-', target], { input: wav() })
console.log(`Wrote ${target}`)
