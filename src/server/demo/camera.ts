import type { Scheduler } from '../../core/scheduler.ts'
import { eachDot, GLYPH_HEIGHT, GLYPH_WIDTH } from './bitmap-font.ts'
import { palette } from './daylight.ts'
import { landscape } from './landscape.ts'
import { type Publish, pace } from './pace.ts'
import { HEIGHT, INK, MARGIN, type Picture, WIDTH } from './picture.ts'
import { encodePng } from './png.ts'

export const FRAMES_PER_SECOND = 10
/** A day of the landscape, in seconds: short enough to be seen by a visitor. */
const DAY_SECONDS = 120
/** Time of day at frame 0, 0 to 1 from midnight: a morning. */
const FIRST_HOUR = 0.34
/** Size of a letter's pixel in the picture's. */
const LETTER_SCALE = 3
const NOISE_SAMPLES = 1 << 17

/** Shades that a pixel is off, most often none or one. Each frame reads it from another place. */
const noise = makeNoise()

/** Frame n as an image, its clock showing `wallMs` (ms since 1970, shown as UTC). */
export function cameraFrame(n: number, wallMs: number): Uint8Array {
  const seconds = n / FRAMES_PER_SECOND
  const time = (FIRST_HOUR + seconds / DAY_SECONDS) % 1
  const picture = landscape(seconds, time)
  addNoise(picture, n)
  write(picture, 4, `${new Date(wallMs).toISOString().slice(11, 21)} UTC`)
  const counter = `F${String(n).padStart(6, '0')}`
  write(picture, WIDTH - 4 - textWidth(counter), counter)
  return encodePng({ width: WIDTH, height: HEIGHT, pixels: picture.pixels, palette: palette(time) })
}

export function startCamera(topic: string, publish: Publish, scheduler: Scheduler): Disposable {
  return pace(scheduler, { periodMs: 1000 / FRAMES_PER_SECOND }, n =>
    publish(topic, cameraFrame(n, Date.now()), 'image/png'),
  )
}

function addNoise({ pixels }: Picture, n: number): void {
  const offset = Math.imul(n + 1, 0x9e3779b1) >>> 15
  for (let i = 0; i < pixels.length; i++) pixels[i]! += noise[(i + offset) & (NOISE_SAMPLES - 1)]!
}

/** Three dice make a bell curve, so most pixels are off by little; seeded, so that a frame is the same every time. */
function makeNoise(): Int8Array {
  let state = 1
  const dice = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32 - 0.5
  }
  return Int8Array.from({ length: NOISE_SAMPLES }, () => {
    const off = Math.round((dice() + dice() + dice()) * 0.7)
    return Math.max(-MARGIN, Math.min(MARGIN, off))
  })
}

function textWidth(text: string): number {
  return (text.length * (GLYPH_WIDTH + 1) - 1) * LETTER_SCALE
}

/** White on a dark box, at the picture's upper edge. */
function write(picture: Picture, left: number, text: string): void {
  const top = 5
  picture.box(left - 3, top - 3, textWidth(text) + 6, GLYPH_HEIGHT * LETTER_SCALE + 6, INK.paper)
  eachDot(text, (x, y) => {
    picture.box(left + x * LETTER_SCALE, top + y * LETTER_SCALE, LETTER_SCALE, LETTER_SCALE, INK.text)
  })
}
