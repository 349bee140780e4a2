import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '..')
/** Inside the package, so that the examples find it by its name. */
const FOLDER = join(ROOT, 'coverage', 'docs-examples')
const PAGES = ['sending.md', 'topics.md', 'security.md', 'users.md', 'tenants.md', 'embedding.md']
/** Has programs that need a connection, or a port, of the reader's own. */
const PARTLY = 'embedding.md'

interface Example {
  readonly program: string
  /** What the page says it prints. */
  readonly prints: string
}

/** Programs of a page, each with the output that follows it. */
function examples(text: string): Example[] {
  return [...text.matchAll(/```js\n((?:(?!```)[\s\S])*)```\s*\n```text\n([\s\S]*?)```/g)].map(
    ([, program, prints]) => ({
      program: program!,
      prints: prints!,
    }),
  )
}

afterAll(() => rmSync(FOLDER, { recursive: true, force: true }))

describe.each(PAGES)('docs/%s', page => {
  const text = readFileSync(join(ROOT, 'docs', page), 'utf8')
  const all = examples(text)

  it('shows what each of its programs prints', () => {
    expect(all.length).toBeGreaterThan(0)
    if (page !== PARTLY) expect(all.length).toBe(text.match(/^```js$/gm)!.length)
  })

  it.each(all.map((example, index) => [index + 1, example] as const))(
    'program %i prints what it says',
    (index, example) => {
      mkdirSync(FOLDER, { recursive: true })
      const file = join(FOLDER, `${page}-${index}.mjs`)
      writeFileSync(file, example.program)
      const { status, stdout, stderr } = spawnSync(process.execPath, [file], { encoding: 'utf8', timeout: 50_000 })
      expect(stderr).toBe('')
      expect(stdout).toBe(example.prints)
      expect(status).toBe(0)
    },
  )
})

it('the program of embedding.md for node:http is strict TypeScript', () => {
  const page = readFileSync(join(ROOT, 'docs', 'embedding.md'), 'utf8')
  const [program] = page.match(/(?<=```js\n)import \{ createServer \}(?:(?!```)[\s\S])*/)!
  const typed = program.replaceAll(' = request =>', " = (request: import('node:http').IncomingMessage) =>")
  mkdirSync(FOLDER, { recursive: true })
  const file = join(FOLDER, 'node-http.mts')
  writeFileSync(file, typed)
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')
  const flags = '--ignoreConfig --noEmit --strict --module nodenext --target es2023 --types node --skipLibCheck'.split(
    ' ',
  )
  const { stdout, status } = spawnSync(process.execPath, [compiler, ...flags, file], { encoding: 'utf8' })
  expect([stdout, status]).toEqual(['', 0])
})
