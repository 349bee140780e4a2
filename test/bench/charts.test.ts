import { describe, expect, it } from 'vitest'
import { barChart, chartsOf, lineChart } from '../../bench/report/charts.mjs'
import { changed, sample, scenarios } from './sample-results.ts'
import { xmlFaults } from './xml-faults.ts'

const { flood, memory } = scenarios
const { peers } = sample

describe('charts', () => {
  const nasty = 'a <b> & "c" ]]> \u0007'

  it('are well-formed, whatever the titles are', () => {
    const all = chartsOf({
      ...sample,
      scenarios: [
        ...sample.scenarios,
        { ...flood, title: nasty, name: 'n/a.b', results: [] },
        { ...flood, title: nasty, results: [{ ...flood.results[0]!, peer: nasty }] },
      ],
    })
    expect(all.map(({ name }) => name)).toContain('n-a-b')
    for (const { name, svg } of all) expect([name, xmlFaults(svg)]).toEqual([name, []])
    expect(all.at(-2)!.svg).toContain('<title id="title">a &lt;b&gt; &amp; &quot;c&quot; ]]&gt; </title>')
    for (const points of [[], sample.scaling.slice(0, 1)]) expect(xmlFaults(lineChart(points))).toEqual([])
    for (const wrong of [
      '<a><b></a>',
      '<a>&</a>',
      '<a>b < c</a>',
      '<a b=c/>',
      '<a/><a/>',
      '<a>\u0007</a>',
      '<a>NaN</a>',
    ])
      expect([wrong, xmlFaults(wrong).length]).toEqual([wrong, 1])
  })

  it('have our bar in a colour of its own, and bars as long as the figures are', () => {
    const widths = (svg: string, is: string) =>
      [...svg.matchAll(new RegExp(`class="bar ${is}" .*? width="([\\d.]+)"`, 'g'))].map(([, width]) => Number(width))
    const svg = barChart(flood, peers)
    const [ours] = widths(svg, 'ours')
    const others = widths(svg, '')
    expect(others).toHaveLength(4)
    expect(ours! / others[0]!).toBeCloseTo(1_764_312 / 1_002_450, 2)
  })

  it('say so where the scale is logarithmic: from a spread of 50 on', () => {
    const two = (perSecond: number) => {
      const results = flood.results
        .slice(0, 2)
        .map(each => ({ ...each, perSecond: 1000, spread: [1000, 1000] as [number, number] }))
      return barChart(changed({ ...flood, results }, 'ws', { perSecond, spread: [perSecond, perSecond] }), peers)
    }
    expect(two(20)).not.toMatch(/log scale/i)
    expect(two(19)).toContain('Log scale: each grid line is ten times the one before.')
  })

  it('point to the remarks', () => {
    expect(barChart(flood, peers)).toContain('>211,000 *<')
    expect(barChart(flood, peers)).toContain('* See the remark')
    expect(barChart(memory, peers)).not.toContain('*')
  })
})
