// The card that all charts are drawn on. It has its own background, because an image follows the reader's system and not the theme of the
// page around it: on GitHub the two can differ.

export const WIDTH = 720
/** Between the card's edge and what is in it. */
export const PADDING = 24

const STYLE = `
text { font: 13px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; fill: #1a1f27 }
.card { fill: #ffffff; stroke: #dde1e7 }
.heading { font-size: 17px; font-weight: 600 }
.ours { font-weight: 600 }
.soft { fill: #58616f }
.small { font-size: 11px }
.grid { stroke: #e4e7ec; stroke-width: 1 }
.axis { stroke: #9aa4b2; stroke-width: 1 }
.bar { fill: #8b95a3 }
.bar.ours { fill: #2563c9 }
.spread { stroke: #1a1f27; stroke-width: 1.5; stroke-opacity: 0.9 }
.line { fill: none; stroke: #2563c9; stroke-width: 2.5; stroke-linejoin: round }
.point { fill: #2563c9; stroke: #ffffff; stroke-width: 1.5 }
.over { paint-order: stroke; stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round }
@media (prefers-color-scheme: dark) {
  text { fill: #e8ebf0 }
  .card { fill: #1a1e25; stroke: #2c323c }
  .soft { fill: #a3adba }
  .grid { stroke: #2c323c }
  .axis { stroke: #6b7585 }
  .bar { fill: #667182 }
  .bar.ours { fill: #6ea2f5 }
  .spread { stroke: #f2f4f7 }
  .line { stroke: #6ea2f5 }
  .point { fill: #6ea2f5; stroke: #1a1e25 }
  .over { stroke: #1a1e25 }
}
`

/** @type {Record<string, string>} */
const ENTITIES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/** For text and attributes. Control characters are no XML, whatever they are escaped as. */
export const escaped = (/** @type {string} */ text) =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is about
  text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, '').replace(/[&<>"']/g, sign => ENTITIES[sign] ?? sign)

/**
 * @param {number} x
 * @param {number} y
 * @param {string} content  not escaped yet
 * @param {{ is?: string, anchor?: 'start' | 'middle' | 'end' }} [style]  `is`: the classes
 */
export const text = (x, y, content, { is = '', anchor = 'start' } = {}) =>
  `<text x="${round(x)}" y="${round(y)}" class="${is}" text-anchor="${anchor}">${escaped(content)}</text>`

/**
 * @param {string} is  the classes
 * @param {number} x1
 * @param {number} y1
 * @param {number} x2
 * @param {number} y2
 */
export const line = (is, x1, y1, x2, y2) =>
  `<line class="${is}" x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}"/>`

/** A hundredth of a pixel is enough, and the files of two runs stay comparable. */
export const round = (/** @type {number} */ pixels) => Math.round(pixels * 100) / 100

/** How wide a text may become, in pixels; the reader's font is not known, so that of a wide one. */
export function widthOf(/** @type {string} */ content, size = 13) {
  let em = 0
  for (const sign of content) em += /[ijlt.,:;'|()!]/.test(sign) ? 0.4 : /[mwMW@%]/.test(sign) ? 0.98 : 0.66
  return em * size
}

/** So much of a text as fits into `pixels`. */
export function fitted(/** @type {string} */ content, /** @type {number} */ pixels, size = 13) {
  if (widthOf(content, size) <= pixels) return content
  let end = content.length
  while (end > 1 && widthOf(`${content.slice(0, end)}…`, size) > pixels) end--
  return `${content.slice(0, end).trimEnd()}…`
}

/**
 * @param {object} chart
 * @param {string} chart.title
 * @param {string} chart.subtitle
 * @param {string} chart.desc    what is seen, for those who do not see it
 * @param {number} chart.height
 * @param {string[]} chart.body
 */
export function card({ title, subtitle, desc, height, body }) {
  const inner = WIDTH - 2 * PADDING
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-labelledby="title desc">
<title id="title">${escaped(title)}</title>
<desc id="desc">${escaped(desc)}</desc>
<style>${STYLE}</style>
<rect class="card" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="8"/>
${[
  text(PADDING, 36, fitted(title, inner, 18), { is: 'heading' }),
  text(PADDING, 57, fitted(subtitle, inner), { is: 'soft' }),
  ...body,
].join('\n')}
</svg>
`
}
