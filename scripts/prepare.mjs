// What `npm start` and `npm test` need before they run: the packages of the lockfile, and a build newer than its sources.
// Plain Node, no packages: it is what installs them. Quiet and quick when there is nothing to do.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const inRoot = (...path) => join(root, ...path)
const stamp = inRoot('node_modules', '.hubline-lock')
const built = inRoot('dist', '.built')

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 19)) {
  fail(`Hubline needs Node 20.19 or newer; this is ${process.version}.`)
}
install()
build()

/** The stamp is written last, so that an install that was cut off is done again. */
function install() {
  const lock = createHash('sha256')
    .update(readFileSync(inRoot('package-lock.json')))
    .digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return
  console.log('Installing packages (npm ci), about half a minute the first time ...')
  // npm's own settings for this run must not leave out what the build needs.
  run('npm', ['ci', '--include=dev', '--no-audit', '--no-fund'])
  writeFileSync(stamp, lock)
}

function build() {
  const since = existsSync(built) ? statSync(built).mtimeMs : 0
  const inputs = ['src', 'package.json', 'tsconfig.json', 'tsconfig.build.json'].map(path => newest(inRoot(path)))
  if (existsSync(built) && Math.max(...inputs, statSync(stamp).mtimeMs) <= since) return
  console.log('Building (tsc) ...')
  run(process.execPath, [inRoot('node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.build.json'])
  mkdirSync(inRoot('dist'), { recursive: true })
  writeFileSync(built, '')
}

/** When a file, or the youngest file or folder below, was changed, in ms. */
function newest(path) {
  const stat = statSync(path)
  if (!stat.isDirectory()) return stat.mtimeMs
  return Math.max(stat.mtimeMs, ...readdirSync(path).map(name => newest(join(path, name))))
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] })
  if (error) fail(`${command} could not be started: ${error.message}`)
  if (status !== 0) fail(`${[command, ...args].join(' ')} failed (exit code ${status}); its own message is above.`)
}

function fail(sentence) {
  console.error(sentence)
  process.exit(1)
}
