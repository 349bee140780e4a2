import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chartOf, chartsOf, SCALING_CHART } from './charts.mjs'
import { columnsOf } from './columns.mjs'
import { markdownTable, plain } from './markdown.mjs'
import { direction, METRICS } from './metrics.mjs'
import { introduction, QUICK, READING, SCALING } from './page-text.mjs'
import { ranked } from './ranking.mjs'
import { verdictOf } from './table.mjs'

/** @import { PeerInfo, Results, Scenario, Skipped, Target } from './results.mjs' */

/**
 * docs/benchmarks.md
 * @param {Results} results
 */
export function benchmarksPage(results) {
  const { quick, scenarios, peers, skipped, targets, scaling } = results
  const parts = [
    '# Benchmarks',
    ...(quick ? [QUICK] : []),
    introduction(results),
    circumstances(results),
    ...(results.note ? [results.note] : []),
    ...(targets.length > 0 ? ['## What Hubline must reach', targetsIn(targets)] : []),
    ...scenarios.flatMap(scenario => sectionOf(scenario, peers)),
    ...(scaling.length > 0
      ? [
          '## Cost by number of subscribers',
          SCALING,
          image('Cost per delivery by number of subscribers', SCALING_CHART),
        ]
      : []),
    '## What was left out, and why',
    leftOut(skipped),
    '## How to read this',
    READING,
  ]
  return `${parts.join('\n\n')}\n`
}

/** @param {Results} results */
function circumstances({ date, command, rounds, machine, peers }) {
  const { cpu, cores, system, node } = machine
  const rows = [
    ['date', plain(date)],
    ['machine', `${plain(cpu)}, ${cores} ${cores === 1 ? 'core' : 'cores'}`],
    ['system', plain(system)],
    ['Node', plain(node)],
    ['command', `\`${command}\``],
    ['rounds', `${rounds}`],
    ['peers', peers.map(({ title, version }) => plain(`${title} (${version})`)).join('<br>')],
    ['all figures', '[results.json](benchmarks/results.json)'],
  ]
  return markdownTable([{ head: '' }, { head: '' }], rows)
}

/** @param {readonly Target[]} targets */
function targetsIn(targets) {
  const rows = targets.map(target => {
    const verdict = verdictOf(target)
    return [target.text, target.measured, target.wanted]
      .map(plain)
      .concat(target.met === false ? `**${verdict}**` : verdict)
  })
  const table = markdownTable(
    [{ head: 'what' }, { head: 'measured', number: true }, { head: 'wanted', number: true }, { head: '' }],
    rows,
  )
  const missed = targets.filter(({ met, why }) => met === false && why !== undefined)
  const reasons = missed.map(({ text, why }) => `- **${plain(text)}**: ${why}`)
  return reasons.length === 0 ? table : [table, 'Why not, as far as the profiles say:', reasons.join('\n')].join('\n\n')
}

/**
 * @param {Scenario} scenario
 * @param {readonly PeerInfo[]} peers
 */
function sectionOf(scenario, peers) {
  const { title, text, metric, wantedPerSecond, command } = scenario
  const rows = ranked(scenario, peers)
  const columns = columnsOf(scenario, rows, { spread: true })
  const cells = rows.map(row => {
    const name = plain(row.name)
    return [row.ours ? `**${name}**` : name, ...columns.map(({ cell }) => plain(cell(row)))]
  })
  const wanted =
    wantedPerSecond === undefined ? '' : ` Wanted: ${wantedPerSecond.toLocaleString('en-US')} deliveries/s.`
  const again = command === undefined ? '' : ` Measured again, whole, with \`${command}\`.`
  return [
    `## ${plain(title)}`,
    `${plain(text)}${wanted} Sorted by ${METRICS[metric].long}: ${direction(metric)}.${again}`,
    image(`${title}: ${METRICS[metric].long}`, chartOf(scenario)),
    markdownTable([{ head: 'peer' }, ...columns], cells),
  ]
}

/** @param {readonly Skipped[]} skipped */
function leftOut(skipped) {
  if (skipped.length === 0) return 'Nothing: every peer that the bench knows took part.'
  return skipped.map(({ title, why }) => `- **${plain(title)}**: ${plain(why)}`).join('\n')
}

const image = (/** @type {string} */ alternative, /** @type {string} */ name) =>
  `![${plain(alternative)}](benchmarks/${name}.svg)`

/**
 * Writes benchmarks.md, and benchmarks/ with the charts and the figures, into the documentation's directory.
 * @param {Results} results
 * @param {string | URL} directory
 * @returns {string[]} what was written
 */
export function writeReport(results, directory) {
  const files = [
    ['benchmarks.md', benchmarksPage(results)],
    ['benchmarks/results.json', json(results)],
    ...chartsOf(results).map(({ name, svg }) => [`benchmarks/${name}.svg`, svg]),
  ]
  const folder = directory instanceof URL ? fileURLToPath(directory) : directory
  mkdirSync(join(folder, 'benchmarks'), { recursive: true })
  return files.map(([name = '', content = '']) => {
    writeFileSync(join(folder, name), content)
    return join(folder, name)
  })
}

/** As the formatter wants it, for it checks the file like any other: a pair of numbers is one line. */
const json = (/** @type {Results} */ results) =>
  `${JSON.stringify(results, null, 2).replace(/\[\n\s+([^\s,"]+),\n\s+([^\s,"]+)\n\s+\]/g, '[$1, $2]')}\n`
