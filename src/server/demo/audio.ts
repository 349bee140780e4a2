import type { Scheduler } from '../../core/scheduler.ts'
import { chimes, prelude, SAMPLE_RATE } from './chimes.ts'
import { type Publish, pace } from './pace.ts'
import { wavHeader } from './wav.ts'

export const BYTES_PER_SECOND = SAMPLE_RATE * 2
export const CHUNK_MS = 100
export const CHUNK_SAMPLES = (SAMPLE_RATE * CHUNK_MS) / 1000
/**
 * Sound ahead of the live one, for a player to have in hand. Chunks come in real time: without it a player would
 * stutter at the first late one. And Chromium starts a 16-bit WAV stream only when it has looked at some 230 KB of it
 * (measured): without it a listener there would wait 5 s for the first sound.
 */
const PRELUDE_SECONDS = 5.4

/** Chunk n of the endless stream: 16-bit little-endian samples, no header. */
export function audioChunk(n: number): Uint8Array {
  return pcm(chimes(n * CHUNK_SAMPLES, CHUNK_SAMPLES))
}

/** What a listener gets first, whenever they join: the header and the prelude. */
export function audioPreamble(): Uint8Array {
  const header = wavHeader(SAMPLE_RATE)
  const sound = pcm(prelude(Math.round(PRELUDE_SECONDS * SAMPLE_RATE)))
  const preamble = new Uint8Array(header.length + sound.length)
  preamble.set(header)
  preamble.set(sound, header.length)
  return preamble
}

function pcm(samples: Float64Array): Uint8Array {
  const bytes = new Uint8Array(samples.length * 2)
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < samples.length; i++) view.setInt16(i * 2, Math.round(samples[i]! * 32_767), true)
  return bytes
}

/** Chunks to make up for at once when the loop was held up: as much as a player has in hand. */
const CATCH_UP = Math.floor((PRELUDE_SECONDS * 1000) / CHUNK_MS)

export function startAudio(topic: string, publish: Publish, scheduler: Scheduler): Disposable {
  return pace(scheduler, { periodMs: CHUNK_MS, catchUp: CATCH_UP }, n => publish(topic, audioChunk(n), 'audio/wav'))
}
