// What Hubline has set itself, as ratios within one run.

const PER_KB = 1024

/** What the profiles say of those that were not met; Markdown. */
const WHY = {
  saturated:
    'all that keep up fill their core at this rate, and a core divided by 500,000 deliveries is 2 µs: the first four differ by 2 %, which is less than one run differs from the next.',
  oneByOne:
    'about 5 µs of a delivery are the kernel’s (the write system call, for all servers alike). What is left is half a microsecond in Bun and 1 to 2 here: the call from JavaScript into Node and libuv, and presumably memory of another client, which has left the cache since its last message ([decision 9](decisions/0009-below-the-stream.md)).',
  crowd:
    'presumably memory (the counters that would show it are not to be had on this machine): with thousands of clients that of each has left the cache by its next message, and a client is more memory here (its link, outbox, connection, Node’s socket) than in Bun.',
  frames:
    'a tenth to a sixth is V8’s marking (`--trace-gc`: a major collection every 3 to 6 seconds). Buffers of 64 KB count as memory pressure, and each time the whole heap is marked: 18 MB with Fastify, zod and pino.',
  linger:
    'lingering for 25 ms costs up to 25 ms, by definition. Icecast is given a format here that it passes on at once.',
  handshakes:
    'Fastify’s routing and hooks, a response object, and registration with its events, and the garbage of it.',
  topics:
    '1.7 to 2.6 from run to run on this machine; each publication is alone on its topic and pays for a message, a batch and a result of its own. Not profiled further.',
  scaling:
    'it is flat from 100 on; 10 clients are cheaper, presumably for their memory stays in the cache and at 2,000 messages a second some of them share a write.',
  streams:
    'the scenarios of two protocols are minutes apart, and their other peers differ as well; compare within a scenario. An event of SSE is also half as long again as the frame.',
}

