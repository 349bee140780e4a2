import { describe, expect, it } from 'vitest'
import { benchmarksPage } from '../../bench/report/page.mjs'
import { ranked } from '../../bench/report/ranking.mjs'
import type { Scenario } from '../../bench/report/results.mjs'
import { scenarioTable, targetsTable } from '../../bench/report/table.mjs'
import { changed, sample, scenarios } from './sample-results.ts'

const { flood, paced, memory, handshakes } = scenarios
const { peers } = sample

/** The lines of the peers: without title, text and head. */
const lines = (scenario: Scenario) => scenarioTable(scenario, peers).slice(3)
const rowOf = (scenario: Scenario, title: string) => lines(scenario).find(line => line.includes(title))!
const order = (scenario: Scenario) => ranked(scenario, peers).map(({ result }) => result.peer)

describe('the order', () => {
  it('is that of the metric, wherever ours stands, and ours is marked', () => {
    expect(order(flood)).toEqual(['hubline', 'uws', 'bun', 'ws', 'socket.io'])
    expect(order(paced)).toEqual(['uws', 'hubline', 'ws', 'socket.io'])
    expect(lines(flood).map(line => line[0])).toEqual(['>', ' ', ' ', ' ', ' '])
    expect(lines(paced).map(line => line[0])).toEqual([' ', '>', ' ', ' '])
    const slow = changed(flood, 'hubline', { perSecond: 1 })
    expect(lines(slow).at(-1)).toMatch(/^> Hubline 0\.1\.0/)
  })

  it('has what was not measured at the end, whether more or less is better', () => {
    expect(order(memory).at(-1)).toBe('bun')
    expect(order(changed(flood, 'hubline', { perSecond: Number.NaN })).at(-1)).toBe('hubline')
    // What NaN is after a way through JSON.
    expect(order(JSON.parse(JSON.stringify(memory))).at(-1)).toBe('bun')
    expect(rowOf(JSON.parse(JSON.stringify(memory)), 'Bun')).toMatch(/–\s+–/)
  })
})

describe('the ratio', () => {
  const ratios = (scenario: Scenario) => ranked(scenario, peers).map(({ ratio }) => ratio?.toFixed(2))

  it('is to the best peer other than ours, and above 1 is better', () => {
    expect(ratios(flood)).toEqual(['1.76', '1.00', '0.95', '0.40', '0.21'])
    expect(ratios(paced)).toEqual(['1.00', '0.85', '0.23', '0.05'])
    expect(rowOf(flood, 'Hubline')).toContain(' 1.76 x ')
    expect(rowOf(paced, 'Hubline')).toContain(' 0.85 x ')
  })

  it('needs two', () => {
    expect(ratios(handshakes)).toEqual([undefined])
    const other = { ...flood, results: flood.results.filter(({ peer }) => peer === 'ws') }
    for (const scenario of [handshakes, other]) expect(scenarioTable(scenario, peers).join()).not.toContain(' x')
    // Ours alone has a figure: there is nobody to compare it with.
    expect(ratios(changed({ ...flood, results: flood.results.slice(0, 2) }, 'ws', { perSecond: Number.NaN }))).toEqual([
      undefined,
      undefined,
    ])
  })
})

describe('several of one peer', () => {
  const [ws, hubline] = flood.results
  const stalled = {
    ...flood,
    wantedPerSecond: 1_764_000,
    results: [
      ...[ws!, hubline!].map(each => ({ ...each, wire: 'websocket' })),
      { ...ws!, label: '10 % stalled', perSecond: 380_000 },
      { ...hubline!, label: 'drop-slow', perSecond: 1_600_000, wantedPerSecond: 1_600_000 },
    ],
  }

  it('are told apart, and no other is ours', () => {
    expect(lines(stalled).map(line => line[0])).toEqual(['>', '>', ' ', ' '])
    expect(rowOf(stalled, '8.23.0 (10 % stalled)')).toContain(' 0.95 x ')
    expect(rowOf(stalled, '(drop-slow)')).toContain(' 3.98 x ')
    expect(benchmarksPage({ ...sample, scenarios: [stalled] })).toContain(
      '| **Hubline 0.1.0, Node 20.20.2 (drop-slow)** |',
    )
  })

  it('may want another rate', () => {
    expect(rowOf(stalled, '(drop-slow)')).not.toContain('could not keep up')
    expect(rowOf({ ...stalled, wantedPerSecond: 1_900_000 }, 'Node 20.20.2  ')).toContain('could not keep up')
  })

  it('or of another protocol say so', () => {
    expect(rowOf({ ...stalled, wire: 'client' }, 'ws, plain loop 8.23.0 (over WebSocket)')).toBeDefined()
    expect(scenarioTable(stalled, peers).join()).not.toContain('over WebSocket')
  })
})

describe('the remark', () => {
  it('says what was lost, out of order, missing or closed, and is no column without any', () => {
    expect(rowOf(flood, 'Socket.IO')).toMatch(/1,204 lost, 3 closed$/)
    expect(rowOf(changed(flood, 'hubline', { disordered: 7 }), 'Hubline')).toMatch(/7 out of order$/)
    expect(rowOf(changed(flood, 'hubline', { deliveries: 1_999_999 }), 'Hubline')).toMatch(/ 1 missing$/)
    // Medians hide what one round lacked; the count does not.
    expect(rowOf(changed(flood, 'hubline', { missing: 5 }), 'Hubline')).toMatch(/ 5 missing$/)
    expect(rowOf(changed(flood, 'socket.io', { missing: 9 }), 'Socket.IO')).toMatch(/1,204 lost, 9 missing, 3 closed$/)
    expect(rowOf(flood, 'Hubline')).toMatch(/%$/)
    expect(scenarioTable(memory, peers).join()).not.toContain('remark')
  })

  it('says who could not keep up with a wanted rate', () => {
    expect(rowOf(paced, 'Socket.IO')).toMatch(/could not keep up$/)
    const at = (perSecond: number) => rowOf(changed(paced, 'hubline', { perSecond }), 'Hubline')
    expect(at(97_999)).toMatch(/could not keep up$/)
    expect(at(98_000)).not.toMatch(/could not/)
    expect(at(Number.NaN)).toMatch(/could not keep up$/)
    expect(rowOf(changed(flood, 'ws', { perSecond: 1 }), 'ws,')).not.toMatch(/could not/)
  })
})

it('the targets say NOT MET, and what was not measured is neither', () => {
  const [, met, not, unknown] = targetsTable(sample.targets)
  expect(met).toMatch(/1\.76 x {2,}1\.50 x {2,}met$/)
  expect(not).toMatch(/NOT MET$/)
  expect(unknown).toMatch(/not measured$/)
  const page = benchmarksPage(sample)
  expect(page).toContain('| 1.90 ms | 1.50 ms | **NOT MET** |')
  expect(page).toContain('| 2.00 x | not measured |')
})
