/** How long to wait before a broken connection is tried again, in ms. */
export const RETRY_MS = 1000

export function find(selector, within = document) {
  return within.querySelector(selector)
}

export function element(tag, className, text) {
  const made = document.createElement(tag)
  if (className) made.className = className
  if (text !== undefined) made.textContent = text
  return made
}

/** Writes only what changed: figures come several times a second. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text
}

/** `kind`: good, bad, or none. */
export function setState(target, text, kind = '') {
  setText(target, text)
  target.classList.toggle('good', kind === 'good')
  target.classList.toggle('bad', kind === 'bad')
}

/** A list of terms and values; answers with a function that finds a value's element by its term. */
export function terms(list, names) {
  const values = new Map()
  for (const name of names) {
    const row = element('div')
    const value = element('dd')
    row.append(element('dt', '', name), value)
    list.append(row)
    values.set(name, value)
  }
  return name => values.get(name)
}

const BYTE_UNITS = ['B', 'KB', 'MB', 'GB', 'TB']

/** Decimal units, three digits. */
export function bytes(amount) {
  let unit = 0
  let shown = amount
  while (shown >= 999.5 && unit < BYTE_UNITS.length - 1) {
    shown /= 1000
    unit++
  }
  const digits = unit === 0 || shown >= 99.5 ? 0 : shown >= 9.95 ? 1 : 2
  return `${shown.toFixed(digits)} ${BYTE_UNITS[unit]}`
}

/** Limits are powers of two: in binary units, as they were set. */
export function limit(amount) {
  return amount >= 1024 * 1024 ? `${amount / 1024 / 1024} MiB` : `${amount / 1024} KiB`
}

export function duration(ms) {
  return ms < 995 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 9950 ? 2 : 1)} s`
}

export function percent(share) {
  return `${(share * 100).toFixed(0)} %`
}

/** Fills in where a source is: its URL, and a command that shows the same topic, with a button that copies it. */
export function describeSource(target) {
  const { topic, curl, scheme } = target.dataset
  const url = `${location.origin}/topics/${topic}`
  const command = curl.replace('{url}', url)
  const shown = scheme === 'ws' ? url.replace(/^http/, 'ws') : url
  const code = element('code', '', command)
  const button = element('button', '', 'Copy')
  button.type = 'button'
  button.setAttribute('aria-label', `Copy the command: ${command}`)
  button.addEventListener('click', () => copy(command, code, button))
  target.append(element('code', 'url', shown), code, button)
}

async function copy(text, code, button) {
  try {
    await navigator.clipboard.writeText(text)
    button.textContent = 'Copied'
  } catch {
    // No clipboard outside of localhost and HTTPS: select it, so that the visitor can.
    getSelection().selectAllChildren(code)
    button.textContent = 'Selected'
  }
  setTimeout(() => {
    button.textContent = 'Copy'
  }, 1500)
}
