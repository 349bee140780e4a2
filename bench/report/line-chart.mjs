import { figure, METRICS } from './metrics.mjs'
import { logScale, scaleOf, tickLabel } from './scale.mjs'
import { card, line, round, text, WIDTH, widthOf } from './svg.mjs'

/** @import { ScalingPoint } from './results.mjs' */
/** @import { Scale } from './scale.mjs' */

/** @typedef {{ x: number, y: number, cpuMicros: number }} Spot */

const LEFT = 64
const RIGHT = WIDTH - 56
const TOP = 92
const BOTTOM = 336
/** Two ticks closer than this would touch. */
const APART = 42
/** Pixels: a line that rises or falls by less does not run through a label above its point. */
const LEVEL = 14
/** Two labels whose heights differ by more do not touch, wherever they are. */
const LABEL_HEIGHT = 16

const TITLE = 'Cost per delivery by number of subscribers'
const { long: COST } = METRICS.cpuMicros
const count = (/** @type {number} */ subscribers) => subscribers.toLocaleString('en-US')

/**
 * What a delivery costs, by the number of subscribers.
 * @param {readonly ScalingPoint[]} scaling
 */
export function lineChart(scaling) {
  const points = scaling
    .filter(({ cpuMicros }) => Number.isFinite(cpuMicros))
    .sort((a, b) => a.subscribers - b.subscribers)
  const counts = points.map(({ subscribers }) => subscribers)
  const x = logScale(Math.min(...counts, 10), Math.max(...counts, 10), LEFT + 12, RIGHT)
  const y = scaleOf(
    points.map(({ cpuMicros }) => cpuMicros),
    BOTTOM,
    TOP,
  )
  const spots = points.map(({ subscribers, cpuMicros }) => ({ x: x.at(subscribers), y: y.at(cpuMicros), cpuMicros }))
  const path = spots.map((spot, index) => `${index === 0 ? 'M' : 'L'}${round(spot.x)} ${round(spot.y)}`).join('')
  const inWords = points.map(({ subscribers, cpuMicros }) => `${count(subscribers)} subscribers: ${figure(cpuMicros)}`)
  return card({
    title: TITLE,
    subtitle: `${COST}${y.log ? ', log scale' : ''}: less is better`,
    desc: `A line: Hubline's ${COST}, less is better. ${inWords.join('; ')}.`,
    height: BOTTOM + 62,
    body: [
      ...axes(x, y, Math.max(...counts, 10)),
      `<path class="line" d="${path}"/>`,
      ...spots.map(spot => `<circle class="point" cx="${round(spot.x)}" cy="${round(spot.y)}" r="4.5"/>`),
      ...labels(spots),
    ],
  })
}

/**
 * @param {Scale} x
 * @param {Scale} y
 * @param {number} most  subscribers: said even where no power of ten is near
 */
function axes(x, y, most) {
  const ticks = x.ticks.filter(tick => tick === most || x.at(most) - x.at(tick) > APART)
  const soft = 'soft small'
  const named = [...new Set([...ticks, most])]
  return [
    ...y.ticks.flatMap(tick => [
      line('grid', LEFT, y.at(tick), RIGHT, y.at(tick)),
      text(LEFT - 8, y.at(tick) + 4, tickLabel(tick), { is: soft, anchor: 'end' }),
    ]),
    ...x.ticks.map(tick => line('grid', x.at(tick), TOP, x.at(tick), BOTTOM)),
    ...named.map(tick => text(x.at(tick), BOTTOM + 18, count(tick), { is: soft, anchor: 'middle' })),
    line('axis', LEFT, BOTTOM, RIGHT, BOTTOM),
    text((LEFT + RIGHT) / 2, BOTTOM + 44, 'subscribers (log scale: each grid line is ten times the one before)', {
      is: soft,
      anchor: 'middle',
    }),
  ]
}

/** The last and the first point are always labelled, others where there is room. */
function labels(/** @type {Spot[]} */ spots) {
  /** @type {Label[]} */
  const placed = []
  for (const index of new Set([spots.length - 1, 0, ...spots.keys()])) {
    const spot = spots[index]
    if (spot === undefined) continue
    const next = label(spot, spots[index - 1], spots[index + 1])
    if (!placed.some(other => touch(next, other))) placed.push(next)
  }
  return placed.map(({ x, y, value, anchor }) => text(x, y, value, { is: 'over', anchor }))
}

/** @typedef {{ x: number, y: number, value: string, anchor: 'start' | 'middle' | 'end' }} Label */

/**
 * Above the point, but on the side where the line is not.
 * @param {Spot} spot
 * @param {Spot | undefined} before
 * @param {Spot | undefined} after
 * @returns {Label}
 */
function label({ x, y, cpuMicros }, before, after) {
  const falls = before !== undefined && before.y < y - LEVEL
  const rises = after !== undefined && after.y < y - LEVEL
  const value = figure(cpuMicros)
  if (rises && (falls || before === undefined)) return { x, y: y + 21, value, anchor: 'middle' }
  if (falls && after !== undefined) return { x: x + 6, y: y - 8, value, anchor: 'start' }
  if (rises) return { x: x - 6, y: y - 8, value, anchor: 'end' }
  return { x, y: y - 11, value, anchor: 'middle' }
}

const SHIFT = { start: 0, middle: -0.5, end: -1 }
const leftOf = (/** @type {Label} */ { x, value, anchor }) => x + SHIFT[anchor] * widthOf(value)

/**
 * @param {Label} a
 * @param {Label} b
 */
const touch = (a, b) =>
  Math.abs(a.y - b.y) < LABEL_HEIGHT &&
  leftOf(a) < leftOf(b) + widthOf(b.value) &&
  leftOf(b) < leftOf(a) + widthOf(a.value)
