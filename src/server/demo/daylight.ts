import { INK, type Material, RAMPS } from './picture.ts'

type Colour = readonly [red: number, green: number, blue: number]
/** From the first shade of a ramp to its last. */
type Blend = readonly [Colour, Colour]

/** The colours of all materials in one light. */
type Light = Readonly<Record<Material, Blend>>

const night: Light = {
  sky: [rgb(0x050a1c), rgb(0x1b2747)],
  star: [rgb(0xd8e0ff), rgb(0x8892b8)],
  sun: [rgb(0xf4f1dc), rgb(0xb9bcc4)],
  cloud: [rgb(0x141c33), rgb(0x2a3552)],
  mountain: [rgb(0x0e1527), rgb(0x18213a)],
  hill: [rgb(0x0a1118), rgb(0x121c22)],
  water: [rgb(0x1a2645), rgb(0x0a1226)],
  meadow: [rgb(0x0d1714), rgb(0x060b0b)],
  road: [rgb(0x16181d), rgb(0x22252b)],
  wall: [rgb(0x10131b), rgb(0x2a2e39)],
  car: [rgb(0x200a0c), rgb(0x4c161a)],
  lamp: [rgb(0xffb84a), rgb(0xffe9a8)],
}

const dawn: Light = {
  sky: [rgb(0x2f4a86), rgb(0xffb27a)],
  star: [rgb(0x6f83b4), rgb(0xe6b49a)],
  sun: [rgb(0xfff2c4), rgb(0xffc96b)],
  cloud: [rgb(0xb58aa0), rgb(0xffd2b0)],
  mountain: [rgb(0x5a5f8c), rgb(0x8d7d9a)],
  hill: [rgb(0x2e4450), rgb(0x45605c)],
  water: [rgb(0xf3ab80), rgb(0x5a6a98)],
  meadow: [rgb(0x4d6a45), rgb(0x2b4230)],
  road: [rgb(0x44444c), rgb(0x5b5a60)],
  wall: [rgb(0x5a4d52), rgb(0xb79c90)],
  car: [rgb(0x6a1d20), rgb(0xc0403a)],
  lamp: [rgb(0xffc768), rgb(0xffe9b0)],
}

const day: Light = {
  sky: [rgb(0x3d8be0), rgb(0xcfe8f7)],
  star: [rgb(0x559ae4), rgb(0xc4e1f5)],
  sun: [rgb(0xfffbe0), rgb(0xffe98a)],
  cloud: [rgb(0xd9e4ee), rgb(0xffffff)],
  mountain: [rgb(0x7d97b5), rgb(0xa5bacd)],
  hill: [rgb(0x4f8a58), rgb(0x6fa667)],
  water: [rgb(0xaed3ea), rgb(0x4d8bbd)],
  meadow: [rgb(0x8abf58), rgb(0x4d8a3a)],
  road: [rgb(0x6f7077), rgb(0x8b8c92)],
  wall: [rgb(0x9a8f85), rgb(0xf3ece1)],
  car: [rgb(0x8f1d1d), rgb(0xe0473d)],
  lamp: [rgb(0x4a5a68), rgb(0x7d90a0)],
}

const dusk: Light = {
  ...dawn,
  sky: [rgb(0x2b2f66), rgb(0xff8a5a)],
  star: [rgb(0x7f86bd), rgb(0xe89a86)],
  sun: [rgb(0xffe0a0), rgb(0xff8f4a)],
  cloud: [rgb(0x8a5a80), rgb(0xffa989)],
  water: [rgb(0xf08a66), rgb(0x45508a)],
}

/** Parts of a day, from midnight to midnight. */
const DAY: readonly (readonly [at: number, light: Light])[] = [
  [0, night],
  [0.2, night],
  [0.27, dawn],
  [0.36, day],
  [0.66, day],
  [0.75, dusk],
  [0.82, night],
  [1, night],
]

/** The picture's 256 colours at a time of day, 0 to 1 from midnight: the light changes, the drawing does not. */
export function palette(time: number): number[][] {
  const next = DAY.findIndex(([at]) => at > time)
  const [from, before] = DAY[next - 1]!
  const [to, after] = DAY[next]!
  const passed = (time - from) / (to - from)
  const colours: number[][] = Array.from({ length: 256 }, () => [0, 0, 0])
  for (const [material, { first, shades }] of Object.entries(RAMPS) as [Material, (typeof RAMPS)[Material]][]) {
    const start = mix(before[material][0], after[material][0], passed)
    const end = mix(before[material][1], after[material][1], passed)
    for (let i = 0; i < shades; i++) colours[first + i] = mix(start, end, i / (shades - 1)).map(Math.round)
  }
  colours[INK.paper] = [12, 14, 18]
  colours[INK.text] = [240, 244, 248]
  return colours
}

function mix(a: Colour, b: Colour, share: number): [number, number, number] {
  return [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share]
}

function rgb(hex: number): Colour {
  return [hex >> 16, (hex >> 8) & 255, hex & 255]
}
