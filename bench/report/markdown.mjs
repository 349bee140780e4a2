/** Text as it is meant, in Markdown and in a cell of its tables; what is between backticks stays code. */
export const plain = (/** @type {string} */ text) =>
  text
    .replace(/\s+/g, ' ')
    .split(/(`[^`]+`)/)
    .map((part, index) => (index % 2 === 1 ? part.replaceAll('|', '\\|') : withoutMeaning(part)))
    .join('')

/** @type {Record<string, string>} */
const ENTITIES = { '<': '&lt;', '>': '&gt;' }
const withoutMeaning = (/** @type {string} */ text) =>
  text.replace(/[\\`*_[\]<>|#~]/g, sign => ENTITIES[sign] ?? `\\${sign}`)

/**
 * @param {readonly { head: string, number?: boolean }[]} columns
 * @param {readonly (readonly string[])[]} rows  Markdown already
 */
export const markdownTable = (columns, rows) =>
  [
    `| ${columns.map(({ head }) => head).join(' | ')} |`,
    `|${columns.map(({ number }) => (number ? '---:' : '---')).join('|')}|`,
    ...rows.map(cells => `| ${cells.join(' | ')} |`),
  ].join('\n')
