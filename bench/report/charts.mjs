import { barChart } from './bar-chart.mjs'
import { lineChart } from './line-chart.mjs'

/** @import { Results, Scenario } from './results.mjs' */

export { barChart, lineChart }

export const SCALING_CHART = 'cost-by-subscribers'

/** The chart's name. That of a scenario may have signs that no file name, or no link, can have. */
export const chartOf = (/** @type {Scenario} */ { name }) => name.replace(/[^\w-]+/g, '-')

/**
 * All charts of a run, by the names of their files.
 * @param {Results} results
 * @returns {{ name: string, svg: string }[]}
 */
export function chartsOf({ scenarios, peers, scaling }) {
  const bars = scenarios.map(scenario => ({ name: chartOf(scenario), svg: barChart(scenario, peers) }))
  return scaling.length > 0 ? [...bars, { name: SCALING_CHART, svg: lineChart(scaling) }] : bars
}