/** @returns {import('./report/results.mjs').Target[]} */
export function targetsOf({ scenarios, scaling, core }) {
  const find = name => scenarios.find(scenario => scenario.name === name)?.results
  const figure = (name, peer, key, label) => {
    const found = find(name)?.find(result => result.peer === peer && result.label === label)
    return key.split('.').reduce((value, part) => value?.[part], found)
  }
  const ratio = (name, peer, key, other = name) => figure(name, 'hubline', key) / figure(other, peer, key)
  const own = (name, of, key) => figure(name, 'hubline', key) / figure(of, 'hubline', key)
  const best = (name, key) =>
    Math.min(...['uws', 'bun'].map(peer => figure(name, peer, key)).filter(value => value !== undefined))
  const pacedBest = key => figure('paced-1000-websocket', 'hubline', key) / best('paced-1000-websocket', key)
  const steady = key => label =>
    figure('stalled-websocket', 'hubline', key, label) / figure('stalled-websocket', 'hubline', key)

  return [
    atLeast('Flood: deliveries a second, of Bun', ratio('flood-websocket', 'bun', 'perSecond'), 1.5),
    atLeast('Flood: deliveries a second, of the plain ws loop', ratio('flood-websocket', 'ws', 'perSecond'), 25),
    atLeast(
      '1,000/s to 500: share of the 500,000/s',
      figure('paced-1000-websocket', 'hubline', 'perSecond') / 500_000,
      0.98,
    ),
    atMost('1,000/s to 500: p99, of the better of Bun and uWebSockets.js', pacedBest('latencyMs.p99'), 1.5),
    atMost('1,000/s to 500: CPU, of the better of Bun and uWebSockets.js', pacedBest('cpuMicros'), 1, WHY.saturated),
    atMost(
      '100/s to 500: CPU per delivery, of Bun',
      ratio('paced-100-websocket', 'bun', 'cpuMicros'),
      1.15,
      WHY.oneByOne,
    ),
    atMost(
      '100/s to 500: CPU per delivery, of the plain ws loop',
      ratio('paced-100-websocket', 'ws', 'cpuMicros'),
      0.8,
      WHY.oneByOne,
    ),
    atMost('10/s to 5,000: CPU per delivery, of Bun', ratio('paced-10-websocket', 'bun', 'cpuMicros'), 1.2, WHY.crowd),
    atMost('10/s to 5,000: p99, of Bun', ratio('paced-10-websocket', 'bun', 'latencyMs.p99'), 1.2, WHY.crowd),
    atMost('64 KB frames: CPU per MB, of Bun', ratio('frames-websocket', 'bun', 'cpuPerMegabyte'), 1.1, WHY.frames),
    ...['buffered', 'drop-slow'].flatMap(policy => [
      atMost(
        `One in ten stalled, ${policy}: p99 of the others, of no stall`,
        steady('latencyMs.p99')(`${policy}, 10 % stalled`),
        1.1,
      ),
      atLeast(
        `One in ten stalled, ${policy}: deliveries to the others, share`,
        shareOf(find, `${policy}, 10 % stalled`),
        0.9,
      ),
    ]),
    ...['sse', 'http'].flatMap(wire => [
      atLeast(
        `Flood over ${wire}: deliveries a second, of our WebSocket`,
        own(`flood-${wire}`, 'flood-websocket', 'perSecond'),
        0.85,
      ),
      atMost(
        `100/s to 500 over ${wire}: CPU, of our WebSocket`,
        own(`paced-100-${wire}`, 'paced-100-websocket', 'cpuMicros'),
        1.15,
        WHY.streams,
      ),
    ]),
    atMost('Radio, lingerMs 25: CPU per delivery, of Icecast', radio(figure, 'cpuMicros'), 1),
    atMost('Radio, lingerMs 25: p99, of Icecast', radio(figure, 'latencyMs.p99'), 0.5, WHY.linger),
    ...['websocket', 'sse', 'http'].map(wire =>
      atMost(
        `Idle memory, ${wire}: KB a connection`,
        figure(`memory-${wire}`, 'hubline', 'bytesPerConnection') / PER_KB,
        9,
      ),
    ),
    atLeast(
      'Handshakes a second, of plain ws',
      ratio('handshakes-websocket', 'ws', 'handshakesPerSecond'),
      0.75,
      WHY.handshakes,
    ),
    atMost('Publish with no subscriber: microseconds', core?.publishMicros, 2),
    atMost('100,000 topics, publish to each: microseconds', core?.topicMicros, 2, WHY.topics),
    atMost('An idle topic: bytes', core?.topicBytes, 1024),
    atMost('The same after it is forgotten: bytes', core?.leftBytes, 50),
    atMost(
      'CPU per delivery, 10 to 20,000 subscribers: dearest, of the cheapest',
      flatness(scaling),
      1.25,
      WHY.scaling,
    ),
  ]
}

function shareOf(find, label) {
  const all = find('stalled-websocket')
  const of = wanted => all?.find(({ peer, label: its }) => peer === 'hubline' && its === wanted)
  const [stalled, steady] = [of(label), of(undefined)]
  return stalled && steady && stalled.perSecond / 90 / (steady.perSecond / 100)
}

function radio(figure, key) {
  return figure('radio-http', 'hubline', key, 'lingerMs 25') / figure('radio-http', 'icecast', key)
}

function flatness(scaling) {
  const costs = scaling.map(({ cpuMicros }) => cpuMicros)
  return costs.length > 0 ? Math.max(...costs) / Math.min(...costs) : undefined
}

const atLeast = (text, value, limit, why) => target({ text, value, wanted: `at least ${limit}`, why }, value >= limit)
const atMost = (text, value, limit, why) => target({ text, value, wanted: `at most ${limit}`, why }, value <= limit)

/** Not measured where a peer or a scenario was left out. */
function target({ text, value, wanted, why }, met) {
  const known = Number.isFinite(value)
  const missed = known && !met
  return {
    text,
    measured: known ? shown(value) : 'not measured',
    wanted,
    met: known ? met : null,
    ...(missed && why && { why }),
  }
}

function shown(value) {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}
