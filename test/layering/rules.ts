import { posix } from 'node:path'
import { computedImports, importsOf, onlyCode } from './source-text.ts'

export interface Source {
  /** Relative to the root of the repository, with slashes. */
  readonly path: string
  readonly text: string
}

/** What each layer may import: other layers, files, packages, and `node:` for Node's own modules. Nothing else may. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  core: ['eventemitter3'],
  wire: [],
  policies: ['core'],
  brokers: ['core'],
  // Packages that only the command line uses: the build puts their code into these files.
  bundled: ['cli-table3', 'close-with-grace', 'commander', 'yaml'],
  stores: ['core', 'event-loop.ts', 'node:'],
  receiving: ['core', 'wire', 'node:'],
  sending: ['core', 'wire', 'receiving', 'node:'],
  topics: ['core', 'wire', 'ajv', 'ajv-formats', 'node:'],
  tracing: ['core', 'transports/envelope.ts', 'node:', '@opentelemetry'],
  transports: [
    'core',
    'wire',
    'deadlines.ts',
    'event-loop.ts',
    'node:',
    '@aws-sdk',
    'ipaddr.js',
    'koffi',
    'undici',
    'ws',
    'zod',
  ],
  sessions: ['core', 'deadlines.ts', 'event-loop.ts', 'node:', 'jose', 'undici', 'zod'],
  tower: ['core', 'wire', 'policies', 'transports', 'hub.ts', 'open-topics.ts', 'event-loop.ts', 'node:', 'zod'],
  testing: [
    'core',
    'wire',
    'receiving',
    'sending',
    'running-time.ts',
    'stores/connection-store.ts',
    'transports/transport.ts',
    'node:',
    'koffi',
  ],
  server: [
    ...['core', 'wire', 'policies', 'brokers', 'sending', 'sessions', 'stores', 'topics', 'transports'],
    ...['event-loop.ts', 'open-topics.ts', 'hub.ts', 'node:'],
    ...['@fastify', 'fastest-levenshtein', 'fastify', 'fastify-plugin', 'pino', 'prom-client', 'ws'],
    ...['bundled/yaml.ts', 'zod'],
  ],
  cli: [...['core', 'wire', 'policies', 'sessions', 'server', 'hub.ts', 'index.ts', 'node:'], 'bundled'],
  // The files at the root of src: the composition root, its scheduler, the public entry.
  // Not all stores: `hubline` must load where their drivers are not installed.
  '.': [
    ...['core', 'policies', 'brokers', 'receiving', 'sending', 'topics', 'tracing', 'node:'],
    ...['stores/connection-book.ts', 'stores/connection-store.ts', 'stores/memory.ts'],
    ...['sessions/session-watch.ts', 'transports/heartbeat.ts'],
  ],
}

/** What one file may import beyond its layer. */
const EXCEPTIONS: Readonly<Record<string, readonly string[]>> = {
  // The nearest name is part of every refusal; the package is one pure function, without I/O and without dependencies.
  'src/core/options.ts': ['fastest-levenshtein'],
  // The one place where a policy is made of what somebody typed.
  'src/policies/catalog.ts': ['zod'],
  'src/stores/redis.ts': ['ioredis', 'zod'],
  'src/stores/redis-client.ts': ['ioredis'],
  'src/stores/redis-scripts.ts': ['ioredis'],
}

/** Time, I/O and what only Node has: the core has none of them, so that it runs anywhere and a test can hold its clock. */
const NOT_IN_CORE =
  /(?<![.\w$])(setTimeout|setInterval|setImmediate|queueMicrotask|Date|performance|process|Buffer|require|fetch|console|globalThis)\b/g

/** What is wrong with a file of src/, one sentence each. */
export function violations({ path, text }: Source): string[] {
  const layer = layerOf(path)
  const allowed = LAYERS[layer]
  if (allowed === undefined) return [`${path}: src/${layer} is no layer`]
  const mayImport = [...allowed, ...(EXCEPTIONS[path] ?? [])]
  const wrong = importsOf(text)
    .filter(name => !isAllowed(name, path, layer, mayImport))
    .map(name => `${path} must not import ${name}`)
  if (computedImports(text) > 0) wrong.push(`${path} must not import what is known only at run time`)
  const words = layer === 'core' ? onlyCode(text).match(NOT_IN_CORE) : undefined
  return [...wrong, ...(words ?? []).map(word => `${path} must not use ${word}`)]
}

/** An example is what a user would write: it has the package's public names, and other files of its own. */
export function exampleViolations({ path, text }: Source, publicNames: readonly string[]): string[] {
  return importsOf(text)
    .filter(name => {
      if (name.startsWith('.')) return !posix.join(posix.dirname(path), name).startsWith('examples/')
      return (name === 'hubline' || name.startsWith('hubline/')) && !publicNames.includes(name)
    })
    .map(name => `${path} must not import ${name}`)
}

function isAllowed(name: string, path: string, layer: string, allowed: readonly string[]): boolean {
  if (name.startsWith('node:')) return allowed.includes('node:')
  if (!name.startsWith('.')) return allowed.some(each => isWithin(name, each))
  const target = posix.relative('src', posix.join(posix.dirname(path), name))
  // The files at the root of src/ know each other; of a layer, all files do.
  const own = layer === '.' ? !target.includes('/') : isWithin(target, layer)
  return own || allowed.some(each => isWithin(target, each))
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`)
}

function layerOf(path: string): string {
  const [, first, second] = path.split('/')
  return second === undefined ? '.' : first!
}
