import { showAudio, showCamera, showClock } from './media.js'
import { describeSource, find, setState } from './page.js'
import { showSimulation } from './simulation.js'
import { showTelemetry } from './telemetry.js'

for (const source of document.querySelectorAll('.source')) describeSource(source)

const server = find('#server')
const camera = showCamera(find('#camera'))
const audio = showAudio(find('#audio'))
let lost = false

// A browser does not tell when the stream behind an <img> has ended, so the socket speaks for the whole server.
showTelemetry(find('#telemetry'), connected => {
  setState(
    server,
    connected ? 'connected to the server' : 'the server is not there: reconnecting once a second',
    connected ? 'good' : 'bad',
  )
  if (!connected) camera.lost()
  if (connected && lost) audio.connect()
  if (connected) camera.connect()
  lost = !connected
})
showClock(find('#clock'))
showSimulation(find('#simulation'))
