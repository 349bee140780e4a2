import { existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { Failure, run, step } from './run.mjs'

/** @typedef {{version?: string, integrity?: string, optional?: boolean, os?: string[], cpu?: string[]}} Entry */

// All that a user's own npm settings, or those of the npm that runs this, could otherwise change: `NODE_ENV=production` and
// `--omit=dev` would leave out the compiler, `--omit=optional` its binary. No package of ours needs an install script.
const SETTINGS = [
  '--include=dev',
  '--include=optional',
  '--include=peer',
  '--ignore-scripts',
  '--install-strategy=hoisted',
  '--legacy-peer-deps=false',
  '--global=false',
  '--dry-run=false',
  '--package-lock-only=false',
  '--workspaces=false',
  '--audit=false',
  '--fund=false',
  '--loglevel=error',
]

/**
 * Why node_modules is not what package-lock.json says, or undefined where it is.
 * npm writes node_modules/.package-lock.json as the last act of an install, so one that was cut off has none.
 * @param {string} root
 * @returns {string | undefined}
 */
export function missingPackages(root) {
  const wanted = read(join(root, 'package-lock.json'))
  if (!wanted) throw new Failure('There is no package-lock.json: this is not a whole copy of Hubline.')
  const present = read(join(root, 'node_modules', '.package-lock.json'))
  if (!present) return existsSync(join(root, 'node_modules')) ? 'the last install was not finished' : 'none yet'
  if (!describes(wanted, read(join(root, 'package.json')))) return 'package.json and package-lock.json differ'
  for (const [path, entry] of entries(wanted)) {
    const there = present.packages[path]
    if (!there && entry.optional) continue
    if (!sameRelease(entry, there)) return `${nameOf(path)} ${entry.version} is not there yet`
  }
  for (const [path, entry] of entries(present)) {
    if (!existsSync(join(root, path, 'package.json'))) return `${nameOf(path)} is gone`
    if (!runsHere(entry)) return `${nameOf(path)} is for another platform`
  }
  return undefined
}

/**
 * @param {string} root
 * @param {string} reason
 */
export function installPackages(root, reason) {
  step(`Installing packages (npm ci; ${reason})`, () => run('npm ci', ...npm(['ci', ...SETTINGS], root)))
  const missing = missingPackages(root)
  if (missing) throw new Failure(`npm ci said that all went well, but ${missing}.`)
}

/**
 * The npm that runs this script, if one does: it need not be the first on the PATH.
 * @param {string[]} args
 * @param {string} cwd
 * @returns {[string, string[], import('node:child_process').SpawnSyncOptions]}
 */
function npm(args, cwd) {
  const cli = process.env.npm_execpath
  if (cli && basename(cli) === 'npm-cli.js') return [process.execPath, [cli, ...args], { cwd }]
  // On Windows npm is a command file, which only a shell can start.
  return ['npm', args, { cwd, shell: process.platform === 'win32' }]
}

/** @param {string} file */
function read(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}

/**
 * Whether the lock has what package.json pins; if not, npm ci says what to do about it.
 * @type {(lock: any, manifest: any) => boolean}
 */
function describes(lock, manifest) {
  const pins = Object.entries({ ...manifest?.dependencies, ...manifest?.devDependencies })
  return pins.every(([name, pin]) => {
    const version = lock.packages[`node_modules/${name}`]?.version
    return version === pin || (version && !/^\d/.test(pin))
  })
}

/** @type {(lock: any) => [string, Entry][]} */
function entries(lock) {
  return Object.entries(lock.packages).filter(([path]) => path.startsWith('node_modules/'))
}

/** @type {(wanted: Entry, there: Entry | undefined) => boolean} */
function sameRelease(wanted, there) {
  if (wanted.version !== there?.version) return false
  return !wanted.integrity || !there?.integrity || wanted.integrity === there.integrity
}

/** A node_modules folder that came along from another machine, or into a container, has that one's binaries. */
function runsHere(/** @type {Entry} */ { os, cpu }) {
  return allows(os, process.platform) && allows(cpu, process.arch)
}

/** npm's rule for the fields os and cpu. @type {(list: string[] | undefined, value: string) => boolean} */
function allows(list, value) {
  if (!list || list.length === 0 || list.includes('any')) return true
  if (list.includes(`!${value}`)) return false
  return list.includes(value) || list.every(each => each.startsWith('!'))
}

/** @param {string} path */
function nameOf(path) {
  return path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
}
