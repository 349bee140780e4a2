import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { describe, expect, it } from 'vitest'
import manifest from '../package.json' with { type: 'json' }
import { exampleViolations, type Source, violations } from './layering/rules.ts'
import { codeLines, importsOf, onlyCode } from './layering/source-text.ts'

const ROOT = join(import.meta.dirname, '..')
const PUBLIC_NAMES = Object.keys(manifest.exports).map(entry => entry.replace(/^\./, 'hubline'))

const CORE_LINES = 5000
const FILE_LINES = 300

/** Files that may be longer, and why. */
const LONG: Readonly<Record<string, string>> = {
  'src/core/membership.ts':
    'every way onto a topic and off it, by name, by pattern and by rule, which must leave the same books behind',
  'src/core/manager.ts': 'the whole interface of the hub, most of it documentation',
  'src/core/link.ts':
    'one client on one topic: every way in which a message can be settled, which together must add up',
  'src/core/outbox.ts':
    'one flush, and what it must keep apart: messages, frames of the protocol, direct messages, time and bytes',
  'src/hub.ts': 'the public face of a hub, most of it documentation',
  'src/server/api/clients.ts': 'one short entry for each operation on a client, with its schemas',
  'src/testing/mock-connection-manager.ts': 'one short method for each call of a hub',
  'src/core/delivery.ts': 'the whole way of a message, which is easier to follow in one place',
}

function sources(folder: string): Source[] {
  if (!existsSync(join(ROOT, folder))) return []
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && /(?<!\.d)\.[cm]?[jt]s$/.test(entry.name))
    .map(entry => join(entry.parentPath, entry.name))
    .map(path => ({ path: relative(ROOT, path).split(sep).join('/'), text: readFileSync(path, 'utf8') }))
}

describe('layers are folders', () => {
  it('imports only go down', () => {
    expect(sources('src').flatMap(violations)).toEqual([])
  })

  it.each([
    ['src/core/x.ts', "import { a } from '../server/server.ts'"],
    ['src/core/x.ts', "import type { a } from '../policies/latest.ts'"],
    ['src/core/x.ts', "import {\n  a,\n  b,\n} from '../hub.ts'"],
    ['src/core/x.ts', "export { a } from 'node:net'"],
    ['src/core/x.ts', "export * from 'node:net'"],
    ['src/core/x.ts', "import 'node:net'"],
    ['src/core/x.ts', "const a = await import('node:fs')"],
    ['src/core/x.ts', "let a: import('node:fs').Stats"],
    ['src/core/x.ts', 'const a = await import(name)'],
    ['src/core/x.ts', "import { WebSocket } from 'ws'"],
    ['src/core/x.ts', 'const now = Date.now()'],
    ['src/core/x.ts', 'const now = performance.now()'],
    ['src/core/x.ts', 'setTimeout(() => {}, 1)'],
    ['src/core/x.ts', 'const text = `pid $' + '{process.pid}`'],
    ['src/core/x.ts', "const a = Buffer.from('a')"],
    ['src/wire/x.ts', "import { z } from 'zod'"],
    ['src/wire/x.ts', "import { parseTopicName } from '../core/ids.ts'"],
    ['src/policies/latest.ts', "import { z } from 'zod'"],
    ['src/brokers/x.ts', "import { EventEmitter } from 'node:events'"],
    ['src/stores/memory.ts', "import { Redis } from 'ioredis'"],
    ['src/stores/x.ts', "import { latest } from '../policies/latest.ts'"],
    ['src/transports/x.ts', "import Fastify from 'fastify'"],
    ['src/transports/x.ts', "import { latest } from '../policies/latest.ts'"],
    ['src/testing/x.ts', "import { sse } from '../transports/sse.ts'"],
    ['src/testing/x.ts', "import { redisStore } from '../stores/redis.ts'"],
    ['src/cli/x.ts', "import Fastify from 'fastify'"],
    ['src/server/x.ts', "import { serveCommand } from '../cli/serve.ts'"],
    ['src/index.ts', "export { hubline } from './server/fastify.ts'"],
    ['src/index.ts', "export { redisStore } from './stores/redis.ts'"],
    ['src/tools/x.ts', ''],
  ])('sees what %s must not have: %s', (path, text) => {
    expect(violations({ path, text })).toHaveLength(1)
  })

  it.each([
    ['src/core/x.ts', "// Date.now() is not for us\nimport { b } from './b.ts'\nimport E from 'eventemitter3'"],
    ['src/core/x.ts', "const rule = 'no process, no Buffer' // nor setTimeout\nconst at = message.performance"],
    ['src/core/x.ts', "const quote = /['\"]/\nconst type = 'text/*'\nconst other = '*/*'"],
    ['src/policies/catalog.ts', "import { z } from 'zod'\nimport { latest } from './latest.ts'"],
    ['src/server/routes/x.ts', "import type { FastifyInstance } from 'fastify'\nimport { a } from '../../core/ids.ts'"],
    [
      'src/stores/redis.ts',
      "import { Redis } from 'ioredis'\nimport { z } from 'zod'\nimport { memoryStore } from './memory.ts'",
    ],
    ['src/hub.ts', "import { eventLoop } from './event-loop.ts'\nimport { randomBytes } from 'node:crypto'"],
  ])('has nothing against %s: %s', (path, text) => {
    expect(violations({ path, text })).toEqual([])
  })

  it('examples use the package by its public names', () => {
    expect(sources('examples').flatMap(source => exampleViolations(source, PUBLIC_NAMES))).toEqual([])
    const wrong = ['../src/hub.ts', '../dist/index.js', 'hubline/core', 'hubline/dist/index.js']
    const right = ['hubline', 'hubline/fastify', 'node:http', 'fastify', './page.ts']
    const text = [...wrong, ...right].map(name => `import '${name}'\n`).join('')
    expect(exampleViolations({ path: 'examples/x.ts', text }, PUBLIC_NAMES)).toHaveLength(wrong.length)
  })
})

