import { figure, METRICS, spreadOf } from './metrics.mjs'

/** @import { Row } from './ranking.mjs' */
/** @import { Scenario } from './results.mjs' */

/**
 * @typedef {object} Column
 * @property {string} head
 * @property {boolean} number
 * @property {(row: Row) => string} cell
 */

/** What every peer lacks is no column: idle connections have no latency. */
const EMPTY = new Set(['', '–', '0', '0 %'])

/**
 * The columns of a scenario beside the peer's own, for the terminal and for Markdown.
 * @param {Scenario} scenario
 * @param {readonly Row[]} rows
 * @param {{ spread?: boolean }} [options]  with the lowest and the highest round: a terminal is narrow
 * @returns {Column[]}
 */
export function columnsOf({ metric }, rows, { spread = false } = {}) {
  const { head } = METRICS[metric]
  /** @type {(head: string, cell: (row: Row) => string) => Column} */
  const number = (head, cell) => ({ head, number: true, cell })
  const optional = [
    ...(spread ? [number('rounds', ({ result }) => rangeText(spreadOf(result, metric)))] : []),
    number('to the best other', ({ ratio }) => ratioText(ratio)),
    ...(metric === 'cpuMicros' ? [] : [number('CPU µs/delivery', ({ result }) => figure(result.cpuMicros))]),
    number('p50 ms', ({ result }) => figure(result.latencyMs?.p50)),
    number('p99 ms', ({ result }) => figure(result.latencyMs?.p99)),
    number('p99.9 ms', ({ result }) => figure(result.latencyMs?.p999)),
    number('load CPU', ({ result }) => percent(result.loadCpu)),
    { head: 'remark', number: false, cell: (/** @type {Row} */ { remark }) => remark },
  ]
  const kept = optional.filter(({ cell }) => rows.some(row => !EMPTY.has(cell(row))))
  return [number(head, ({ value }) => figure(value)), ...kept]
}

const percent = (/** @type {number} */ share) => (Number.isFinite(share) ? `${Math.round(share * 100)} %` : '–')

/** Two decimals, or two digits where decimals would leave none. */
const ratioText = (/** @type {number | undefined} */ ratio) =>
  ratio === undefined ? '–' : `${ratio < 0.095 ? Number(ratio.toPrecision(2)) : ratio.toFixed(2)} x`

const rangeText = (/** @type {[number, number]} */ range) =>
  range[1] > range[0] ? range.map(figure).join(' to ') : '–'
