/** Rows of three pixels, top to bottom. */
const GLYPHS: Readonly<Record<string, string>> = {
  '0': '### #.# #.# #.# ###',
  '1': '.#. ##. .#. .#. ###',
  '2': '### ..# ### #.. ###',
  '3': '### ..# ### ..# ###',
  '4': '#.# #.# ### ..# ..#',
  '5': '### #.. ### ..# ###',
  '6': '### #.. ### #.# ###',
  '7': '### ..# ..# .#. .#.',
  '8': '### #.# ### #.# ###',
  '9': '### #.# ### ..# ###',
  ':': '... .#. ... .#. ...',
  '.': '... ... ... ... .#.',
  U: '#.# #.# #.# #.# ###',
  T: '### .#. .#. .#. .#.',
  C: '### #.. #.. #.. ###',
  F: '### #.. ##. #.. #..',
  ' ': '... ... ... ... ...',
}

export const GLYPH_WIDTH = 3
export const GLYPH_HEIGHT = 5

/** Calls `dot` for every set pixel of the text, at one pixel between letters. Unknown letters are blank. */
export function eachDot(text: string, dot: (x: number, y: number) => void): void {
  for (let i = 0; i < text.length; i++) {
    const rows = (GLYPHS[text[i]!] ?? GLYPHS[' ']!).split(' ')
    rows.forEach((row, y) => {
      for (let x = 0; x < GLYPH_WIDTH; x++) if (row[x] === '#') dot(i * (GLYPH_WIDTH + 1) + x, y)
    })
  }
}
