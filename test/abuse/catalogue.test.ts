import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const DOCS = new URL('../../docs/', import.meta.url)
const page = readFileSync(new URL('abuse-tests.md', DOCS), 'utf8')
const rows = [...page.matchAll(/^\| ([A-Z]\d+) \|.*$/gm)].map(([row, id]) => ({
  id: id!,
  files: [...row.matchAll(/`(test\/[^`]+)`/g)].map(([, file]) => `../${file}`),
  applies: row.split(' | ').length > 3,
}))
const GROUPS: Readonly<Record<string, number>> = { D: 14, E: 27, F: 14, G: 11 }

/** A title of a test or of a group of tests, or a part of a table of titles, that begins with the id. */
const titled = (text: string, id: string) => new RegExp(`['"\`](?:[A-Z]\\d+: )*${id}: `).test(text)

describe('docs/abuse-tests.md', () => {
  it('has every id once', () => {
    const all = Object.entries(GROUPS).flatMap(([group, last]) =>
      Array.from({ length: last }, (_, n) => `${group}${n + 1}`),
    )
    expect(rows.map(({ id }) => id).sort()).toEqual(all.sort())
  })

  it.each(rows.filter(({ applies }) => applies))('the tests of $id are where it says', ({ id, files }) => {
    expect(files.length).toBeGreaterThan(0)
    const without = files.filter(file => !titled(readFileSync(new URL(file, DOCS), 'utf8'), id))
    expect(without).toEqual([])
  })
})
