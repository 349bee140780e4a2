/** @import { Metric, PeerResult } from './results.mjs' */

/**
 * @typedef {object} MetricInfo
 * @property {string} head     above a column
 * @property {string} long     below a chart
 * @property {boolean} more    more is better
 * @property {number} unit     what one of it is in the results
 */

/** @type {Record<Metric, MetricInfo>} */
export const METRICS = {
  perSecond: { head: 'deliveries/s', long: 'deliveries per second', more: true, unit: 1 },
  cpuMicros: { head: 'CPU µs/delivery', long: 'server CPU per delivery in µs', more: false, unit: 1 },
  bytesPerConnection: { head: 'KiB/connection', long: 'memory per connection in KiB', more: false, unit: 1024 },
  handshakesPerSecond: { head: 'handshakes/s', long: 'handshakes per second', more: true, unit: 1 },
  cpuPerMegabyte: { head: 'CPU µs/MB', long: 'server CPU per MB delivered in µs', more: false, unit: 1 },
}

/** In words, for those who do not know the metric. */
export const direction = (/** @type {Metric} */ metric) => (METRICS[metric].more ? 'more is better' : 'less is better')

/**
 * @param {PeerResult} result
 * @param {Metric} metric
 * @returns {number} in the unit that is shown; NaN if it was not measured
 */
export const metricOf = (result, metric) => shown(result[metric], metric)

/**
 * @param {PeerResult} result
 * @param {Metric} metric
 * @returns {[number, number]} lowest and highest round
 */
export const spreadOf = ({ spread }, metric) => [shown(spread?.[0], metric), shown(spread?.[1], metric)]

/** null is what JSON makes of NaN, and 0 is not what it means. */
const shown = (/** @type {number | null | undefined} */ value, /** @type {Metric} */ metric) =>
  (value ?? Number.NaN) / METRICS[metric].unit

/** Three digits, four from 1,000 on: more would be noise. */
export function figure(/** @type {number | null | undefined} */ value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–'
  const rounded = Number(value.toPrecision(3))
  if (rounded === 0) return '0'
  if (Math.abs(rounded) < 1000) return rounded.toPrecision(3)
  return Number(value.toPrecision(4)).toLocaleString('en-US', { maximumFractionDigits: 0 })
}
