import { bytes, element, find, setText } from './page.js'

/** The slider's steps 1 to 100 are 1 KB/s to 1 MB/s by equal factors; 0 is a standstill. */
const SLOWEST = 1000
const FASTEST = 1_000_000
const STEPS = 100
/** At most so often is a new speed sent while the slider moves, in ms. */
const SEND_MS = 120

function speedAt(step) {
  return step === 0 ? 0 : Math.round(SLOWEST * (FASTEST / SLOWEST) ** ((step - 1) / (STEPS - 1)))
}

function stepAt(bytesPerSecond) {
  if (bytesPerSecond < SLOWEST / 2) return 0
  const step = 1 + ((STEPS - 1) * Math.log(bytesPerSecond / SLOWEST)) / Math.log(FASTEST / SLOWEST)
  return Math.min(STEPS, Math.max(1, step))
}

/** The slider, its presets and the mark of what the source publishes. */
export function makeSpeed(section) {
  const slider = find('#speed', section)
  const output = find('#speed-value', section)
  const mark = find('#mark', section)
  const send = makeSender()
  let sourceRate = 0
  // While the visitor holds it, what the server says of a moment ago must not move it.
  let heldUntil = 0

  function choose(bytesPerSecond) {
    heldUntil = performance.now() + 1000
    showSpeed(bytesPerSecond)
    send(bytesPerSecond)
  }
  function showSpeed(bytesPerSecond) {
    slider.value = String(Math.round(stepAt(bytesPerSecond)))
    const text = bytesPerSecond === 0 ? 'standing still' : `${bytes(bytesPerSecond)}/s`
    setText(output, text)
    slider.setAttribute('aria-valuetext', text)
  }
  slider.addEventListener('input', () => choose(speedAt(Number(slider.value))))
  for (const [text, speed] of [
    ['1 MB/s', () => FASTEST],
    ["the source's rate", () => sourceRate],
    ['half of it', () => sourceRate / 2],
    ['a tenth of it', () => sourceRate / 10],
    ['stand still', () => 0],
  ]) {
    const button = element('button', '', text)
    button.type = 'button'
    button.addEventListener('click', () => choose(Math.round(speed())))
    find('#presets', section).append(button)
  }
  return {
    show({ bytesPerSecond, source }) {
      sourceRate = source.bytesPerSecond
      mark.hidden = sourceRate === 0
      mark.style.setProperty('--at', String(stepAt(sourceRate) / STEPS))
      setText(find('#source-rate', section), `source ${bytes(sourceRate)}/s`)
      if (performance.now() > heldUntil) showSpeed(bytesPerSecond)
    },
  }
}

/** Sends the newest speed, one request at a time. */
function makeSender() {
  let next
  let busy = false
  async function send() {
    busy = true
    while (next !== undefined) {
      const body = JSON.stringify({ bytesPerSecond: next })
      next = undefined
      const headers = { 'content-type': 'application/json' }
      // A failure shows by itself: the figures go on saying the old speed.
      await fetch('/demo/speed', { method: 'POST', headers, body }).catch(() => {})
      await new Promise(resolve => setTimeout(resolve, SEND_MS))
    }
    busy = false
  }
  return bytesPerSecond => {
    next = bytesPerSecond
    if (!busy) void send()
  }
}
