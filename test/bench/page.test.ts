import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { benchmarksPage, writeReport } from '../../bench/report/page.mjs'
import { sample, scenarios } from './sample-results.ts'

const { flood } = scenarios
const { peers } = sample
const folder = mkdtempSync(join(tmpdir(), 'hubline-report-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe('the page', () => {
  it('has every scenario, what was left out, and links to the files that are written with it', () => {
    const written = writeReport(sample, pathToFileURL(`${folder}/`))
    expect(writeReport(sample, folder)).toEqual(written)
    const page = readFileSync(join(folder, 'benchmarks.md'), 'utf8')
    expect(page).toBe(benchmarksPage(sample))
    for (const { title } of sample.scenarios) expect(page).toContain(`\n## ${title}\n`)
    expect(page).toContain('- **NATS server**: no nats-server in PATH')
    const links = [...page.matchAll(/\]\((benchmarks\/[^)]+)\)/g)].map(([, link]) => join(folder, link!))
    expect([...links, join(folder, 'benchmarks.md')].sort()).toEqual([...written].sort())
    const rows = page.split('\n').filter(line => line.startsWith('| **Hubline 0.1.0'))
    expect(rows).toHaveLength(sample.scenarios.length)
  })

  it('keeps the figures as the formatter wants them', () => {
    const text = readFileSync(join(folder, 'benchmarks', 'results.json'), 'utf8')
    expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(sample)))
    expect(text).toContain('"spread": [0.81, 0.9]')
    expect(text).toContain('"spread": [null, null]')
  })

  it('says that a quick run is not to be quoted', () => {
    expect(benchmarksPage(sample)).not.toContain('quick run')
    expect(benchmarksPage({ ...sample, quick: true })).toContain('**This was a quick run.**')
  })

  it('has no table broken by a title, and code where it is meant', () => {
    const coded = { ...flood, text: 'A topic may linger (`linger_ms`), *with* a bound.' }
    expect(benchmarksPage({ ...sample, scenarios: [coded] })).toContain('linger (`linger_ms`), \\*with\\* a bound.')
    const odd = peers.map(peer => ({ ...peer, title: 'a | <b> *c*' }))
    expect(benchmarksPage({ ...sample, peers: odd })).toContain('| **a \\| &lt;b&gt; \\*c\\* 0.1.0, Node 20.20.2** |')
  })
})
