// What users with several devices cost in the core: time for each operation, and memory for each client. `npm run bench:users`
import { cpus, release } from 'node:os'
import { bestEffort, createHub } from 'hubline'

const SIZES = [1000, 10_000, 100_000]
const DEVICES = 2
/** So many of an operation are timed, at every size the same, spread over all users. */
const SAMPLES = 1000
const ROUNDS = 5
const TARGET_BYTES = 1536
/** An operation at 100,000 users may cost so much more than at 1,000: memory that has left the cache, and no more. */
const TARGET_RATIO = 10

/** Takes everything and says so: what is left is the cost of the hub. */
class Sink {
  protocol = 'sink'
  codec = codec
  write() {
    return 'ok'
  }
  close() {}
}
const codec = {
  name: 'sink',
  encode: ({ payload }) => payload,
  direct: ({ payload }) => payload,
  concat: (frames, bytes) => Buffer.concat(frames, bytes),
}

const LIMITS = { maxClients: 1_000_000, maxTopics: 1_000_000 }
const id = (user, device) => `u${user}-${device}`

/** Microseconds for each of `count` calls. */
function timed(count, step) {
  const began = performance.now()
  for (let i = 0; i < count; i++) step(i)
  return ((performance.now() - began) * 1000) / count
}

/** A hub with so many users, all on one topic, and what each operation took. */
async function measure(users) {
  const hub = createHub({ policy: bestEffort(), limits: LIMITS })
  const session = Array.from({ length: users + SAMPLES }, (_, user) => ({ user: `user-${user}` }))
  const connect = (user, device) => hub.registerClient(id(user, device), new Sink(), { session: session[user] })
  for (let user = 0; user < users; user++) {
    for (let device = 0; device < DEVICES; device++) {
      connect(user, device)
      hub.subscribe(id(user, device), 'news')
    }
  }
  // Users that are not neighbours in memory.
  const step = Math.max(1, Math.floor(users / SAMPLES))
  const some = Array.from({ length: SAMPLES }, (_, i) => (i * step) % users)
  const names = some.map(user => `user-${user}`)
  const times = {
    register: timed(SAMPLES, i => connect(users + i, 0)),
    subscribe: timed(SAMPLES, i => hub.subscribe(id(users + i, 0), 'news')),
    isOnline: timed(SAMPLES, i => hub.isOnline(names[i])),
    connectionsOf: timed(SAMPLES, i => hub.connectionsOf(names[i])),
  }
  const payload = Buffer.alloc(128)
  const began = performance.now()
  const sent = await Promise.all(names.map(name => hub.sendToUser(name, payload)))
  times.sendToUser = ((performance.now() - began) * 1000) / SAMPLES
  const reached = sent.reduce((sum, each) => sum + each.sent, 0)
  if (users >= SAMPLES && reached !== SAMPLES * DEVICES) throw new Error(`${reached} clients were sent to`)
  times.disconnectUser = timed(SAMPLES, i => hub.disconnectUser(`user-${users + i}`))
  await hub.close()
  return times
}

/** Heap and everything else that a client with one subscription keeps, without its connection and session. */
async function memory(users) {
  const clients = users * DEVICES
  const ids = Array.from({ length: clients }, (_, i) => id(i % users, Math.floor(i / users)))
  const sessions = Array.from({ length: users }, (_, user) => ({ user: `user-${user}` }))
  const connections = ids.map(() => new Sink())
  const kept = () => {
    for (let i = 0; i < 3; i++) globalThis.gc()
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
  const hub = createHub({ policy: bestEffort(), limits: LIMITS })
  // Classes and the topic are there before.
  hub.registerClient('first', new Sink())
  hub.subscribe('first', 'news')
  const before = kept()
  for (let i = 0; i < clients; i++) hub.registerClient(ids[i], connections[i], { session: sessions[i % users] })
  const registered = kept()
  for (let i = 0; i < clients; i++) hub.subscribe(ids[i], 'news')
  const subscribed = kept()
  for (let user = 0; user < users; user++) hub.disconnectUser(`user-${user}`)
  const after = kept()
  const figures = {
    registered: (registered - before) / clients,
    subscribed: (subscribed - before) / clients,
    left: (after - before) / clients,
  }
  await hub.close()
  return figures
}

function table(title, head, rows) {
  console.log(`\n${title}\n`)
  const width = head.map((name, i) => Math.max(name.length, ...rows.map(row => row[i].length)))
  for (const row of [head, width.map(each => '-'.repeat(each)), ...rows]) {
    console.log(`| ${row.map((cell, i) => cell.padEnd(width[i])).join(' | ')} |`)
  }
}

console.log(`Node ${process.version}, Linux ${release()}, ${cpus().length} × ${cpus()[0]?.model.trim()}`)
const figures = await memory(SIZES.at(-1))
const runs = new Map(SIZES.map(size => [size, []]))
// The first round is the compiler's.
for (let round = 0; round <= ROUNDS; round++) {
  for (const size of SIZES) {
    const times = await measure(size)
    if (round > 0) runs.get(size).push(times)
  }
}
const best = (size, operation) => Math.min(...runs.get(size).map(times => times[operation]))
const operations = ['register', 'subscribe', 'isOnline', 'connectionsOf', 'sendToUser', 'disconnectUser']
const ratios = operations.map(operation => best(SIZES.at(-1), operation) / best(SIZES[0], operation))
table(
  `µs for each operation, ${DEVICES} clients a user, the best of ${ROUNDS} rounds of ${SAMPLES}`,
  ['operation', ...SIZES.map(size => `${size.toLocaleString('en')} users`), 'ratio'],
  operations.map((operation, i) => [
    operation,
    ...SIZES.map(size => best(size, operation).toFixed(2)),
    ratios[i].toFixed(1),
  ]),
)
table(
  `Bytes for each of ${(SIZES.at(-1) * DEVICES).toLocaleString('en')} clients, without connection, id and session`,
  ['registered', 'with one subscription', 'after all have gone'],
  [[figures.registered, figures.subscribed, figures.left].map(bytes => bytes.toFixed(0))],
)
const met = (name, reached) => [name, reached ? 'met' : 'NOT MET']
table(
  'What it must reach',
  ['target', ''],
  [
    met(`a client with one subscription keeps less than ${TARGET_BYTES} bytes`, figures.subscribed < TARGET_BYTES),
    met(
      `no operation costs more than ${TARGET_RATIO} times as much with 100 times the users`,
      Math.max(...ratios) < TARGET_RATIO,
    ),
  ],
)
