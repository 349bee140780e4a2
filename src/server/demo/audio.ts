import type { Scheduler } from '../../core/scheduler.ts'
import { chimes, SAMPLE_RATE } from './chimes.ts'
import { type Publish, pace } from './pace.ts'
import { wavHeader } from './wav.ts'

export const BYTES_PER_SECOND = SAMPLE_RATE * 2
export const CHUNK_MS = 100
export const CHUNK_SAMPLES = (SAMPLE_RATE * CHUNK_MS) / 1000
/**
 * Silence ahead of the live sound. Chunks come in real time, so without it a player would start with nothing in hand and
 * stutter at the first late one.
 */
const CUSHION_SECONDS = 1

/** Chunk n of the endless stream: 16-bit little-endian samples, no header. */
export function audioChunk(n: number): Uint8Array {
  const samples = chimes(n * CHUNK_SAMPLES, CHUNK_SAMPLES)
  const bytes = new Uint8Array(samples.length * 2)
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < samples.length; i++) view.setInt16(i * 2, Math.round(samples[i]! * 32_767), true)
  return bytes
}

/** What a listener gets first, whenever they join: the header, and a moment of silence for the player to get ready in. */
export function audioPreamble(): Uint8Array {
  const header = wavHeader(SAMPLE_RATE)
  const preamble = new Uint8Array(header.length + CUSHION_SECONDS * BYTES_PER_SECOND)
  preamble.set(header)
  return preamble
}

/** Chunks to make up for at once when the loop was held up: as much as a player's cushion is good for. */
const CATCH_UP = (CUSHION_SECONDS * 1000) / CHUNK_MS

export function startAudio(topic: string, publish: Publish, scheduler: Scheduler): Disposable {
  return pace(scheduler, { periodMs: CHUNK_MS, catchUp: CATCH_UP }, n => publish(topic, audioChunk(n), 'audio/wav'))
}
