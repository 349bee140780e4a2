import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { z } from 'zod'
import { HTTP_STATUS } from '../src/core/errors.ts'
import { DropTally } from '../src/core/stats.ts'
import { POLICY_NAMES, parsePolicy } from '../src/policies/catalog.ts'
import { configSchema } from '../src/server/config-schema.ts'
import { readEnvironment } from '../src/server/environment.ts'
import { CLOSE_CODES } from '../src/transports/frame-socket.ts'
import { DISCONNECTS, ERRORS } from '../src/wire/client-protocol.ts'

const read = (page: string): string => readFileSync(new URL(`../docs/${page}`, import.meta.url), 'utf8')
/** The cells of every table row of a page. */
const rows = (page: string): string[][] =>
  read(page)
    .split('\n')
    .filter(line => line.startsWith('| '))
    .map(line =>
      line
        .split('|')
        .slice(1, -1)
        .map(cell => cell.trim()),
    )

describe('the tables say what the code does', () => {
  it('errors.md: every code with its status, and no other', () => {
    const told = rows('errors.md')
      .slice(1)
      .map(([code, status]) => [code!.replaceAll('`', ''), Number(status)])
    expect(Object.fromEntries(told)).toEqual(HTTP_STATUS)
  })

  it('protocols.md: the close code of every reason', () => {
    const told = rows('protocols.md').flatMap(([reasons, code]) =>
      /^\d{4}$/.test(code!) ? reasons!.split(', ').map(reason => [reason, Number(code)]) : [],
    )
    const codes = Object.entries(CLOSE_CODES).map(([reason, [code]]) => [reason, code])
    expect(Object.fromEntries(told)).toEqual(Object.fromEntries(codes))
  })

  it('policies.md: every policy, every option with its default, every reason', () => {
    const all = rows('policies.md')
    const plain = (cell: string): string => cell.replaceAll('`', '')
    const options = all.filter(cells => cells.length === 4)
    let policy = ''
    const told = options.map(([name, option, value]) => {
      policy = plain(name!) || policy
      return [policy, /^`(\w+)`/.exec(option!)?.[1], plain(value!)]
    })
    const firsts = (columns: number) => all.filter(({ length }) => length === columns).map(([first]) => plain(first!))
    expect(firsts(3)).toEqual(expect.arrayContaining(POLICY_NAMES))
    for (const name of ['buffered', 'drop-slow', 'reliable']) {
      const { name: _, ...defaults } = parsePolicy(name).describe()
      for (const [option, value] of Object.entries(defaults)) expect(told).toContainEqual([name, option, String(value)])
    }
    expect(firsts(2)).toEqual(expect.arrayContaining(Object.keys(new DropTally().counts)))
  })

  it('client-protocol.md: every error, and disconnects as they are', () => {
    const all = rows('client-protocol.md')
    const errors = all.filter(([code]) => /^1\d\d$/.test(code!)).map(([code, message]) => [Number(code), message])
    expect(errors).toEqual(Object.values(ERRORS).map(({ code, message }) => [code, message]))
    const known = new Map<number, string>(Object.values(DISCONNECTS))
    const disconnects = all.filter(([code]) => /^3\d{3}$/.test(code!))
    expect(disconnects.length).toBeGreaterThan(8)
    for (const [code, reason] of disconnects) expect([code, reason]).toEqual([code, known.get(Number(code))])
  })

  it('configuration.md: every key with its default', () => {
    const told = new Map(
      rows('configuration.md')
        .slice(1)
        .map(([key, , , value]) => [key!.replaceAll('`', ''), value!.replaceAll('`', '')]),
    )
    const defaults = defaultsOf(configSchema, configSchema.parse({}))
    expect([...told.keys()].sort()).toEqual([...defaults.keys()].sort())
    for (const [key, value] of defaults) expect([key, told.get(key)]).toEqual([key, value])
  })

  it('configuration.md: every variable sets its key', () => {
    for (const [key, variable] of rows('configuration.md').slice(1)) {
      const config = readEnvironment({ [variable!.replaceAll('`', '')]: '1' }, configSchema)
      const path = key!.replaceAll('`', '').split('.')
      const set = path.reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], config)
      expect([key, set]).not.toEqual([key, undefined])
    }
  })
})

/** Every key of the schema, also those without a default, with what the page says of it. */
function defaultsOf(schema: z.ZodObject, defaults: object, within = ''): Map<string, string> {
  const all = Object.keys(schema.shape).flatMap((name): [string, string][] => {
    const value = (defaults as Record<string, unknown>)[name]
    const inner = (schema.shape[name] as { unwrap?: () => { shape?: object } }).unwrap?.()
    if (inner?.shape) return [...defaultsOf(inner as z.ZodObject, value as object, `${within}${name}.`)]
    const none = value === undefined || (typeof value === 'object' && Object.keys(value as object).length === 0)
    return [[within + name, none ? 'none' : `${value}`]]
  })
  return new Map(all)
}
