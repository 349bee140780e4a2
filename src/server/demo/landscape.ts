import { HEIGHT, Picture, RAMPS, shade, WIDTH } from './picture.ts'

const HORIZON = 112
const LAKE = { top: 112, bottom: 132 } as const
const ROAD = { top: 156, height: 13 } as const
const MILL = { x: 252, top: 78, foot: 140 } as const

/** Everything that stands still. Drawn at first use, because a server without the demo loads this file too. */
let still: Picture | undefined

/** The landscape at a moment. `seconds` moves things, `time` of day (0 to 1 from midnight) moves sun and moon. */
export function landscape(seconds: number, time: number): Picture {
  still ??= drawStill()
  const picture = still.copy()
  drawSunAndMoon(picture, time)
  drawClouds(picture, seconds)
  drawGlitter(picture, seconds, time)
  drawSails(picture, seconds)
  drawCar(picture, seconds)
  return picture
}

function drawStill(): Picture {
  const picture = new Picture()
  for (let y = 0; y < HORIZON; y++) picture.box(0, y, WIDTH, 1, shade('sky', y / HORIZON))
  for (let i = 0; i < 70; i++) {
    const y = Math.floor(HORIZON * 0.85 * unevenly(i * 2))
    picture.dot(Math.floor(WIDTH * unevenly(i * 2 + 1)), y, shade('star', y / HORIZON))
  }
  for (let x = 0; x < WIDTH; x++) {
    const mountain = 84 - 16 * Math.sin(x / 31 + 1) - 7 * Math.sin(x / 11.3) - 2 * Math.sin(x / 3.7)
    const hill = 103 - 7 * Math.sin(x / 47 + 4) - 3 * Math.sin(x / 17 + 2)
    for (let y = Math.round(mountain); y < hill; y++) picture.dot(x, y, shade('mountain', (y - mountain) / 34))
    for (let y = Math.round(hill); y < HORIZON; y++) picture.dot(x, y, shade('hill', (y - hill) / 14))
  }
  // A little further down than its bottom: the shore swings.
  for (let y = LAKE.top; y < LAKE.bottom + 4; y++) {
    picture.box(0, y, WIDTH, 1, shade('water', (y - LAKE.top) / (LAKE.bottom - LAKE.top)))
  }
  for (let x = 0; x < WIDTH; x++) {
    const shore = LAKE.bottom - 3 + Math.round(3 * Math.sin(x / 26) + 2 * Math.sin(x / 9))
    for (let y = shore; y < HEIGHT; y++) picture.dot(x, y, shade('meadow', (y - shore) / (HEIGHT - shore)))
  }
  picture.box(0, ROAD.top, WIDTH, ROAD.height, shade('road', 0.4))
  drawHouse(picture)
  drawTower(picture)
  return picture
}

function drawHouse(picture: Picture): void {
  for (let i = 0; i < 12; i++) picture.box(60 - i, 120 + i, 16 + 2 * i, 1, shade('wall', 0.1))
  picture.box(52, 132, 32, 18, shade('wall', 1))
  for (const x of [56, 72]) picture.box(x, 137, 7, 6, shade('lamp', 0.6))
  picture.box(65, 140, 5, 10, shade('wall', 0.2))
}

function drawTower(picture: Picture): void {
  for (let y = MILL.top; y < MILL.foot; y++) {
    const half = 3 + Math.round((4 * (y - MILL.top)) / (MILL.foot - MILL.top))
    picture.box(MILL.x - half, y, half, 1, shade('wall', 1))
    picture.box(MILL.x, y, half, 1, shade('wall', 0.75))
  }
  picture.box(MILL.x - 2, 126, 4, 14, shade('wall', 0.1))
}

const isSky = (index: number): boolean => index < RAMPS.cloud.first

