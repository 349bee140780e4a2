import Table from 'cli-table3'
import { columnsOf } from './columns.mjs'
import { direction } from './metrics.mjs'
import { ranked } from './ranking.mjs'

/** @import { PeerInfo, Scenario, Target } from './results.mjs' */

/** Columns without lines: they are as good to read, and to copy. */
const PARTS = ['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right']
  .concat(['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid'])
  .map(part => [part, ''])
const PLAIN = {
  chars: Object.fromEntries([...PARTS, ['middle', '  ']]),
  style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
}

/**
 * The peers of a scenario for the terminal, best first; ours with `>`.
 * @param {Scenario} scenario
 * @param {readonly PeerInfo[]} peers  title and version by name
 * @returns {string[]}
 */
export function scenarioTable(scenario, peers) {
  const rows = ranked(scenario, peers)
  const columns = columnsOf(scenario, rows)
  const wanted = scenario.wantedPerSecond
  const cells = rows.map(row => [`${row.ours ? '>' : ' '} ${row.name}`, ...columns.map(({ cell }) => cell(row))])
  const pace = wanted === undefined ? '' : ` Wanted: ${wanted.toLocaleString('en-US')} deliveries/s.`
  return [
    `${scenario.title} (${direction(scenario.metric)})`,
    `${scenario.text}${pace}`,
    ...padded(['  peer', ...columns.map(({ head }) => head)], cells, [
      'left',
      ...columns.map(({ number }) => (number ? /** @type {const} */ ('right') : /** @type {const} */ ('left'))),
    ]),
  ]
}

/** In words: red and green would not survive a log file. */
export const verdictOf = (/** @type {Target} */ { met }) => (met === null ? 'not measured' : met ? 'met' : 'NOT MET')

/**
 * What Hubline must reach.
 * @param {readonly Target[]} targets
 * @returns {string[]}
 */
export function targetsTable(targets) {
  const rows = targets.map(target => [target.text, target.measured, target.wanted, verdictOf(target)])
  return padded(['must reach', 'measured', 'wanted', ''], rows, ['left', 'right', 'right', 'left'])
}

/**
 * @param {string[]} head
 * @param {string[][]} rows
 * @param {('left' | 'right')[]} colAligns
 */
function padded(head, rows, colAligns) {
  const table = new Table({ ...PLAIN, head, colAligns })
  table.push(...rows)
  return table
    .toString()
    .split('\n')
    .map(line => line.trimEnd())
}
