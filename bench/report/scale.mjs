/** A linear axis would leave the small ones of such a spread invisible. */
const LOG_FROM = 50
/** Of a decade: a bar on a log scale has no natural beginning, but it must be seen. */
const SHORTEST = 0.15

/**
 * @typedef {object} Scale
 * @property {boolean} log
 * @property {number[]} ticks
 * @property {(value: number) => number} at  where a value is drawn
 */

/**
 * From 0, or from a power of ten where the largest is more than 50 times the smallest.
 * @param {readonly number[]} values  that must fit
 * @param {number} from  where the axis begins
 * @param {number} to    and where it ends
 * @returns {Scale}
 */
export function scaleOf(values, from, to) {
  const seen = values.filter(value => value > 0 && Number.isFinite(value))
  const max = Math.max(...seen)
  const min = Math.min(...seen)
  if (seen.length > 0 && max / min > LOG_FROM)
    return logScale(10 ** Math.floor(Math.log10(min) - SHORTEST), max, from, to)
  const step = stepOf(seen.length > 0 ? max : 1)
  const steps = Math.ceil((seen.length > 0 ? max : 1) / step - 1e-9)
  const ticks = Array.from({ length: steps + 1 }, (_, i) => Number((i * step).toPrecision(12)))
  return { log: false, ticks, at: value => from + (Math.max(0, value) / (steps * step)) * (to - from) }
}

/**
 * @param {number} min  more than 0
 * @param {number} max
 * @param {number} from
 * @param {number} to
 * @returns {Scale}
 */
export function logScale(min, max, from, to) {
  const low = Math.log10(min)
  const decades = Math.max(1e-9, Math.log10(max) - low)
  /** @type {number[]} */
  const ticks = []
  for (let power = Math.ceil(low - 1e-9); power <= Math.log10(max) + 1e-9; power++) ticks.push(Number(`1e${power}`))
  const share = (/** @type {number} */ value) => (Math.log10(Math.max(value, min)) - low) / decades
  return { log: true, ticks, at: value => from + share(value) * (to - from) }
}

/** 1, 2, 2.5 or 5 with zeros: three to six of them reach `max`. */
function stepOf(/** @type {number} */ max) {
  const power = 10 ** Math.floor(Math.log10(max / 4))
  return ([1, 2, 2.5, 5].find(step => max / (step * power) <= 5) ?? 10) * power
}

/** Short, for there are many of them below a chart. */
export function tickLabel(/** @type {number} */ value) {
  const text = (/** @type {number} */ number) => `${Number(number.toPrecision(3))}`
  if (value >= 1e6) return `${text(value / 1e6)} M`
  return value >= 1e4 ? `${text(value / 1e3)} k` : text(value).replace(/^(\d)(\d{3})$/, '$1,$2')
}
