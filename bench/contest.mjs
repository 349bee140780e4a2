// Runs one scenario: starts its contestants, lets their rounds alternate, and takes medians.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { processTree, residentBytes } from './load/usage.mjs'
import { peers } from './peers/all.mjs'
import { pinned, started } from './peers/process.mjs'

/** The server has the first core, the load generator the second. */
const SERVER = [0]
const LOAD = [1]
const STALL_MS = 4000

/** Who takes part: every peer that is there and speaks the wire, ours first. */
export function contestantsOf(scenario, names) {
  const takesPart = peer =>
    peer !== undefined &&
    names.includes(peer.name) &&
    (scenario.peers?.includes(peer.name) ?? true) &&
    !scenario.without?.includes(peer.name) &&
    wireOf(peer, scenario.wire) !== undefined &&
    (!scenario.many || peer.many)
  const own = Object.values(peers)
    .filter(takesPart)
    .map(({ name }) => ({ peer: name }))
  return [...own, ...(scenario.more ?? []).filter(({ peer }) => takesPart(peers[peer]))]
}

/** Without a client protocol of its own a peer takes a WebSocket. */
function wireOf(peer, wire) {
  if (peer.subscribe[wire]) return wire
  return wire === 'client' && peer.subscribe.websocket ? 'websocket' : undefined
}

/** A server and its load generator. */
class Stand {
  constructor(contestant, scenario) {
    this.contestant = contestant
    this.peer = peers[contestant.peer]
    this.scenario = scenario
    this.wire = wireOf(this.peer, scenario.wire)
    this.rounds = []
  }

  async open() {
    const { topics } = this.scenario
    const { policy, lingerMs } = this.contestant
    this.server = await this.peer.start({ cpu: SERVER, topics, wire: this.wire, policy, lingerMs })
    const [command, args] = pinned(LOAD, process.execPath, [])
    this.load = started(fork(new URL('load/load.mjs', import.meta.url), [], { execPath: command, execArgv: args }))
    this.died = once(this.load, 'exit').then(([code]) => {
      throw new Error(`the load generator of ${this.peer.name} ended with ${code}`)
    })
    // At the end it is killed, and nobody waits any more.
    this.died.catch(() => {})
  }

  async ask(order) {
    this.load.send(order)
    const [answer] = await Promise.race([once(this.load, 'message'), this.died])
    if (answer.error) throw new Error(`${this.peer.name}: ${answer.error}`)
    return answer.ok
  }

  connect(clients = this.scenario.clients, publishes = true) {
    const { topics, topicsEach, payloadBytes } = this.scenario
    const { port, publishPort } = this.server
    const order = {
      peer: this.peer.name,
      wire: this.wire,
      port,
      publishPort,
      clients,
      topics,
      topicsEach,
      payloadBytes,
    }
    return this.ask({ order: 'connect', publishes, ...order })
  }

  async resident() {
    this.server.collect?.()
    await pause(700)
    return residentBytes(processTree(this.server.pid))
  }

  async close() {
    this.load?.kill('SIGKILL')
    await this.server?.stop()
  }

  /** Medians of the rounds; the spread is that of the metric. */
  result(metric) {
    const { contestant, rounds } = this
    const median = pick => sorted(rounds.map(pick))[Math.floor(rounds.length / 2)]
    const sum = key => rounds.reduce((all, round) => all + (round[key] ?? 0), 0)
    const figures = Object.fromEntries(
      Object.keys(rounds[0])
        .filter(key => typeof rounds[0][key] === 'number')
        .map(key => [key, median(round => round[key])]),
    )
    const { latencyMs } = rounds[0]
    return {
      peer: contestant.peer,
      ...(contestant.label && { label: contestant.label }),
      ...(contestant.stalled && {
        wantedPerSecond: wantedOf(this.scenario) * (1 - contestant.stalled / this.scenario.clients),
      }),
      wire: this.wire,
      ...figures,
      ...(latencyMs && {
        latencyMs: Object.fromEntries(Object.keys(latencyMs).map(key => [key, median(round => round.latencyMs[key])])),
      }),
      // What went wrong in any round went wrong.
      ...Object.fromEntries(['lost', 'disordered', 'closed', 'missing'].map(key => [key, sum(key)])),
      spread: [Math.min(...rounds.map(round => round[metric])), Math.max(...rounds.map(round => round[metric]))],
    }
  }
}

