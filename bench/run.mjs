// Hubline beside its peers, in one run. `npm run bench -- --help`
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { cpus, release } from 'node:os'
import { parseArgs } from 'node:util'
import { contest, contestantsOf, wantedOf } from './contest.mjs'
import { measureCore } from './core.mjs'
import { peers } from './peers/all.mjs'
import { canPin } from './peers/process.mjs'
import { writeReport } from './report/page.mjs'
import { scenarioTable, targetsTable } from './report/table.mjs'
import { measureScaling } from './scaling.mjs'
import { scenarios } from './scenarios.mjs'
import { targetsOf } from './targets.mjs'

const HELP = `npm run bench -- [options]

Measures Hubline beside ws, Socket.IO, uWebSockets.js, Bun and, where they are installed (scripts/install-bench-peers.sh),
nchan, NATS, mosquitto and Icecast. The whole run takes about half an hour and rewrites docs/benchmarks.md.

  --quick            a taste of it: under a minute, fewer peers and scenarios, one round; documents nothing
  --only <names>     scenarios whose name begins with one of these, by comma, also scaling and core; documents nothing
  --peers <names>    only these peers, by comma (ours is always there); documents nothing
  --rounds <n>       rounds of each contestant, of which the median counts (default 5)
  --json <file>      writes the results there as well
  --merge <file>     puts the scenarios measured now into such a file's results, and rewrites docs/benchmarks.md; each of them says so
  --from <file>      measures nothing: rewrites docs/benchmarks.md from such a file
  (Every run leaves what it has found so far in bench/last-run.json, for --from and --merge.)
  --list             names of the scenarios and of the peers, and which are missing
`

const values = options({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    peers: { type: 'string' },
    rounds: { type: 'string' },
    json: { type: 'string' },
    from: { type: 'string' },
    merge: { type: 'string' },
    list: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  },
})
if (values.help) {
  console.log(HELP)
  process.exit()
}
const docs = new URL('../docs/', import.meta.url)
if (values.from) {
  const known = earlier(values.from)
  writeReport({ ...known, targets: targetsOf(known) }, docs)
  process.exit()
}
/** Of a quick run: the ones that come with npm, and of those the fastest and the one that everybody knows. */
const QUICK_PEERS = ['ws', 'bun']

const wanted = values.peers?.split(',') ?? (values.quick ? QUICK_PEERS : Object.keys(peers))
const unknown = wanted.filter(name => !peers[name])
if (unknown.length > 0) fail(`--peers: there is no ${unknown.join(', ')}; there are ${Object.keys(peers).join(', ')}`)
if (!values.list) installPeers()
const asked = Object.values(peers).filter(({ name }) => name === 'hubline' || wanted.includes(name))
const skipped = asked.filter(peer => peer.missing() !== undefined)
const present = asked.filter(peer => !skipped.includes(peer))
const only = values.only?.split(',')
const chosen = scenarios.filter(
  ({ name, quick }) => only?.some(start => name.startsWith(start)) ?? (!values.quick || quick),
)
if (chosen.length === 0 && !only?.some(name => name === 'scaling' || name === 'core'))
  fail(`--only: no scenario begins with ${values.only}; see --list`)
const rounds = Number(values.rounds ?? (values.quick ? 1 : 5))
if (!Number.isInteger(rounds) || rounds < 1) fail(`--rounds: a whole number from 1, not ${values.rounds}`)

for (const { title, missing } of skipped) console.error(`Without ${title}: ${missing()}`)
if (values.list) {
  for (const { name, title } of scenarios) console.log(`${name.padEnd(22)} ${title}`)
  for (const { name, title } of present) console.log(`${name.padEnd(22)} ${title}`)
  process.exit()
}
if (!canPin) console.error('Nothing is pinned to a core here (no taskset): server and load generator share them.')
if (cpus().length < 2) console.error('There is one core only: the load generator takes its time from the server.')

