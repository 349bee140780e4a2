// The packed package, as users install it: alone, and beside the oldest and the newest release of each peer that it allows.
// Usage: node scripts/check-package.mjs       Installs from the registry into temporary folders; about a minute.
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
const peers = ['fastify', 'ws', 'zod']
/** Only the command line, the demo and the development of Hubline need these. */
const NOT_INSTALLED = ['cli-table3', 'close-with-grace', 'commander', 'fast-png', 'fastify', 'koffi', 'pino', 'yaml']
/** On Node 20 npm warns of this one wherever Fastify is installed: its light-my-request asks for a cookie that asks for Node 22. */
const FASTIFYS_OWN = /package: 'cookie@2/
const STRICT = {
  ...{ target: 'es2023', module: 'nodenext', types: ['node'], strict: true, skipLibCheck: false },
  ...{ exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true },
}
const WARNINGS = /\bwarn\b|deprecated/i

const work = mkdtempSync(join(tmpdir(), 'hubline-package-'))
try {
  const tarball = pack()
  alone(tarball)
  for (const end of ['oldest', 'newest']) beside(tarball, end)
  console.log('The package installs, compiles and runs as its peer ranges say.')
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
} finally {
  rmSync(work, { recursive: true })
}

function pack() {
  const [{ filename }] = JSON.parse(
    run(ROOT, 'npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', work]),
  )
  return join(work, filename)
}

/** No peer but those that npm installs itself: the core works, and the command line names what it lacks. @param {string} tarball */
function alone(tarball) {
  const folder = project('alone', {})
  const warnings = install(folder, [tarball])
  if (warnings) throw new Error(`npm install hubline printed:\n${warnings}`)
  const installed = NOT_INSTALLED.filter(name => existsSync(join(folder, 'node_modules', name)))
  if (installed.length > 0) throw new Error(`npm install hubline installed ${installed.join(', ')}`)
  const entries = Object.keys(manifest.exports).filter(entry => !['./package.json', './redis'].includes(entry))
  for (const entry of entries) {
    const { stderr } = spawn(folder, 'node', ['-e', `require('${entry.replace(/^\./, 'hubline')}')`])
    if (stderr) throw new Error(`require of the entry ${entry} printed:\n${stderr}`)
  }
  const serve = spawn(folder, 'npx', ['--no-install', 'hubline', 'serve'])
  if (serve.status !== 1 || !/^hubline: .*npm install fastify.*\n$/.test(serve.stderr)) {
    throw new Error(`hubline serve without Fastify: expected one line that names it, got ${serve.stderr}`)
  }
  console.log('alone: no warning, nothing of the command line, every entry can be required')
}

/** @param {string} tarball @param {string} end */
function beside(tarball, end) {
  const versions = peers.map(name => [name, peerVersion(name, end)])
  const folder = project(end, { type: 'module' })
  const warnings = install(folder, [tarball, ...versions.map(([name, version]) => `${name}@${version}`)])
  const known = process.versions.node.startsWith('20.') && FASTIFYS_OWN.test(warnings)
  if (warnings && !known) throw new Error(`npm install hubline ${peers.join(' ')} printed:\n${warnings}`)
  for (const name of peers) onlyOne(folder, name)
  const types = ['typescript', '@types/node'].map(name => `${name}@${manifest.devDependencies[name]}`)
  install(folder, ['--save-dev', ...types])
  for (const file of ['embed.mts', 'require.cts'])
    copyFileSync(join(ROOT, 'scripts', 'package', file), join(folder, file))
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: STRICT, include: ['*.mts', '*.cts'] }))
  run(folder, 'npx', ['--no-install', 'tsc'])
  const embedded = JSON.parse(run(folder, 'node', ['embed.mjs']))
  if (embedded.eur !== 1.08 || embedded.own.clients !== 1) throw new Error(`embed.mjs: got ${JSON.stringify(embedded)}`)
  const required = run(folder, 'node', ['require.cjs']).trim()
  if (required !== Array(5).fill('function').join(' ')) throw new Error(`require.cjs: got ${required}`)
  run(folder, 'npx', ['--no-install', 'hubline', 'config', 'check'])
  serves(folder)
  const shown = peers.map(name => `${name} ${installedVersion(folder, name)}`).join(', ')
  console.log(`${end}: ${shown}: compiles strictly, embeds, subscribes, publishes, serves`)
}

/** @param {string} folder */
function serves(folder) {
  const program = `
import { spawn } from 'node:child_process'
const server = spawn(process.execPath, ['node_modules/hubline/dist/cli/main.js', 'demo', '--port', '0'])
const [, url] = await new Promise((resolve, reject) => {
  let said = ''
  server.stdout.on('data', text => { const found = /(http:\\S+)/.exec(said += text); if (found) resolve(found) })
  server.stderr.pipe(process.stderr)
  server.on('close', code => reject(new Error('ended with ' + code)))
})
const { status } = await fetch(url)
const ended = new Promise(resolve => server.on('close', resolve))
server.kill('SIGTERM')
console.log(JSON.stringify([status, await ended]))`
  const result = run(folder, 'node', ['--input-type=module', '-e', program]).trim()
  if (result !== '[200,0]') throw new Error(`hubline demo: expected [200,0], got ${result}`)
}

/** The lower end of a range such as ^5.6.0, or the range, of which npm takes the newest. @param {string} name @param {string} end */
function peerVersion(name, end) {
  const range = manifest.peerDependencies[name]
  return end === 'newest' ? range : range.replace(/^\^/, '')
}

/** A second copy would have types of its own. @param {string} folder @param {string} name */
function onlyOne(folder, name) {
  const nested = join(folder, 'node_modules', 'hubline', 'node_modules', name)
  if (existsSync(nested)) throw new Error(`${name} is installed twice: ${nested}`)
}

/** @param {string} folder @param {string} name */
function installedVersion(folder, name) {
  return JSON.parse(readFileSync(join(folder, 'node_modules', name, 'package.json'), 'utf8')).version
}

/** @param {string} name @param {object} content */
function project(name, content) {
  const folder = join(work, name)
  mkdirSync(folder)
  writeFileSync(join(folder, 'package.json'), JSON.stringify(content))
  return folder
}

/** What npm printed of warnings. @param {string} folder @param {readonly string[]} args */
function install(folder, args) {
  const { status, stdout, stderr } = spawn(folder, 'npm', ['install', '--no-audit', '--no-fund', ...args])
  if (status !== 0) throw new Error(`npm install ${args.join(' ')} failed:\n${stderr}`)
  // npm's own settings on this machine are not the package's business.
  const lines = `${stdout}${stderr}`.split('\n').filter(line => !line.includes('Unknown user config'))
  return lines.some(line => WARNINGS.test(line)) ? lines.join('\n') : ''
}

/** @param {string} folder @param {string} command @param {readonly string[]} args */
function run(folder, command, args) {
  const { status, stdout, stderr } = spawn(folder, command, args)
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} in ${folder} failed:\n${stdout}${stderr}`)
  return stdout
}

/** With this Node first, also for what npm and npx start. @param {string} cwd @param {string} command @param {readonly string[]} args */
function spawn(cwd, command, args) {
  const PATH = `${dirname(process.execPath)}${delimiter}${process.env.PATH}`
  // npm hands its settings down to what it runs: those of this repository are not a user's.
  const own = Object.entries(process.env).filter(([name]) => !/^npm_|^HUBLINE_/i.test(name))
  const env = { ...Object.fromEntries(own), PATH, NODE_OPTIONS: '' }
  return spawnSync(command, args, { cwd, env, encoding: 'utf8', shell: process.platform === 'win32' })
}
