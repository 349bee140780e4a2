// The tests on another Node than the one that runs this. npm brings it (the packages that `node` on npm is made of), into .hubline/.
// Usage: node scripts/other-node.mjs quick|all MAJOR...       quick: the files below, under a minute; all: every test.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')

/** What depends on Node itself: its internals, streams and sockets, HTTP parsing, modules, timers, crypto and the command line. */
const QUICK = [
  'test/abuse/refused-bodies.test.ts',
  'test/exports.test.ts',
  'test/server/embedding.test.ts',
  'test/server/shutdown.test.ts',
  'test/sessions/jwt.test.ts',
  'test/topics/schema.test.ts',
  'test/transports',
  'test/wire',
]

const [which = '', ...majors] = process.argv.slice(2)
if (!['quick', 'all'].includes(which) || majors.length === 0) {
  console.error('usage: node scripts/other-node.mjs quick|all MAJOR...')
  process.exit(2)
}
const failed = majors.filter(major => !passes(major))
if (failed.length > 0) console.error(`The tests failed on Node ${failed.join(' and ')}.`)
process.exitCode = failed.length > 0 ? 1 : 0

/** @param {string} major */
function passes(major) {
  const node = binary(major)
  const PATH = `${dirname(node)}${delimiter}${process.env.PATH}`
  const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs')
  const start = performance.now()
  const args = [vitest, 'run', ...(which === 'quick' ? QUICK : [])]
  const { status } = spawnSync(node, args, { cwd: ROOT, env: { ...process.env, PATH }, stdio: 'inherit' })
  console.log(`Node ${major}: ${status === 0 ? 'passed' : 'FAILED'} after ${seconds(start)} s`)
  return status === 0
}

/** Installs it if it is not there. Returns its path. @param {string} major */
function binary(major) {
  const folder = join(ROOT, '.hubline', `node-${major}`)
  const name = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`
  const path = join(folder, 'node_modules', name, 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
  if (existsSync(path)) return path
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{}')
  const npm = [
    'install',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
    '--install-strategy=hoisted',
    `${name}@${major}`,
  ]
  const { status } = spawnSync('npm', npm, { cwd: folder, stdio: 'inherit', shell: process.platform === 'win32' })
  if (status !== 0 || !existsSync(path)) throw new Error(`Node ${major} could not be installed: ${path} is missing`)
  return path
}

/** @param {number} start */
function seconds(start) {
  return Math.round((performance.now() - start) / 1000)
}