const began = performance.now()
const command = ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(' ')
const results = {
  date: new Date().toISOString().slice(0, 10),
  command,
  quick: values.quick,
  rounds,
  machine: { cpu: cpus()[0].model, cores: cpus().length, system: `Linux ${release()}`, node: process.version },
  peers: present.map(({ name, title, version }) => ({ name, title, version: version() })),
  skipped: skipped.map(({ name, title, missing }) => ({ name, title, why: missing() })),
  scenarios: [],
  scaling: [],
  targets: [],
}
const names = present.map(({ name }) => name)
for (const [i, scenario] of chosen.entries()) {
  const say = what => progress(`[${i + 1}/${chosen.length}] ${scenario.title}: ${what}`)
  if (contestantsOf(scenario, names).length === 0) continue
  progress(`[${i + 1}/${chosen.length}] ${scenario.title}`, true)
  const { name, title, text, wire, metric } = scenario
  const wantedPerSecond = wantedOf(scenario)
  const shown = { name, title, text, wire, metric, ...(wantedPerSecond && { wantedPerSecond }) }
  results.scenarios.push({ ...shown, results: await contest(scenario, { names, rounds, say }) })
  keep()
  progress('')
  for (const line of scenarioTable(results.scenarios.at(-1), results.peers)) console.log(line)
}
if (only?.includes('scaling') ?? !values.quick) {
  progress('What a delivery costs, by the number of subscribers', true)
  results.scaling = await measureScaling(rounds, what => progress(`What a delivery costs: ${what}`))
}
if (only?.includes('core') ?? !values.quick) {
  results.core = await measureCore(what => progress(`In one process: ${what}`))
}
keep()
if (values.merge) merge(earlier(values.merge))
results.targets = targetsOf(results)
progress('')
for (const line of targetsTable(results.targets.filter(({ met }) => met !== null))) console.log(line)
console.log(`${Math.round((performance.now() - began) / 1000)} s`)
if (values.json) writeFileSync(values.json, JSON.stringify(results, null, 2))
if (values.merge || (!values.quick && only === undefined && values.peers === undefined)) {
  writeReport(results, docs)
  console.log('docs/benchmarks.md and its charts are rewritten.')
}
process.exit()

/** A run is long, and what it has found so far is not to be lost with it: `--from` makes a page of it. */
function keep() {
  writeFileSync(new URL('last-run.json', import.meta.url), JSON.stringify(results, null, 2))
}

/** A scenario is measured whole, all its contestants in turn, so it may stand beside others of another hour. */
function merge(known) {
  const again = new Map(results.scenarios.map(scenario => [scenario.name, { ...scenario, command }]))
  const { scaling, core } = results
  Object.assign(results, known, scaling.length > 0 && { scaling }, core && { core })
  results.scenarios = known.scenarios.map(scenario => again.get(scenario.name) ?? scenario)
}

/** What the peers need is not what the hub needs: it is installed here and not by `npm install`. */
function installPeers() {
  const folder = new URL('peers/', import.meta.url)
  const done = new URL('node_modules/.package-lock.json', folder)
  const lock = new URL('package-lock.json', folder)
  if (existsSync(done) && statSync(done).mtimeMs >= statSync(lock).mtimeMs) return
  console.error('Installing the peers into bench/peers (116 MB, most of it Bun) ...')
  const { status } = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: folder,
    stdio: ['ignore', 2, 2],
  })
  if (status !== 0) console.error('That failed: only what is there already takes part.')
}

function options(settings) {
  try {
    return parseArgs(settings).values
  } catch (error) {
    return fail(`${error.message}; see --help`)
  }
}

/** The results that an earlier run has written. */
function earlier(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    return fail(`${file}: no results of a run can be read there (${error.code ?? error.message})`)
  }
}

/** On a terminal one line that changes; in a file a line for each scenario. */
function progress(line, always = process.stderr.isTTY) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`)
  else if (line && always) process.stderr.write(`${line}\n`)
}

function fail(message) {
  console.error(message)
  process.exit(2)
}
