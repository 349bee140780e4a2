import { drawDelays } from './chart.js'
import { bytes, duration, find, limit, RETRY_MS, setState, setText, terms } from './page.js'
import { makeSpeed } from './speed.js'

/** Samples a second, and how many a chart shows. */
const RATE = 5
const PLACES = 60 * RATE
/** The scale of the charts never goes below this delay, in ms. */
const LEAST_SCALE = 1000

const EXPLAINED = {
  'best-effort': () =>
    'Sends what can go at once; what comes while the client is busy is lost, and the client is told.',
  latest: () => 'Keeps only the newest message while the client is busy: it skips ahead and stays fresh.',
  buffered: ({ bytes: most, overflow }) =>
    overflow === 'close'
      ? `Keeps everything, in order, up to ${limit(most)}; a client that needs more is disconnected as slow.`
      : `Keeps the newest ${limit(most)}; what is older goes first. The delay stays bounded, at a price in losses.`,
  'drop-slow': ({ timeoutMs }) =>
    `Keeps everything, but a client that lets a message wait ${timeoutMs} ms is disconnected.`,
  'rate-limit': ({ messages, inner }) =>
    `At most ${messages} messages a second however fast the client reads; of the rest, ${inner.name} decides.`,
}

const REAL_SOCKET =
  'The same policy on a real TCP connection. What the kernel’s buffers on both sides hold is read first, so messages are older by that much.'

const FIGURES = ['Delay', 'Received', 'Queued', 'Dropped', 'Gaps told', 'Disconnects']

/** The slow clients, over Server-Sent Events. */
export function showSimulation(section) {
  const state = find('.state', section)
  const speed = makeSpeed(section)
  const clients = []
  let before = ''

  function take(simulation) {
    setState(state, 'live', 'good')
    speed.show(simulation)
    // Policies are the server's: it may have been restarted with others.
    const names = JSON.stringify(simulation.clients.map(({ policy, network }) => [policy, network]))
    if (names !== before) {
      before = names
      find('.clients', section).replaceChildren()
      clients.splice(0, clients.length, ...simulation.clients.map(figures => makeClient(section, figures)))
    }
    simulation.clients.forEach((figures, i) => {
      clients[i].take(figures)
    })
    const most = Math.max(LEAST_SCALE, ...clients.map(client => client.longest()))
    for (const client of clients) client.draw(most)
  }

  function connect() {
    const events = new EventSource('/topics/demo/simulated')
    events.addEventListener('message', event => take(JSON.parse(event.data)))
    events.addEventListener('error', () => {
      setState(state, 'reconnecting', 'bad')
      // It retries a broken connection by itself, but gives up for good on an answer that is no stream.
      if (events.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS)
    })
  }
  connect()
}

function makeClient(section, { policy, network }) {
  const card = find('#client-template').content.cloneNode(true).firstElementChild
  const state = find('.state', card)
  const canvas = find('canvas', card)
  const real = network === 'socket'
  const name =
    (policy.overflow === 'drop-oldest' ? 'buffered, drop-oldest' : nameOf(policy)) + (real ? ', real socket' : '')
  find('h3', card).textContent = name
  find('.note', card).textContent = real ? REAL_SOCKET : (EXPLAINED[policy.name]?.(policy) ?? '')
  canvas.setAttribute('aria-label', `Delay of ${name} over the last 60 seconds`)
  const value = terms(find('.figures', card), [...FIGURES, 'Dropped as'])
  value('Dropped as').parentElement.className = 'wide'
  find('.clients', section).append(card)
  const samples = []
  let dropped

  return {
    take(figures) {
      const away = figures.state === 'disconnected'
      const drops = dropped === undefined ? 0 : Math.max(0, figures.dropped - dropped)
      dropped = figures.dropped
      samples.push({ delay: figures.delayMs, drops, away })
      if (samples.length > PLACES) samples.shift()
      setState(state, away ? `disconnected: ${figures.closedFor}` : 'connected', away ? 'bad' : 'good')
      setText(value('Delay'), figures.delayMs === null ? '-' : duration(figures.delayMs))
      setText(value('Received'), `${figures.receivedPerSecond}/s`)
      setText(value('Queued'), bytes(figures.queuedBytes))
      setText(value('Dropped'), String(figures.dropped))
      setText(value('Gaps told'), String(figures.gaps.told))
      setText(value('Disconnects'), String(figures.disconnects))
      setText(value('Dropped as'), reasons(figures))
    },
    longest: () => Math.max(0, ...samples.map(({ delay }) => delay ?? 0)),
    draw(most) {
      drawDelays(canvas, samples, most, PLACES, duration(most))
    },
  }
}

function nameOf({ name, inner }) {
  return inner ? `${name} over ${inner.name}` : name
}

/** They add up to what was dropped. */
function reasons({ dropped, gaps, lostOnDisconnect }) {
  const counts = Object.entries(gaps.messages).map(([reason, count]) => `${reason} ${count}`)
  if (lostOnDisconnect > 0) counts.push(`disconnected ${lostOnDisconnect}`)
  const told = Object.values(gaps.messages).reduce((sum, count) => sum + count, 0)
  const untold = dropped - told - lostOnDisconnect
  if (untold > 0) counts.push(`not told yet ${untold}`)
  return counts.length === 0 ? 'nothing' : counts.join(', ')
}
