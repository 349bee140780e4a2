import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import manifest from '../package.json' with { type: 'json' }

const ROOT = join(import.meta.dirname, '..')
const { './package.json': manifestEntry, ...entries } = manifest.exports

/** The source of a built file. */
const sourceOf = (built: string) => built.replace(/^\.\/dist\//, '../src/').replace(/\.js$/, '.ts')

/** A program of somebody else's, in a folder where `hubline` is installed. */
const elsewhere = mkdtempSync(join(tmpdir(), 'hubline-exports-'))
mkdirSync(join(elsewhere, 'node_modules'))
symlinkSync(ROOT, join(elsewhere, 'node_modules', 'hubline'), 'junction')
writeFileSync(join(elsewhere, 'package.json'), '{"type": "module"}')
afterAll(() => rmSync(elsewhere, { recursive: true }))

/** What Node finds in the package under this name, from outside. */
function namesFromOutside(name: string): string[] {
  const program = `console.log(JSON.stringify(Object.keys(await import('${name}'))))`
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', program], { cwd: elsewhere })
  return JSON.parse(output.toString())
}

describe('the package', () => {
  it.each(Object.entries(entries))('has its entry %s as the source says, with types', async (entry, conditions) => {
    // The order counts: a tool takes the first condition that it knows.
    expect(Object.keys(conditions)).toEqual(['types', 'default'])
    expect(conditions.types).toBe(conditions.default.replace(/\.js$/, '.d.ts'))
    expect(existsSync(join(ROOT, conditions.types))).toBe(true)
    const source: Record<string, unknown> = await import(sourceOf(conditions.default))
    const names = namesFromOutside(entry.replace(/^\./, 'hubline'))
    expect(names.length).toBeGreaterThan(0)
    expect(names).not.toContain('default')
    expect(names.sort()).toEqual(Object.keys(source).sort())
  })

  it('gives a name in two entries to one thing only', async () => {
    const owners = new Map<string, unknown>()
    for (const { default: built } of Object.values(entries)) {
      const source: Record<string, unknown> = await import(sourceOf(built))
      for (const [name, value] of Object.entries(source)) {
        expect(owners.get(name) ?? value, name).toBe(value)
        owners.set(name, value)
      }
    }
  })

  it('has types that a strict program can use, and that are not any', () => {
    writeFileSync(
      join(elsewhere, 'program.mts'),
      `import { createHub, type Hub } from 'hubline'
import { hubline } from 'hubline/fastify'
import { ManualScheduler } from 'hubline/testing'
import { sse } from 'hubline/transports'
const hub: Hub = createHub({ scheduler: new ManualScheduler() })
hub.getActiveClients()
// @ts-expect-error: no such method
hub.getNothing()
// @ts-expect-error: no such option
createHub({ brokers: 1 })
// @ts-expect-error: no number
const wrong: [number, number] = [hubline, sse]
console.log(wrong)
`,
    )
    const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')
    const flags = [
      '--noEmit',
      '--strict',
      '--module',
      'nodenext',
      '--target',
      'es2023',
      '--types',
      'node',
      '--skipLibCheck',
    ]
    const types = ['--typeRoots', join(ROOT, 'node_modules', '@types')]
    execFileSync(process.execPath, [compiler, ...flags, ...types, 'program.mts'], { cwd: elsewhere, stdio: 'pipe' })
  })

  it('brings the types of the packages that its own types name', () => {
    const { dependencies, peerDependencies } = manifest
    const brought = Object.keys({ ...dependencies, ...peerDependencies })
    const named = new Set<string>()
    const read = new Set<string>()
    const follow = (file: string): void => {
      if (read.has(file)) return
      read.add(file)
      for (const [, name] of readFileSync(file, 'utf8').matchAll(/(?:from|import\() ?'([^']+)'/g)) {
        if (name!.startsWith('.')) follow(join(file, '..', name!.replace(/\.[jt]s$/, '.d.ts')))
        else if (!name!.startsWith('node:')) named.add(name!)
      }
    }
    for (const { types } of Object.values(entries)) follow(join(ROOT, types))
    expect(named).toContain('ws')
    for (const name of named) {
      expect(brought).toContain(name)
      const { types, typings } = JSON.parse(readFileSync(join(ROOT, 'node_modules', name, 'package.json'), 'utf8'))
      if (types === undefined && typings === undefined) expect(brought).toContain(`@types/${name}`)
    }
  })

  it('lets nobody in by another way', () => {
    expect(manifestEntry).toBe('./package.json')
    expect(() =>
      execFileSync(process.execPath, ['-e', "import('hubline/dist/hub.js')"], { cwd: elsewhere, stdio: 'pipe' }),
    ).toThrow(/ERR_PACKAGE_PATH_NOT_EXPORTED/)
  })

  it('has a command that Node runs', () => {
    const command = join(ROOT, manifest.bin.hubline)
    expect(readFileSync(command, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
    const output = execFileSync(process.execPath, [command, '--version'], { cwd: elsewhere })
    expect(output.toString().trim()).toBe(manifest.version)
  })

  it('lets users have newer releases of its dependencies, and develops with exact versions', () => {
    const { dependencies, optionalDependencies, devDependencies, overrides } = manifest
    const ranges = Object.values({ ...dependencies, ...optionalDependencies })
    expect(ranges.filter(range => !/^\^\d+\.\d+\.\d+$/.test(range))).toEqual([])
    const pinned = Object.values({ ...devDependencies, ...overrides })
    expect(pinned.filter(version => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([])
  })
})

it('the command can be run as a file, as `npx hubline` does in the repository', () => {
  const { status, stdout } = spawnSync(join(ROOT, manifest.bin.hubline), ['--version'], { encoding: 'utf8' })
  expect([status, stdout.trim()]).toEqual([0, manifest.version])
})
