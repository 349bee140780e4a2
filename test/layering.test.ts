import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '..')

/** What each layer may import: other layers, packages, and `node:` for Node's own modules. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  core: ['eventemitter3'],
  wire: [],
  policies: ['core', 'zod', 'fastest-levenshtein'],
  brokers: ['core'],
  transports: ['core', 'wire', 'node:', 'ws', 'zod'],
  testing: ['core', 'wire', 'transports/transport.ts', 'node:'],
  server: [
    'core',
    'wire',
    'policies',
    'brokers',
    'transports',
    'event-loop.ts',
    'hub.ts',
    'node:',
    'ws',
    'zod',
    'fastify',
    '@fastify/websocket',
    'fastify-plugin',
    'pino',
    'prom-client',
    'yaml',
    'fastest-levenshtein',
    'fast-png',
  ],
  cli: [
    'server',
    'core',
    'wire',
    'policies',
    'hub.ts',
    'index.ts',
    'node:',
    'commander',
    'cli-table3',
    'close-with-grace',
    'fastify',
  ],
  // The files at the root of src: the composition root, its scheduler, the public entry.
  '.': ['core', 'policies', 'brokers', 'event-loop.ts', 'hub.ts', 'node:'],
}

/** Files that may be longer than 300 lines, and why. */
const LONG: Readonly<Record<string, string>> = {
  'src/core/manager.ts': 'the whole interface of the hub, most of it documentation',
  'src/core/delivery.ts': 'the whole way of a message, which is easier to follow in one place',
}

/** Time, I/O and Node's globals: the core has none of them. */
const FORBIDDEN_IN_CORE =
  /\b(setTimeout|setInterval|setImmediate|queueMicrotask|Date|performance|process|Buffer|require|fetch|console)\b/

interface Source {
  /** Relative to the root, with slashes. */
  readonly path: string
  readonly text: string
}

function sources(folder: string): Source[] {
  const files = readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
  return files
    .filter(file => file.isFile() && file.name.endsWith('.ts'))
    .map(file => join(file.parentPath, file.name))
    .map(path => ({ path: relative(ROOT, path).split(sep).join('/'), text: readFileSync(path, 'utf8') }))
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '')
}

function importsOf(text: string): string[] {
  const found = withoutComments(text).matchAll(/(?:\bfrom\s+|\bimport\s*\(?\s*)'([^']+)'/g)
  return [...found].map(match => match[1]!)
}

function layerOf(path: string): string {
  const [, first, second] = path.split('/')
  return second === undefined ? '.' : first!
}

/** What is wrong with the imports of a file, one sentence each. */
function violations({ path, text }: Source): string[] {
  const layer = layerOf(path)
  const allowed = LAYERS[layer]
  if (allowed === undefined) return [`${path}: ${layer} is no layer`]
  const wrong = importsOf(text).filter(name => !isAllowed(name, path, layer, allowed))
  const sentences = wrong.map(name => `${path} (${layer}) must not import ${name}`)
  const word =
    layer === 'core' ? FORBIDDEN_IN_CORE.exec(withoutComments(text).replace(/'[^'\n]*'|`[^`]*`/g, "''")) : null
  return word ? [...sentences, `${path} (core) must not use ${word[0]}`] : sentences
}

function isAllowed(name: string, path: string, layer: string, allowed: readonly string[]): boolean {
  if (name.startsWith('node:')) return allowed.includes('node:')
  if (!name.startsWith('.')) return allowed.some(each => name === each || name.startsWith(`${each}/`))
  const target = relative(join(ROOT, 'src'), join(ROOT, path, '..', name))
    .split(sep)
    .join('/')
  const [folder] = target.split('/')
  return folder === layer || allowed.some(each => target === each || target.startsWith(`${each}/`))
}

function codeLines(text: string): number {
  return withoutComments(text)
    .split('\n')
    .filter(line => line.trim() !== '').length
}

describe('layers are folders', () => {
  it('imports only go down', () => {
    expect(sources('src').flatMap(violations)).toEqual([])
  })

  it('would see a layer that looks up, a clock in the core, and a server outside of server', () => {
    const at = (path: string, text: string) => violations({ path, text })
    expect(at('src/core/x.ts', "import { a } from '../server/server.ts'")).toHaveLength(1)
    expect(at('src/core/x.ts', "import type { a } from '../policies/latest.ts'")).toHaveLength(1)
    expect(at('src/core/x.ts', "export { a } from 'node:net'")).toHaveLength(1)
    expect(at('src/core/x.ts', "const a = await import('node:fs')")).toHaveLength(1)
    expect(at('src/core/x.ts', 'const now = Date.now()')).toHaveLength(1)
    expect(at('src/core/x.ts', 'setTimeout(() => {}, 1)')).toHaveLength(1)
    expect(
      at(
        'src/core/x.ts',
        "// Date.now() is not for us\nimport { b } from './b.ts'\nimport { EventEmitter } from 'eventemitter3'",
      ),
    ).toEqual([])
    expect(at('src/wire/x.ts', "import { z } from 'zod'")).toHaveLength(1)
    expect(at('src/transports/x.ts', "import Fastify from 'fastify'")).toHaveLength(1)
    expect(at('src/transports/x.ts', "import { latest } from '../policies/latest.ts'")).toHaveLength(1)
    expect(at('src/testing/x.ts', "import { sse } from '../transports/sse.ts'")).toHaveLength(1)
    expect(at('src/utils/x.ts', '')).toHaveLength(1)
  })

  it('examples use the package by its public names', () => {
    const relativeImports = sources('examples').flatMap(({ path, text }) =>
      importsOf(text)
        .filter(name => name.startsWith('.') && name.includes('src'))
        .map(name => `${path}: ${name}`),
    )
    expect(relativeImports).toEqual([])
  })
})

describe('size', () => {
  it('the core has at most 1,500 lines of code', () => {
    const lines = sources('src/core').reduce((sum, { text }) => sum + codeLines(text), 0)
    expect(lines).toBeLessThanOrEqual(1500)
  })

  it('a file has at most 300 lines, but for those with a reason', () => {
    const long = sources('src')
      .filter(({ text }) => text.split('\n').length > 301)
      .map(({ path }) => path)
    expect(long.sort()).toEqual(Object.keys(LONG).sort())
  })

  it('no file is a bag', () => {
    const bags = sources('src')
      .map(({ path }) => path)
      .filter(path => /(utils?|helpers?|misc|common|shared)\b/.test(path))
    expect(bags).toEqual([])
  })
})