describe('reading sources', () => {
  it('takes comments, strings and regular expressions for what they are', () => {
    expect(
      importsOf("/* import './a.ts' */ import './b.ts' // from './c.ts'\nconst s = \"// no comment\"; import './d.ts'"),
    ).toEqual(['./b.ts', './d.ts'])
    const code = onlyCode("const a = '/*' + b / c / d // e\nconst f = /[/'*]/.source")
    expect(code.replace(/\s+/g, ' ')).toBe('const a = + b / c / d const f = .source')
    expect(codeLines("/**\n * What.\n */\n\nconst a = 1 // one\n// two\nconst b = '//'\n")).toBe(2)
  })
})

describe('size', () => {
  /** Counted in what the compiler makes of it, for types do not run. The tests' set-up has built it. */
  it(`the core has at most ${CORE_LINES} lines that run`, () => {
    const core = sources('dist/core')
    const lines = core.reduce((sum, { text }) => sum + codeLines(text.replaceAll('export {};', '')), 0)
    expect(core.length).toBe(sources('src/core').length)
    expect(lines, `src/core has ${lines} lines without blanks, comments and types`).toBeLessThanOrEqual(CORE_LINES)
  })

  it(`a file has at most ${FILE_LINES} lines, but for those with a reason`, () => {
    const long = sources('src').filter(({ text }) => text.trimEnd().split('\n').length > FILE_LINES)
    expect(long.map(({ path }) => path).sort()).toEqual(Object.keys(LONG).sort())
  })

  it('no file is a bag', () => {
    const paths = ['src', 'test', 'examples', 'scripts'].flatMap(sources).map(({ path }) => path)
    expect(paths.filter(path => /\b(utils?|helpers?|misc|common)\b/i.test(path))).toEqual([])
  })
})
