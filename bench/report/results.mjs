// What a run of the bench has found, as it is kept in docs/benchmarks/results.json. NaN becomes null there, so a figure that could not be
// taken may be either.

/**
 * perSecond and handshakesPerSecond: more is better. The others: less is better.
 * @typedef {'perSecond' | 'cpuMicros' | 'bytesPerConnection' | 'handshakesPerSecond' | 'cpuPerMegabyte'} Metric
 */

/**
 * The medians of one peer over the rounds of one scenario.
 * @typedef {object} PeerResult
 * @property {string} peer        the peer's name
 * @property {string} [label]     what tells it from another result of the same peer
 * @property {string} [wire]      what it spoke, where that is not the scenario's
 * @property {number} perSecond   deliveries
 * @property {number} cpuMicros   of the server, per delivery
 * @property {number} cpuShare    of the server; 1 is one core
 * @property {{ p50: number, p99: number, p999: number, max: number }} latencyMs
 * @property {number} loadCpu     of the load generator; 1 is one core
 * @property {number} deliveries
 * @property {number} expected
 * @property {number} lost        skipped, as the numbers of those that came show; like all that went wrong, of all rounds together
 * @property {number} disordered
 * @property {number} closed      connections that the server closed
 * @property {number} [missing]   never came, beside the lost; without it, what the medians tell
 * @property {number} [wantedPerSecond]  where it is not the scenario's, as some of the clients are not counted
 * @property {number} [bytesPerConnection]
 * @property {number} [handshakesPerSecond]
 * @property {number} [cpuPerMegabyte]  microseconds of the server per 10^6 bytes
 * @property {[lowest: number, highest: number]} spread  of the scenario's metric over the rounds
 */

/**
 * @typedef {object} Scenario
 * @property {string} name        short and unique; the chart's file is called so
 * @property {string} title
 * @property {string} text        one sentence
 * @property {string} wire
 * @property {string} [command]   where it was measured again by itself
 * @property {Metric} metric      what the peers are sorted by
 * @property {number} [wantedPerSecond]  deliveries, where the publisher is paced
 * @property {PeerResult[]} results
 */

/** @typedef {{ name: string, title: string, version: string }} PeerInfo */
/** @typedef {{ name: string, title: string, why: string }} Skipped */
/** @typedef {{ subscribers: number, cpuMicros: number, p99?: number }} ScalingPoint */

/**
 * @typedef {object} Target
 * @property {string} text
 * @property {string} measured
 * @property {string} wanted
 * @property {boolean | null} met  null: not measured in this run
 * @property {string} [why]       where it is not met, as Markdown
 */

/**
 * @typedef {object} Results
 * @property {string} date        2026-11-21
 * @property {string} command
 * @property {boolean} quick
 * @property {number} rounds
 * @property {{ cpu: string, cores: number, system: string, node: string }} machine
 * @property {PeerInfo[]} peers
 * @property {Skipped[]} skipped
 * @property {Scenario[]} scenarios
 * @property {ScalingPoint[]} scaling
 * @property {Target[]} targets
 * @property {string} [note]      what a reader should know of this run, as Markdown
 * @property {object} [core]      what the hub costs without sockets
 */
export {}
