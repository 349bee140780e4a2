import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, posix, sep } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import manifest from '../package.json' with { type: 'json' }
import lock from '../package-lock.json' with { type: 'json' }

const ROOT = join(import.meta.dirname, '..')
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

/** In pieces, so that this file passes its own check. */
const FORBIDDEN = [
  [
    'a path of one machine',
    new RegExp(`(?<![\\w.:/}-])/(${['wo' + 'rk', 'ho' + 'me', 'ro' + 'ot', 'Us' + 'ers'].join('|')})/`),
  ],
  ['a registry', new RegExp(`\\bregi${'stry'}\\.[\\w-]+\\.[a-z]{2,}`)],
  ['a place beside the repository', new RegExp(`(?<![\\w./])\\.\\./${'shar'}${'ed'}\\b`)],
] as const

/** What is tracked or about to be; in an unpacked archive, all that is there. */
function files(): string[] {
  const list = ['ls-files', '--cached', '--others', '--exclude-standard', '-z']
  const { status, stdout } = spawnSync('git', list, { cwd: ROOT, encoding: 'utf8' })
  if (status === 0) return stdout.split('\0').filter(path => path !== '' && existsSync(join(ROOT, path)))
  return readdirSync(ROOT, { recursive: true, encoding: 'utf8' })
    .map(path => path.split(sep).join('/'))
    .filter(path => !/(^|\/)(node_modules|dist|coverage|\.hubline|\.git)\//.test(path) && /\.\w+$/.test(path))
}

function textFiles(): { path: string; text: string }[] {
  return files()
    .map(path => ({ path, text: read(path) }))
    .filter(({ text }) => !text.includes('\0'))
}

function forbidden(path: string, text: string): string[] {
  return text
    .split('\n')
    .flatMap((line, index) =>
      FORBIDDEN.filter(([, pattern]) => pattern.test(line)).map(
        ([what]) => `${path}:${index + 1} names ${what}: ${line}`,
      ),
    )
}

/** The files that a Markdown file links to. Links into the web are left out. */
function linkedFiles(path: string, text: string): string[] {
  const prose = text.replace(/```[\s\S]*?```/g, '').replace(/`[^`\n]*`/g, '')
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target]) => target!.replace(/#.*$/, ''))
    .filter(target => target !== '' && !/^[a-z]+:/.test(target))
    .map(target => posix.join(posix.dirname(path), target))
}

/** Links of a Markdown file that lead to no file. */
function brokenLinks(path: string, text: string): string[] {
  return linkedFiles(path, text)
    .filter(target => !existsSync(join(ROOT, target)))
    .map(target => `${path} links to ${target}`)
}

describe('every file of the repository', () => {
  it('names no machine and no registry', () => {
    expect(textFiles().length).toBeGreaterThan(50)
    expect(textFiles().flatMap(({ path, text }) => forbidden(path, text))).toEqual([])
  })

  it('would be seen to name one', () => {
    expect(forbidden('a', `see /${'ho'}me/ada/hub`)).toHaveLength(1)
    expect(forbidden('a', `"url": "https://regi${'stry'}.example.org/ws"`)).toHaveLength(1)
    expect(forbidden('a', 'https://example.org/work/1 and ./home/page.ts and PUT /topics/home/lamp')).toEqual([])
  })

  it('links to files that are there', () => {
    const markdown = textFiles().filter(({ path }) => path.endsWith('.md'))
    expect(markdown.flatMap(({ path, text }) => brokenLinks(path, text))).toEqual([])
    expect(
      brokenLinks('docs/a.md', '[a](../LICENSE) [b](nowhere.md#x) [c](https://example.org) `[d](e)`'),
    ).toHaveLength(1)
  })
})

it('the Markdown of the npm package links only to files of the package', () => {
  const folders = [...manifest.files, 'README.md', 'LICENSE', 'package.json']
  const isPacked = (path: string) => folders.includes(path.split('/')[0]!)
  const packed = textFiles().filter(({ path }) => path.endsWith('.md') && isPacked(path))
  const links = packed.flatMap(({ path, text }) => linkedFiles(path, text).map(target => [path, target] as const))
  expect(links.length).toBeGreaterThan(100)
  expect(links.filter(([, target]) => !isPacked(target))).toEqual([])
})

describe('CHANGELOG.md', () => {
  const text = read('CHANGELOG.md')
  const headings = [...text.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading!)

  it('keeps a changelog: versions with a date, the newest first', () => {
    expect(text).toMatch(/^# Changelog\n/)
    expect(headings.length).toBeGreaterThan(0)
    for (const [index, heading] of headings.entries()) {
      if (index === 0 && heading === '[Unreleased]') continue
      expect(heading).toMatch(/^\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}$/)
    }
    const versions = headings.flatMap(heading => /\d+\.\d+\.\d+/.exec(heading) ?? [])
    expect(versions).toEqual([...versions].sort((a, b) => b.localeCompare(a, 'en', { numeric: true })))
    expect([manifest.version, undefined]).toContain(versions[0])
  })

  it('sorts changes by their kind', () => {
    const kinds = [...text.matchAll(/^### (.*)$/gm)].map(([, kind]) => kind)
    const known = ['Added', 'Changed', 'Deprecated', 'Removed', 'Fixed', 'Security']
    expect(kinds.filter(kind => !known.includes(kind!))).toEqual([])
  })
})

it('is under the MIT licence', () => {
  expect(manifest.license).toBe('MIT')
  expect(read('LICENSE')).toMatch(
    /^MIT License\n\nCopyright \(c\) \d{4} The Hubline authors\n\nPermission is hereby granted, free/,
  )
})

it('takes the number of runs of each property test from one place, by which test:long finds it', () => {
  const properties = textFiles().filter(({ path, text }) => /\.test\.ts$/.test(path) && /\bfc\.assert\(/.test(text))
  expect(properties.length).toBeGreaterThan(25)
  const others = properties.filter(({ text }) => !text.includes("/property-runs.ts'") || text.includes('numRuns'))
  expect(others.map(({ path }) => path)).toEqual([])
  expect(manifest.scripts['test:long']).toContain('$(grep -rl /property-runs.ts test)')
})

it('says in one place what the oldest Node is', () => {
  expect(manifest.engines.node).toBe(`>=${/OLDEST = '(.*)'/.exec(read('scripts/prepare.mjs'))?.[1]}`)
})

describe('package-lock.json', () => {
  const folder = mkdtempSync(join(tmpdir(), 'hubline-lock-'))
  afterAll(() => rmSync(folder, { recursive: true }))

  /** The exit code and what was said of a lockfile that somebody changed. */
  function complete(change: (packages: Record<string, Record<string, unknown>>) => void, ...flags: string[]) {
    const changed = structuredClone(lock)
    change(changed.packages)
    const file = join(folder, 'package-lock.json')
    writeFileSync(file, `${JSON.stringify(changed, null, 2)}\n`)
    const { status, stderr } = spawnSync(process.execPath, ['scripts/complete-lock.mjs', ...flags, file], {
      cwd: ROOT,
      encoding: 'utf8',
    })
    return { status, stderr, text: readFileSync(file, 'utf8') }
  }

  it('serves every platform and every registry', () => {
    expect(complete(() => {}, '--check')).toMatchObject({ status: 0, stderr: '' })
    expect(read('package-lock.json')).not.toContain('"resol' + 'ved"')
    expect(Object.keys(lock.packages).filter(path => path.endsWith('node_modules/ws'))).toEqual(['node_modules/ws'])
  })

  it.each([
    [
      'an address',
      (packages: Record<string, Record<string, unknown>>) =>
        Object.assign(packages['node_modules/ws']!, { resolved: 'x' }),
    ],
    ['no checksum', packages => delete packages['node_modules/ws']!.integrity],
    ['no entry for another platform', packages => delete packages['node_modules/@biomejs/cli-darwin-arm64']],
    ['no entry that could be made up', packages => delete packages['node_modules/fsevents']],
  ])('is refused with %s', (_, change) => {
    const { status, stderr } = complete(change, '--check')
    expect({ status, lines: stderr.trim().split('\n').length }).toEqual({ status: 1, lines: 1 })
  })

  it('gets back what a registry left out', () => {
    const names = Object.keys(lock.packages).filter(path => /biomejs\/cli-(darwin|win32)/.test(path))
    expect(names).toHaveLength(4)
    const { status, text } = complete(packages => names.map(name => delete packages[name]))
    expect(status).toBe(0)
    expect(text).toBe(read('package-lock.json'))
  })
})

it.each([
  '.ci/run',
  'scripts/install-browser.sh',
  'scripts/install-redis.sh',
  'scripts/install-nginx.sh',
  'scripts/install-promtool.sh',
  'scripts/install-schemathesis.sh',
  'scripts/install-bench-peers.sh',
])('%s parses, and stops at the first error', path => {
  execFileSync('bash', ['-n', join(ROOT, path)])
  expect(read(path)).toMatch(/^set -eu/m)
})
