import { METRICS, metricOf } from './metrics.mjs'

/** @import { PeerInfo, PeerResult, Scenario } from './results.mjs' */

const OURS = 'hubline'
/** A peer that delivers less than this share of the wanted rate has not kept up. */
const KEPT_UP = 0.98

/**
 * @typedef {object} Row
 * @property {string} title
 * @property {string} version
 * @property {string} variant         what tells it from others of the same peer, or how it took part
 * @property {string} name            all of that
 * @property {boolean} ours
 * @property {number} value           of the metric; NaN if it was not measured
 * @property {number | undefined} ratio   to the best peer other than ours; above 1 is better than that peer, whatever the metric
 * @property {string} remark          what the figures alone do not show
 * @property {PeerResult} result
 */

/**
 * The peers of a scenario, best first, wherever ours stands.
 * @param {Scenario} scenario
 * @param {readonly PeerInfo[]} peers
 * @returns {Row[]}
 */
export function ranked(scenario, peers) {
  const { metric, results, wire, wantedPerSecond } = scenario
  const { more } = METRICS[metric]
  const rows = results.map(result => {
    const { title, version } = peers.find(({ name }) => name === result.peer) ?? { title: result.peer, version: '' }
    const value = metricOf(result, metric)
    const variant = [result.label, otherWire(result.wire, wire)].filter(Boolean).join(', ')
    const name = `${title} ${version}`.trim() + (variant === '' ? '' : ` (${variant})`)
    const remark = remarkOf(result, result.wantedPerSecond ?? wantedPerSecond)
    return { title, version, variant, name, ours: result.peer === OURS, value, remark, result }
  })
  // What was not measured is last, not first where less is better.
  const rank = (/** @type {{ value: number }} */ { value }) =>
    Number.isFinite(value) ? value : more ? -Infinity : Infinity
  rows.sort((a, b) => (rank(a) === rank(b) ? 0 : rank(a) < rank(b) === more ? 1 : -1))
  const best = rows.find(({ ours, value }) => !ours && value > 0)?.value
  return rows.map(row => ({ ...row, ratio: rows.length > 1 ? ratioOf(row.value, best, more) : undefined }))
}

/**
 * @param {number} value
 * @param {number | undefined} best
 * @param {boolean} more
 */
function ratioOf(value, best, more) {
  if (best === undefined || !(value > 0)) return undefined
  return more ? value / best : best / value
}

/**
 * @param {PeerResult} result
 * @param {number | undefined} wanted
 */
function remarkOf({ lost, disordered, deliveries, expected, missing, closed, perSecond }, wanted) {
  const counts = [
    [lost, 'lost'],
    [disordered, 'out of order'],
    [Math.max(0, missing ?? expected - deliveries - lost), 'missing'],
    [closed, 'closed'],
  ]
  const remarks = counts.filter(([count]) => count).map(([count, what]) => `${count?.toLocaleString('en-US')} ${what}`)
  // Not `<`: a rate that could not be measured was not kept up with either.
  if (wanted !== undefined && !(perSecond >= wanted * KEPT_UP)) remarks.push('could not keep up')
  return remarks.join(', ')
}

/** A peer without the scenario's protocol may have taken part with another. */
const otherWire = (/** @type {string | undefined} */ own, /** @type {string} */ wire) =>
  own === undefined || own === wire ? '' : `over ${own === 'websocket' ? 'WebSocket' : own}`