function drawSunAndMoon(picture: Picture, time: number): void {
  // The sun is up from a quarter to three quarters of the day, the moon for the other half.
  for (const [rise, radius] of [
    [0.23, 11],
    [0.76, 8],
  ] as const) {
    const passed = ((time - rise + 1) % 1) / 0.53
    if (passed > 1) continue
    const x = 20 + 280 * passed
    const y = HORIZON + 8 - 96 * Math.sin(Math.PI * passed)
    picture.disc(x, y, radius + 1.5, radius + 1.5, shade('sun', 1), isSky)
    picture.disc(x, y, radius, radius, shade('sun', 0.2), isSky)
  }
}

function drawClouds(picture: Picture, seconds: number): void {
  for (const [start, y, speed, size] of [
    [30, 34, 5, 1],
    [170, 22, 3.4, 0.8],
    [250, 50, 6.5, 1.15],
  ] as const) {
    const x = ((start + seconds * speed) % (WIDTH + 100)) - 50
    const puff = (dx: number, dy: number, r: number, bright: number): void =>
      picture.disc(
        x + dx * size,
        y + dy * size,
        r * size * 1.5,
        r * size,
        shade('cloud', bright),
        i => isSky(i) || isCloud(i),
      )
    puff(0, 2, 8, 0.2)
    puff(-14, 4, 6, 0.4)
    puff(15, 4, 7, 0.4)
    puff(1, 0, 7, 0.9)
  }
}

const isCloud = (index: number): boolean => index >= RAMPS.cloud.first && index < RAMPS.mountain.first
const isWater = (index: number): boolean => index >= RAMPS.water.first && index < RAMPS.meadow.first

/** Short strokes of light on the lake, under the sun or the moon, changing a few times a second. */
function drawGlitter(picture: Picture, seconds: number, time: number): void {
  const light = 20 + (280 * ((time - 0.23 + 1) % 1)) / 0.53
  const centre = light <= 320 ? light : light - 300
  const wave = Math.floor(seconds * 5)
  for (let i = 0; i < 26; i++) {
    const y = LAKE.top + 1 + Math.floor(unevenly(i + wave * 31) * (LAKE.bottom - LAKE.top - 2))
    const spread = 10 + (y - LAKE.top) * 1.6
    const x = Math.round(centre + (unevenly(i * 7 + wave * 17) - 0.5) * 2 * spread)
    for (let dx = 0; dx < 4; dx++) {
      if (x + dx >= 0 && x + dx < WIDTH && isWater(picture.at(x + dx, y))) picture.dot(x + dx, y, shade('sun', 0.5))
    }
  }
}

function drawSails(picture: Picture, seconds: number): void {
  for (let sail = 0; sail < 4; sail++) {
    const angle = seconds * 1.1 + (sail * Math.PI) / 2
    const x = MILL.x + 31 * Math.cos(angle)
    const y = MILL.top + 4 + 31 * Math.sin(angle)
    picture.line(MILL.x, MILL.top + 4, x, y, 2, shade('wall', 0))
    const back = angle + 0.16
    picture.line(
      MILL.x + 12 * Math.cos(back),
      MILL.top + 4 + 12 * Math.sin(back),
      MILL.x + 30 * Math.cos(back),
      MILL.top + 4 + 30 * Math.sin(back),
      4,
      shade('wall', 0.55),
    )
  }
}

function drawCar(picture: Picture, seconds: number): void {
  const x = Math.round((seconds * 46) % (WIDTH + 120)) - 60
  const y = ROAD.top - 2
  picture.box(x + 6, y - 5, 16, 6, shade('car', 0.3))
  picture.box(x + 9, y - 4, 5, 4, shade('road', 0.9))
  picture.box(x + 15, y - 4, 5, 4, shade('road', 0.9))
  picture.box(x, y, 30, 7, shade('car', 1))
  picture.box(x + 28, y + 2, 2, 2, shade('lamp', 1))
  for (const wheel of [x + 4, x + 20]) picture.box(wheel, y + 5, 6, 5, shade('road', 0))
}

/** 0 to 1, the same for the same n. */
function unevenly(n: number): number {
  let h = Math.imul(n + 1, 0x9e3779b1)
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b)
  return ((h ^ (h >>> 13)) >>> 8) / 0x1000000
}