/** Deliveries a second that a paced publisher asks for. */
export const wantedOf = ({ round, clients, topics, topicsEach }) =>
  round.rate && (round.rate * clients * topicsEach) / topics

const sorted = numbers => numbers.toSorted((a, b) => a - b)

/**
 * @param {import('./scenarios.mjs').Scenario} scenario
 * @param {{ names: string[], rounds: number, say: (what: string) => void }} options
 */
export async function contest(scenario, { names, rounds, say }) {
  const stands = contestantsOf(scenario, names).map(contestant => new Stand(contestant, scenario))
  try {
    if (scenario.kind === 'memory') await oneAfterTheOther(stands, say)
    else await inTurn(stands, rounds, say)
    return stands.map(stand => stand.result(scenario.metric))
  } finally {
    for (const stand of stands) await stand.close()
  }
}

const told = ({ contestant: { peer, label } }) => (label ? `${peer} (${label})` : peer)

async function oneAfterTheOther(stands, say) {
  for (const stand of stands) {
    say(`${told(stand)}: ${stand.scenario.clients} connections`)
    stand.rounds.push(await memory(stand))
    await stand.close()
  }
}

/**
 * A handshake runs far more code than a delivery, and a round has far fewer of them: a server in JavaScript doubles its
 * rate until the fifth round, and one round is over in 0.1 s.
 */
const HANDSHAKES = { warmUps: 5, rounds: 5 }

async function inTurn(stands, rounds, say) {
  for (const stand of stands) {
    say(`${told(stand)}: starting`)
    await stand.open()
    if (stand.scenario.kind === 'fan-out') await prepare(stand)
  }
  const { scenario } = stands[0]
  const least = scenario.kind === 'handshakes' ? HANDSHAKES : { warmUps: rounds > 1 ? 2 : 1, rounds: 1 }
  const count = Math.max(rounds, least.rounds)
  // Rounds that are run and forgotten: compilers warm up, buffers grow.
  for (let i = -least.warmUps; i < count; i++) {
    for (const stand of stands) {
      say(`${told(stand)}: ${i < 0 ? 'warming up' : `round ${i + 1} of ${count}`}`)
      const round = stand.scenario.kind === 'handshakes' ? await handshakes(stand) : await fanOut(stand)
      if (i >= 0) stand.rounds.push(round)
    }
  }
}

async function prepare(stand) {
  await stand.connect()
  const { stalled } = stand.contestant
  if (!stalled) return
  await stand.ask({ order: 'stall', count: stalled })
  // Until their buffers and the kernel's are full, a stalled client is one like the others.
  await fanOut(stand, { ...stand.scenario.round, seconds: STALL_MS / 1000 })
}

async function fanOut(stand, round = stand.scenario.round) {
  const report = await stand.ask({ order: 'round', pid: stand.server.pid, ...round })
  const megabytes = (report.deliveries * stand.scenario.payloadBytes) / 1e6
  return {
    ...report,
    // What came a round late is not made up for by it.
    missing: Math.max(0, report.expected - report.deliveries - report.lost),
    cpuPerMegabyte: (report.cpuMicros * report.deliveries) / megabytes,
  }
}

async function handshakes(stand) {
  const report = await stand.connect(stand.scenario.clients, false)
  await stand.ask({ order: 'close' })
  await pause(300)
  return report
}

async function memory(stand) {
  await stand.open()
  await stand.connect(Math.ceil(stand.scenario.clients / 5), false)
  await stand.ask({ order: 'close' })
  await pause(500)
  const before = await stand.resident()
  const { handshakesPerSecond } = await stand.connect(stand.scenario.clients, false)
  const after = await stand.resident()
  return { bytesPerConnection: (after - before) / stand.scenario.clients, handshakesPerSecond }
}
