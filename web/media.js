import { drawWave } from './chart.js'
import { find, RETRY_MS, setState, setText } from './page.js'

/** The camera in an <img>: the browser replaces the picture with each part that comes. */
export function showCamera(panel) {
  const image = find('img', panel)
  const state = find('.state', panel)
  let retry

  function connect() {
    clearTimeout(retry)
    // A client id of its own each time: a page shows a picture whose URL it has seen before without asking again.
    image.src = `/topics/demo/camera?client=camera-${Math.random().toString(36).slice(2)}`
  }
  image.addEventListener('load', () => setState(state, 'live', 'good'))
  image.addEventListener('error', () => {
    setState(state, 'reconnecting', 'bad')
    clearTimeout(retry)
    retry = setTimeout(connect, RETRY_MS)
  })
  return {
    connect,
    lost() {
      setState(state, 'reconnecting', 'bad')
    },
  }
}

/** The browser's clock, written as the camera writes its own, to tenths of a second. */
export function showClock(target) {
  setInterval(() => setText(target, new Date().toISOString().slice(11, 21)), 50)
}

/**
 * Audio over plain HTTP. A live stream cannot be paused and picked up later: stop ends the request, and listening again
 * joins the present.
 */
export function showAudio(panel) {
  const audio = find('audio', panel)
  const state = find('.state', panel)
  const button = find('button', panel)
  const ahead = find('.listen .figure', panel)
  const url = '/topics/demo/audio'
  let wanted = false

  function connect() {
    audio.src = url
    // Rejects when the visitor stops it meanwhile; `error` tells of the rest.
    audio.play().catch(() => {})
  }
  function start() {
    wanted = true
    connect()
  }
  function stop() {
    wanted = false
    audio.pause()
    audio.src = url
    show()
  }
  function show() {
    setText(button, wanted ? 'Stop' : 'Listen')
    if (!wanted) setState(state, 'not playing')
    else if (!audio.error)
      setState(state, audio.readyState >= 3 ? 'playing' : 'starting', audio.readyState >= 3 ? 'good' : '')
    const { buffered, currentTime } = audio
    const left = buffered.length === 0 ? 0 : buffered.end(buffered.length - 1) - currentTime
    setText(ahead, wanted ? `${currentTime.toFixed(0)} s played, ${Math.max(0, left).toFixed(1)} s in hand` : '')
  }
  function again() {
    if (!wanted) return
    setState(state, 'reconnecting', 'bad')
    setTimeout(() => wanted && connect(), RETRY_MS)
  }

  button.addEventListener('click', () => (wanted ? stop() : start()))
  const wave = makeWave(audio, find('#wave', panel))
  audio.addEventListener('play', () => {
    wanted = true
    wave()
  })
  audio.addEventListener('pause', () => {
    if (wanted && !audio.ended && !audio.error) stop()
  })
  audio.addEventListener('error', again)
  audio.addEventListener('ended', again)
  audio.src = url
  setInterval(show, 500)
  show()
  return {
    connect: () => wanted && connect(),
  }
}

/** Draws what is heard. Made at the first play, because a browser gives sound to no page that was not asked for it. */
function makeWave(audio, canvas) {
  const values = new Float32Array(1024)
  let analyser
  function draw() {
    if (audio.paused) values.fill(0)
    else analyser.getFloatTimeDomainData(values)
    drawWave(canvas, values)
    if (!audio.paused) requestAnimationFrame(draw)
  }
  return () => {
    if (analyser === undefined) {
      const context = new AudioContext()
      analyser = new AnalyserNode(context, { fftSize: 2 * values.length })
      context.createMediaElementSource(audio).connect(analyser).connect(context.destination)
      audio.addEventListener('play', () => context.resume())
      void context.resume()
    }
    requestAnimationFrame(draw)
  }
}
