export const WIDTH = 320
export const HEIGHT = 180

/**
 * The picture is drawn in materials, not in colours: each has a ramp of shades in the 256 colours, and the light of the
 * hour says what they look like (daylight.ts). Ramps lie in this order from index 0 on.
 */
const SHADES = {
  sky: 64,
  star: 16,
  sun: 12,
  cloud: 20,
  mountain: 16,
  hill: 16,
  water: 28,
  meadow: 32,
  road: 12,
  wall: 14,
  car: 12,
  lamp: 10,
} as const

export type Material = keyof typeof SHADES
export const MATERIALS = Object.keys(SHADES) as readonly Material[]

export interface Ramp {
  readonly first: number
  readonly shades: number
}

export const RAMPS = layOut()

/** Colours that no light changes: what the camera writes into its picture. */
export const INK = { paper: 254, text: 255 } as const

/** Shades at either end of a ramp that drawing leaves free, so that noise never leaves the material. */
export const MARGIN = 3

function layOut(): Readonly<Record<Material, Ramp>> {
  let first = 0
  const ramps = {} as Record<Material, Ramp>
  for (const material of MATERIALS) {
    ramps[material] = { first, shades: SHADES[material] }
    first += SHADES[material]
  }
  return ramps
}

/** The index of a material's shade, 0 to 1 along its ramp. */
export function shade(material: Material, value: number): number {
  const { first, shades } = RAMPS[material]
  return first + MARGIN + Math.round(Math.min(1, Math.max(0, value)) * (shades - 1 - 2 * MARGIN))
}

/** One byte per pixel, an index into the 256 colours. What lies outside is cut off. */
export class Picture {
  readonly pixels: Uint8Array

  constructor(pixels = new Uint8Array(WIDTH * HEIGHT)) {
    this.pixels = pixels
  }

  copy(): Picture {
    return new Picture(this.pixels.slice())
  }

  at(x: number, y: number): number {
    return this.pixels[y * WIDTH + x]!
  }

  dot(x: number, y: number, colour: number): void {
    if (x >= 0 && x < WIDTH && y >= 0 && y < HEIGHT) this.pixels[y * WIDTH + x] = colour
  }

  box(left: number, top: number, width: number, height: number, colour: number): void {
    const from = Math.max(0, left)
    const to = Math.min(WIDTH, left + width)
    for (let y = Math.max(0, top); y < Math.min(HEIGHT, top + height); y++) {
      if (from < to) this.pixels.fill(colour, y * WIDTH + from, y * WIDTH + to)
    }
  }

  /** A filled ellipse; `over` says which pixels it may cover, so that hills stay in front of the sun. */
  disc(cx: number, cy: number, rx: number, ry: number, colour: number, over: (index: number) => boolean): void {
    for (let y = Math.max(0, Math.ceil(cy - ry)); y <= Math.min(HEIGHT - 1, cy + ry); y++) {
      const half = rx * Math.sqrt(Math.max(0, 1 - ((y - cy) / ry) ** 2))
      for (let x = Math.max(0, Math.ceil(cx - half)); x <= Math.min(WIDTH - 1, cx + half); x++) {
        if (over(this.at(x, y))) this.dot(x, y, colour)
      }
    }
  }

  /** A straight bar from one point to another, as thick as `width`. */
  line(x1: number, y1: number, x2: number, y2: number, width: number, colour: number): void {
    const steps = Math.ceil(Math.hypot(x2 - x1, y2 - y1))
    for (let i = 0; i <= steps; i++) {
      const x = x1 + ((x2 - x1) * i) / steps
      const y = y1 + ((y2 - y1) * i) / steps
      this.box(Math.round(x - width / 2), Math.round(y - width / 2), width, width, colour)
    }
  }
}
