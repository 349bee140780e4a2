import { direction, figure, METRICS, spreadOf } from './metrics.mjs'
import { ranked } from './ranking.mjs'
import { scaleOf, tickLabel } from './scale.mjs'
import { card, fitted, line, PADDING, round, text, WIDTH, widthOf } from './svg.mjs'

/** @import { Row } from './ranking.mjs' */
/** @import { PeerInfo, Scenario } from './results.mjs' */
/** @import { Scale } from './scale.mjs' */

/** Where the drawing begins, below the heading. */
const TOP = 76
const ROW = 40
const BAR = 20
const LABELS_AT_MOST = 240
const GAP = 10

/**
 * The peers of a scenario as bars, best first.
 * @param {Scenario} scenario
 * @param {readonly PeerInfo[]} peers
 */
export function barChart(scenario, peers) {
  const { metric, title } = scenario
  const rows = ranked(scenario, peers)
  const spreads = rows.map(({ result }) => spreadOf(result, metric))
  const labels = rows.flatMap(row => [widthOf(row.title), widthOf(row.variant || row.version, 11)])
  const left = PADDING + Math.min(LABELS_AT_MOST, Math.max(...labels, 0)) + GAP
  const right = WIDTH - PADDING - GAP - Math.max(...rows.map(row => widthOf(valueText(row))), 0)
  const scale = scaleOf([...rows.map(({ value }) => value), ...spreads.flat()], left, right)
  const bottom = TOP + rows.length * ROW
  const bars = rows.flatMap((row, index) => bar(row, spreads[index] ?? [], scale, left, TOP + index * ROW))
  const notes = [
    ...(spreads.some(([low, high]) => high > low) ? ['Thin line: lowest and highest round.'] : []),
    ...(scale.log ? ['Log scale: each grid line is ten times the one before.'] : []),
    ...(rows.some(({ remark }) => remark !== '') ? ['* See the remark in the table.'] : []),
  ]
  return card({
    title,
    subtitle: `${METRICS[metric].long}${scale.log ? ', log scale' : ''}: ${direction(metric)}`,
    desc: `Bars, best first, ${METRICS[metric].long}, ${direction(metric)}. ${rows.map(inWords).join('; ')}.`,
    height: bottom + 58,
    body: [
      ...scale.ticks.flatMap(tick => [
        line('grid', scale.at(tick), TOP, scale.at(tick), bottom),
        text(scale.at(tick), bottom + 16, tickLabel(tick), { is: 'soft small', anchor: 'middle' }),
      ]),
      ...bars,
      line('axis', left, TOP, left, bottom),
      text(PADDING, bottom + 42, notes.join(' '), { is: 'soft small' }),
    ],
  })
}

const valueText = (/** @type {Row} */ { value, remark }) =>
  `${Number.isFinite(value) ? figure(value) : 'not measured'}${remark === '' ? '' : ' *'}`
const inWords = (/** @type {Row} */ row) =>
  `${row.name}: ${figure(row.value)}${row.remark === '' ? '' : ` (${row.remark})`}`

/**
 * @param {Row} row
 * @param {number[]} spread
 * @param {Scale} scale
 * @param {number} left
 * @param {number} y
 */
function bar(row, spread, scale, left, y) {
  const middle = y + ROW / 2
  const own = row.ours ? 'ours' : ''
  const end = row.value > 0 ? scale.at(row.value) : left
  const [low, high] = spread.map(value => (value > 0 ? scale.at(value) : end))
  const parts = [
    text(left - GAP, middle - 1, fitted(row.title, LABELS_AT_MOST), { is: own, anchor: 'end' }),
    text(left - GAP, middle + 13, fitted(row.variant || row.version, LABELS_AT_MOST, 11), {
      is: 'soft small',
      anchor: 'end',
    }),
    `<rect class="bar ${own}" x="${round(left)}" y="${middle - BAR / 2}" width="${round(end - left)}" height="${BAR}"/>`,
  ]
  if (low !== undefined && high !== undefined && high > low) {
    parts.push(line('spread', low, middle, high, middle))
    for (const x of [low, high]) parts.push(line('spread', x, middle - 4, x, middle + 4))
  }
  parts.push(text(Math.max(end, high ?? end) + GAP - 2, middle + 5, valueText(row), { is: own }))
  return parts
}
