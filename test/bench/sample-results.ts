import type { PeerResult, Results, Scenario } from '../../bench/report/results.mjs'

const result = (peer: string, perSecond: number, own: Partial<PeerResult> = {}): PeerResult => ({
  peer,
  perSecond,
  cpuMicros: 990_000 / perSecond,
  cpuShare: 0.99,
  latencyMs: { p50: 41.2, p99: 96.3, p999: 118, max: 131 },
  loadCpu: 0.81,
  deliveries: 2_000_000,
  expected: 2_000_000,
  lost: 0,
  disordered: 0,
  closed: 0,
  spread: [perSecond * 0.94, perSecond * 1.03],
  ...own,
})

const flood: Scenario = {
  name: 'flood-websocket',
  title: 'Flood, WebSocket',
  text: '1,000 subscribers of one topic; messages of 128 bytes as fast as the server takes them.',
  wire: 'websocket',
  metric: 'perSecond',
  results: [
    result('ws', 402_000),
    result('hubline', 1_764_312),
    result('uws', 1_002_450, { loadCpu: 0.93 }),
    result('bun', 948_000),
    result('socket.io', 211_000, { lost: 1204, closed: 3, deliveries: 1_998_796 }),
  ],
}

const paced: Scenario = {
  name: 'paced-websocket',
  title: 'Steady 100,000 deliveries a second',
  text: 'What a delivery costs when the server is not at its limit.',
  wire: 'websocket',
  metric: 'cpuMicros',
  wantedPerSecond: 100_000,
  results: [
    result('hubline', 100_000, {
      cpuMicros: 0.84,
      spread: [0.81, 0.9],
      latencyMs: { p50: 0.61, p99: 1.9, p999: 4.2, max: 9 },
    }),
    result('uws', 100_000, {
      cpuMicros: 0.71,
      spread: [0.69, 0.73],
      latencyMs: { p50: 0.55, p99: 1.4, p999: 3.1, max: 8 },
    }),
    result('ws', 99_900, { cpuMicros: 3.1, spread: [2.9, 3.3] }),
    result('socket.io', 71_000, {
      cpuMicros: 14.1,
      spread: [13.2, 15.8],
      latencyMs: { p50: 812, p99: 2410, p999: 2600, max: 2700 },
    }),
  ],
}

const memory: Scenario = {
  name: 'memory',
  title: 'Memory of 10,000 idle connections',
  text: 'Resident memory over that of the empty server.',
  wire: 'websocket',
  metric: 'bytesPerConnection',
  results: [
    result('ws', Number.NaN, { bytesPerConnection: 14_300, spread: [14_100, 14_600] }),
    result('hubline', Number.NaN, { bytesPerConnection: 9_800, spread: [9_700, 10_050] }),
    result('socket.io', Number.NaN, { bytesPerConnection: 61_000, spread: [59_000, 62_000] }),
    result('uws', Number.NaN, { bytesPerConnection: 850, spread: [820, 910] }),
    result('bun', Number.NaN, { bytesPerConnection: Number.NaN, spread: [Number.NaN, Number.NaN] }),
  ],
}

const handshakes: Scenario = {
  name: 'handshakes',
  title: 'Handshakes',
  text: '5,000 clients connect, 64 at a time.',
  wire: 'websocket',
  metric: 'handshakesPerSecond',
  results: [result('hubline', Number.NaN, { handshakesPerSecond: 6120, spread: [5900, 6300] })],
}

const snapshots: Scenario = {
  name: 'large-messages',
  title: 'Large messages, HTTP',
  text: '64 KiB to 50 subscribers.',
  wire: 'http',
  metric: 'cpuPerMegabyte',
  results: [
    result('hubline', 16_400, { cpuPerMegabyte: 214, spread: [209, 221] }),
    result('node:http', 9300, { cpuPerMegabyte: 377, spread: [371, 390] }),
  ],
}

/** As a run of the bench could give it. */
export const sample: Results = {
  date: '2026-11-21',
  command: 'npm run bench',
  quick: false,
  rounds: 5,
  machine: { cpu: 'AMD EPYC', cores: 2, system: 'Linux 6.18', node: '20.20.2' },
  peers: [
    { name: 'hubline', title: 'Hubline', version: '0.1.0, Node 20.20.2' },
    { name: 'ws', title: 'ws, plain loop', version: '8.23.0' },
    { name: 'socket.io', title: 'Socket.IO, rooms', version: '4.8.1' },
    { name: 'uws', title: 'uWebSockets.js, publish', version: '20.56.0' },
    { name: 'bun', title: 'Bun, publish', version: '1.3.3' },
    { name: 'node:http', title: 'node:http, plain loop', version: '20.20.2' },
  ],
  skipped: [{ name: 'nats', title: 'NATS server', why: 'no nats-server in PATH: install it, or set NATS_SERVER.' }],
  scenarios: [flood, paced, memory, handshakes, snapshots],
  scaling: [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000].map(subscribers => ({
    subscribers,
    cpuMicros: 0.52 + 38 / subscribers + subscribers / 60_000,
  })),
  targets: [
    { text: 'Flood, WebSocket: against the best peer', measured: '1.76 x', wanted: '1.50 x', met: true },
    { text: 'Steady pace: p99', measured: '1.90 ms', wanted: '1.50 ms', met: false },
    { text: 'SSE flood', measured: '–', wanted: '2.00 x', met: null },
  ],
}
export const scenarios = { flood, paced, memory, handshakes, snapshots }

/** The same with one result changed. */
export function changed(scenario: Scenario, peer: string, change: Partial<PeerResult>): Scenario {
  return { ...scenario, results: scenario.results.map(each => (each.peer === peer ? { ...each, ...change } : each)) }
}
