import { drawSparkline } from './chart.js'
import { bytes, element, find, percent, RETRY_MS, setState, setText } from './page.js'

/** Seconds that a sparkline shows, and messages a second. */
const SHOWN = 30
const RATE = 10
const PLACES = SHOWN * RATE

/** What is shown: name, value to draw, text, and what the full height stands for (or its least, where it grows). */
const METERS = [
  ['Processor', t => t.cpu.total, t => percent(t.cpu.total), { most: 1 }],
  [
    'Memory',
    t => t.memory.used / t.memory.total,
    t => `${bytes(t.memory.used)} of ${bytes(t.memory.total)}`,
    { most: 1 },
  ],
  ['This process', t => t.memory.process, t => bytes(t.memory.process), { least: 1e8 }],
  ['Network in', t => t.network?.received ?? 0, t => rate(t.network?.received), { least: 1e4 }],
  ['Network out', t => t.network?.sent ?? 0, t => rate(t.network?.sent), { least: 1e4 }],
  ['Loopback', t => t.network?.loopback ?? 0, t => rate(t.network?.loopback), { least: 1e4 }],
  ['Loop delay', t => t.loop.p99, t => `p99 ${t.loop.p99.toFixed(1)} ms`, { least: 5 }],
  ['Hub', t => t.hub.delivered, t => `${t.hub.delivered}/s to ${t.hub.clients}`, { least: 50 }],
]

function rate(amount) {
  return amount === undefined ? 'not known here' : `${bytes(amount)}/s`
}

/** Telemetry over a WebSocket. `onChange(connected)` is told each time the socket comes and goes. */
export function showTelemetry(panel, onChange) {
  const state = find('.state', panel)
  const cores = find('.cores span', panel)
  const rows = METERS.map(meter => makeRow(find('.meters', panel), ...meter))
  let arrived = 0

  function take(telemetry) {
    arrived++
    for (const row of rows) row(telemetry)
    showCores(cores, telemetry.cpu.cores)
  }

  function connect() {
    const url = `${location.origin.replace(/^http/, 'ws')}/topics/demo/telemetry`
    const socket = new WebSocket(url)
    socket.addEventListener('open', () => onChange(true))
    socket.addEventListener('message', event => take(JSON.parse(event.data)))
    socket.addEventListener('close', () => {
      arrived = 0
      setState(state, 'reconnecting', 'bad')
      onChange(false)
      setTimeout(connect, RETRY_MS)
    })
  }

  setInterval(() => {
    if (arrived > 0) setState(state, 'live', 'good')
    arrived = 0
  }, 1000)
  connect()
}

function makeRow(list, name, value, text, { most, least }) {
  const row = element('div')
  const canvas = element('canvas')
  const shown = element('dd')
  canvas.setAttribute('aria-hidden', 'true')
  row.append(element('dt', '', name), canvas, shown)
  list.append(row)
  const values = []
  return telemetry => {
    values.push(value(telemetry))
    if (values.length > PLACES) values.shift()
    setText(shown, text(telemetry))
    drawSparkline(canvas, values, most ?? Math.max(least, ...values), PLACES)
  }
}

function showCores(target, shares) {
  while (target.childElementCount < shares.length) target.append(element('i'))
  while (target.childElementCount > shares.length) target.lastElementChild.remove()
  shares.forEach((share, i) => {
    target.children[i].style.setProperty('--share', share)
    target.children[i].title = `core ${i}: ${percent(share)}`
  })
}
