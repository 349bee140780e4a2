const styles = getComputedStyle(document.documentElement)

/** A colour of the style sheet, in the scheme that is on now. */
export function colour(name) {
  return styles.getPropertyValue(`--${name}`).trim()
}

/** Makes the canvas as sharp as the screen and answers with its context and its size in CSS pixels. */
function open(canvas) {
  const ratio = devicePixelRatio || 1
  const width = canvas.clientWidth
  const height = canvas.clientHeight
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio)
    canvas.height = Math.round(height * ratio)
  }
  const context = canvas.getContext('2d')
  context.setTransform(ratio, 0, 0, ratio, 0, 0)
  context.clearRect(0, 0, width, height)
  return { context, width, height }
}

/** Values at equal distances, the newest at the right edge. */
export function drawSparkline(canvas, values, most, places) {
  const { context, width, height } = open(canvas)
  const x = i => width - ((values.length - 1 - i) * width) / (places - 1)
  const y = value => height - 1.5 - (Math.min(value, most) / most) * (height - 3)
  context.beginPath()
  values.forEach((value, i) => {
    context.lineTo(x(i), y(value))
  })
  context.strokeStyle = colour('accent')
  context.lineWidth = 1.5
  context.stroke()
  context.lineTo(width, height)
  context.lineTo(x(0), height)
  context.fillStyle = colour('fill')
  context.fill()
}

/** One moment of sound, each value -1 to 1. */
export function drawWave(canvas, values) {
  const { context, width, height } = open(canvas)
  context.beginPath()
  for (let i = 0; i < values.length; i++) {
    context.lineTo((i * width) / (values.length - 1), (height / 2) * (1 - values[i] * 1.4))
  }
  context.strokeStyle = colour('accent')
  context.lineWidth = 1.5
  context.stroke()
}

/**
 * The delay of one client over time. A sample is {delay, drops, away}: delay in ms or null, messages dropped since the
 * sample before, disconnected or not. `most`: the delay at the upper edge, written there as `label`.
 */
export function drawDelays(canvas, samples, most, places, label) {
  const { context, width, height } = open(canvas)
  const step = width / places
  const left = i => width - (samples.length - i) * step
  const y = delay => height - 8 - (Math.min(delay, most) / most) * (height - 12)

  context.strokeStyle = colour('line')
  context.lineWidth = 1
  context.beginPath()
  for (const edge of [y(0), y(most)]) {
    context.moveTo(0, edge)
    context.lineTo(width, edge)
  }
  context.stroke()

  context.fillStyle = colour('bad-soft')
  samples.forEach((sample, i) => {
    if (sample.away) context.fillRect(left(i), 0, step + 0.5, height - 8)
  })
  context.fillStyle = colour('warn')
  samples.forEach((sample, i) => {
    if (sample.drops > 0) context.fillRect(left(i), height - 6, Math.max(1.5, step), 6)
  })
  strokeDelays(context, samples, i => left(i) + step, y)
  context.fillStyle = colour('soft')
  context.font = '11px system-ui, sans-serif'
  context.fillText(label, 3, 15)
}

/** The line breaks where there is no delay: while the client is away and until it has read something. */
function strokeDelays(context, samples, x, y) {
  context.beginPath()
  let drawing = false
  samples.forEach(({ delay }, i) => {
    if (delay === null) drawing = false
    else if (drawing) context.lineTo(x(i), y(delay))
    else context.moveTo(x(i), y(delay))
    if (delay !== null) drawing = true
  })
  context.strokeStyle = colour('accent')
  context.lineWidth = 2
  context.lineJoin = 'round'
  context.stroke()
}
