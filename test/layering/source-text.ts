/** Comments, strings and regular expressions, whichever begins first: inside one of them the others mean nothing. */
const TOKENS = new RegExp(
  [
    String.raw`(?<comment>\/\*[\s\S]*?\*\/|\/\/[^\n]*)`,
    String.raw`(?<string>'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")`,
    String.raw`(?<template>\x60(?:\\[\s\S]|[^\\\x60])*\x60)`,
    // A slash that cannot divide: it stands where a value begins.
    String.raw`(?<regex>(?<=[=(,:!&|?{};>\n[]\s*|\breturn\s+)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/)`,
  ].join('|'),
  'g',
)

type Kind = 'comment' | 'string' | 'template' | 'regex'

function replaceTokens(text: string, replace: (token: string, kind: Kind) => string): string {
  return text.replace(TOKENS, (token: string, ...rest: unknown[]) => {
    const groups = rest.at(-1) as Record<Kind, string | undefined>
    const kind = (Object.keys(groups) as Kind[]).find(each => groups[each] !== undefined)!
    return replace(token, kind)
  })
}

/** The lines keep their number, so that what is left can be counted. */
export function withoutComments(text: string): string {
  return replaceTokens(text, (token, kind) => (kind === 'comment' ? token.replace(/[^\n]/g, '') : token))
}

/** What is left are words of the language and names. The expressions in a template literal stay: they are code. */
export function onlyCode(text: string): string {
  return replaceTokens(text, (token, kind) => {
    if (kind !== 'template') return ''
    return [...token.matchAll(/\$\{([^}]*)\}/g)].map(([, expression]) => ` ${expression} `).join('')
  })
}

export function codeLines(text: string): number {
  return withoutComments(text)
    .split('\n')
    .filter(line => line.trim() !== '').length
}

/** What a file takes from others: imports, re-exports, types, side effects, and imports at run time. */
export function importsOf(text: string): string[] {
  const found = withoutComments(text).matchAll(/(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)(['"])([^'"\n]+)\1/g)
  return [...found].map(match => match[2]!)
}

/** Imports of what is known only at run time: nobody can tell where they lead. */
export function computedImports(text: string): number {
  return [...onlyCode(text).matchAll(/\b(?:import|require)\s*\(\s*[^\s)]/g)].length
}
