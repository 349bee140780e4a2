const TAG = /<(\/?)([a-z]+)(?: [\w:-]+="[^"<]*")*(\/?)>/g
const WRONG = [
  ['a sign that is not escaped', /&(?!(amp|lt|gt|quot|#39);)/],
  // biome-ignore lint/suspicious/noControlCharactersInRegex: XML must not have them
  ['a control character', /[\u0000-\u0008\u000b\u000c\u000e-\u001f]/],
  // It would be XML, but no chart.
  ['no number', /\b(NaN|Infinity|undefined|null)\b/],
] as const

/** What keeps a text from being well-formed XML, of the kind that has no comments, declarations or sections. */
export function xmlFaults(xml: string): string[] {
  const faults: string[] = WRONG.filter(([, pattern]) => pattern.test(xml)).map(([what]) => what)
  if (xml.replace(TAG, '').includes('<')) return [...faults, 'a < that begins no tag']
  const open: string[] = []
  let roots = 0
  for (const [tag, closing, name, empty] of xml.matchAll(TAG)) {
    if (closing && open.pop() !== name) return [...faults, `${tag} closes something else`]
    if (closing) continue
    if (open.length === 0) roots++
    if (!empty) open.push(name!)
  }
  if (roots !== 1) faults.push(`${roots} roots`)
  return [...faults, ...open.map(name => `<${name}> is not closed`)]
}
