import type { LogBounds } from '../../core/log.ts'
import { buffered } from '../../policies/buffered.ts'
import { latest } from '../../policies/latest.ts'
import type { TopicRule } from '../../topics/rule.ts'
import { audioPreamble, BYTES_PER_SECOND } from './audio.ts'

export const TELEMETRY_TOPIC = 'demo/telemetry'
export const AUDIO_TOPIC = 'demo/audio'
export const CAMERA_TOPIC = 'demo/camera'
export const SIMULATED_TOPIC = 'demo/simulated'

/** Of a live picture or figure only the newest is worth anything: nothing is replayed to whoever resumes. */
const newestOnly: LogBounds = { messages: 1, bytes: 256 * 1024, ageMs: 2000 }

/** How much sound may wait for a listener who cannot keep up, in seconds; then the oldest goes. */
const AUDIO_BACKLOG_SECONDS = 4

/** What is known of the demo's topics before anything is published: for `openTopics(defaults, demoTopics)`. */
export const demoTopics: Readonly<Record<string, TopicRule>> = {
  [TELEMETRY_TOPIC]: { contentType: 'application/json', policy: latest(), history: newestOnly },
  [CAMERA_TOPIC]: { contentType: 'image/png', policy: latest(), history: newestOnly },
  [SIMULATED_TOPIC]: { contentType: 'application/json', policy: latest(), history: newestOnly },
  [AUDIO_TOPIC]: {
    contentType: 'audio/wav',
    policy: buffered({ bytes: AUDIO_BACKLOG_SECONDS * BYTES_PER_SECOND, overflow: 'drop-oldest' }),
    preamble: audioPreamble(),
  },
}
