// What is measured. A contestant is a server in one configuration; in each scenario all of them are up at once, and their rounds
// alternate, so that what else the machine does hits all alike.

/** @typedef {import('./peers/peer.mjs').Wire} Wire */

/**
 * @typedef {object} Contestant
 * @property {string} peer
 * @property {string} [label]    told apart from another of the same peer
 * @property {string} [policy]
 * @property {number} [lingerMs]
 * @property {number} [stalled]  so many of the clients stop reading before the rounds begin
 */

/**
 * @typedef {object} Scenario
 * @property {string} name
 * @property {string} title
 * @property {string} text
 * @property {Wire} wire         peers that have no client protocol of their own take part in `client` with a WebSocket
 * @property {'fan-out' | 'handshakes' | 'memory'} kind
 * @property {'perSecond' | 'cpuMicros' | 'bytesPerConnection' | 'handshakesPerSecond' | 'cpuPerMegabyte'} metric
 * @property {number} clients
 * @property {number} topics
 * @property {number} topicsEach topics of one client
 * @property {number} payloadBytes
 * @property {{ messages?: number, rate?: number, seconds?: number, churn?: number }} round
 * @property {readonly string[]} [peers]  only these, if it is not for all that speak the wire
 * @property {readonly string[]} [without]  these cannot take part, which the text says why
 * @property {readonly Contestant[]} [more]  ours in other configurations
 * @property {boolean} [many]    a client needs many topics on its connection
 * @property {boolean} [quick]   also in the quick run
 */

const WIRES = /** @type {const} */ ({
  websocket: 'WebSocket',
  client: 'client protocol',
  sse: 'SSE',
  http: 'raw HTTP',
})
const base = { kind: 'fan-out', metric: 'cpuMicros', topics: 1, topicsEach: 1, payloadBytes: 128 }

/** Fast ones that have something to say about a client protocol; the others would be measured as WebSocket once more. */
const CLIENT_PEERS = ['hubline', 'socket.io', 'bun', 'nats']
/** mosquitto takes minutes to connect so many. */
const CROWDED = { without: ['mosquitto'] }

/** One scenario for each protocol. */
function onEach(wires, scenario) {
  return wires.map(wire => ({
    ...base,
    ...scenario,
    wire,
    name: `${scenario.name}-${wire}`,
    title: `${scenario.title}, ${WIRES[wire]}`,
    quick: scenario.quick && wire === 'websocket',
    ...(wire === 'client' && { peers: CLIENT_PEERS }),
  }))
}
const ALL = /** @type {const} */ (['websocket', 'client', 'sse', 'http'])

/** @type {readonly Scenario[]} */
export const scenarios = [
  ...onEach(ALL, {
    name: 'flood',
    title: 'Flood',
    text: '500 messages of 128 bytes are published in one burst to 1,000 subscribers of a topic; the clock stops with the last of the 500,000 deliveries.',
    metric: 'perSecond',
    clients: 1000,
    round: { messages: 500 },
    quick: true,
  }),
  ...onEach(ALL, {
    name: 'paced-1000',
    title: '1,000 messages a second to 500',
    text: 'Half a million deliveries a second are wanted, which one write a delivery cannot reach on one core. mosquitto does not take part: it delivers a fifth of it and queues the rest.',
    without: ['mosquitto'],
    clients: 500,
    round: { rate: 1000, seconds: 1.5 },
    quick: true,
  }),
  ...onEach(ALL, {
    name: 'paced-100',
    title: '100 messages a second to 500',
    text: 'One message at a time: there is nothing to gather, every delivery is a write.',
    clients: 500,
    round: { rate: 100, seconds: 2 },
    quick: true,
  }),
  ...onEach(['websocket', 'sse'], {
    name: 'paced-10',
    ...CROWDED,
    title: '10 messages a second to 5,000',
    text: 'A large audience: how long until the last of 5,000 has it?',
    clients: 5000,
    round: { rate: 10, seconds: 2 },
  }),
  ...onEach(['websocket', 'http'], {
    name: 'frames',
    title: 'Frames of 64 KB, 30 a second to 100',
    text: 'Video: 197 MB a second leave the server. A frame is never copied for a client.',
    metric: 'cpuPerMegabyte',
    clients: 100,
    payloadBytes: 65_536,
    round: { rate: 30, seconds: 2 },
  }),
  ...onEach(['websocket'], {
    name: 'topics',
    ...CROWDED,
    title: '1,000 topics with 10 subscribers each',
    text: '5,000 messages a second in all, topics in turn, to 10,000 connections.',
    clients: 10_000,
    topics: 1000,
    round: { rate: 5000, seconds: 1.5 },
  }),
  ...onEach(['client', 'sse'], {
    name: 'many-topics',
    title: '200 clients on the same 100 topics',
    text: '1,000 messages a second in all, topics in turn; one connection a client. One write carries what a tick has for a client, whatever the topic.',
    clients: 200,
    topics: 100,
    topicsEach: 100,
    many: true,
    round: { rate: 1000, seconds: 1.5 },
  }),
  ...onEach(['websocket'], {
    name: 'stalled',
    title: 'One client in ten stalls',
    text: '100 subscribers of 100 messages of 16 KB a second; 10 of them stop reading 4 seconds before. Counted are the other 90.',
    clients: 100,
    payloadBytes: 16_384,
    peers: ['hubline', 'ws', 'uws', 'bun'],
    more: [
      { peer: 'hubline', label: 'buffered, 10 % stalled', policy: 'buffered', stalled: 10 },
      { peer: 'hubline', label: 'drop-slow, 10 % stalled', policy: 'drop-slow', stalled: 10 },
      { peer: 'ws', label: '10 % stalled', stalled: 10 },
      { peer: 'bun', label: '10 % stalled', stalled: 10 },
    ],
    round: { rate: 100, seconds: 1.5 },
  }),
  ...onEach(['websocket'], {
    name: 'churn',
    ...CROWDED,
    title: 'Churn',
    text: '100 messages a second to 500, while 200 others join and 200 leave each second.',
    clients: 500,
    round: { rate: 100, seconds: 2, churn: 200 },
  }),
  ...onEach(['http'], {
    name: 'radio',
    title: 'Radio: 40 chunks of 400 bytes a second to 1,000',
    text: 'What Icecast is made for. It gathers by polling; a topic of ours may linger (`lingerMs`), with a bound.',
    clients: 1000,
    payloadBytes: 400,
    more: [25, 50, 100].map(lingerMs => ({ peer: 'hubline', label: `lingerMs ${lingerMs}`, lingerMs })),
    round: { rate: 40, seconds: 2.5 },
  }),
  ...onEach(ALL, {
    name: 'handshakes',
    title: 'Handshakes',
    text: '2,000 clients connect and subscribe, 64 at a time; how many a second? Icecast does not take part, whose listeners wait for a source, nor mosquitto, which takes minutes.',
    without: ['icecast', 'mosquitto'],
    kind: 'handshakes',
    metric: 'handshakesPerSecond',
    clients: 2000,
    round: {},
    quick: true,
  }),
  ...onEach(ALL, {
    name: 'memory',
    ...CROWDED,
    title: 'Memory of an idle connection',
    text: 'Resident memory of the server with 10,000 idle subscribers, less that before they came, after a garbage collection where there is one; the kernel’s buffers are not in it.',
    kind: 'memory',
    metric: 'bytesPerConnection',
    clients: 10_000,
    round: {},
  }),
]

/** Subscribers of one topic, for the chart of what a delivery costs; the most may be fewer where the system limits open files. */
export const SCALING = [10, 100, 1000, 5000, 20_000]
