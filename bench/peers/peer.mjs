// What the bench knows of a server under test. One file a peer; `all.mjs` lists them.

/**
 * What a client sends, and then waits for, both in latin1. Without `until` the next step follows at once.
 * @typedef {{ send: string, until?: string }} Step
 */

/** @typedef {'websocket' | 'client' | 'sse' | 'http'} Wire */

/**
 * What is to be started for one scenario.
 * @typedef {object} Start
 * @property {number} topics      `t0` to `t{topics - 1}` are used
 * @property {Wire} wire
 * @property {string} [policy]    Hubline's delivery policy
 * @property {number} [lingerMs]  Hubline's lingerMs of every topic
 * @property {number[]} [cpu]     cores that the server may use
 */

/**
 * @typedef {object} Server
 * @property {number} pid         of a process whose tree is the whole server
 * @property {number} port        where subscribers connect
 * @property {number} [publishPort]  where the publisher connects, if elsewhere
 * @property {() => void} [collect]  asks for a garbage collection, where there is a garbage collector
 * @property {() => Promise<void>} stop
 */

/**
 * @typedef {object} Peer
 * @property {string} name        short and unique: `ws`
 * @property {string} title       what it is: `ws, plain loop`
 * @property {() => string} version
 * @property {() => string | undefined} missing   why it cannot run here, and what to do about it
 * @property {Partial<Record<Wire, (topics: readonly number[]) => Step[]>>} subscribe  the opening dialogue of a subscriber to these topics
 * @property {(topics: number, wire: Wire) => { encoder: string, connections: Step[][] }} publish  the form of its messages (load/publisher.mjs) and its
 *   connections' dialogues; topics are spread over the connections
 * @property {boolean} [many]     a connection can have many topics
 * @property {(start: Start) => Promise<Server>} start
 */
export {}
