import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ask, listen } from './server/http.ts'
import { startTestServer, type TestServer } from './server/test-server.ts'

const page = readFileSync(new URL('../docs/admin-api.md', import.meta.url), 'utf8')
/** Each command of the page with what it says it answers. */
const examples = [...page.matchAll(/```sh\n([\s\S]*?)```\n\n```(json|text)\n([\s\S]*?)```/g)].map(
  ([, command, type, answer]) => ({ command: command!, type: type!, answer: answer! }),
)

let server: TestServer
beforeAll(async () => {
  server = await startTestServer({ callbacks: { allow: ['127.0.0.1/32'] }, shutdown: { spreadMs: 0 } })
  await listen(server.url, 'ada', 'news')
})
afterAll(() => server.close())

/** As a reader runs it; one that ends itself (-m) may say so. */
async function run(command: string): Promise<string> {
  const script = command.replaceAll('http://127.0.0.1:8000', server.url).replace('curl ', 'curl -sS ')
  const { stdout } = await promisify(execFile)('bash', ['-c', script]).catch(error => {
    if (error.code === 28) return error as { stdout: string }
    throw error
  })
  return stdout
}

/** Fields that the page leaves out, and values that differ, are "..." there. */
function matching(shown: unknown): unknown {
  if (shown === '...') return expect.anything()
  if (Array.isArray(shown)) return shown.map(matching)
  if (typeof shown !== 'object' || shown === null) return shown
  const fields = Object.entries(shown).filter(([name]) => name !== '...')
  const matched = Object.fromEntries(fields.map(([name, value]) => [name, matching(value)]))
  return '...' in shown ? expect.objectContaining(matched) : matched
}

describe('docs/admin-api.md', () => {
  // In the order of the page: each begins where the one before left the hub.
  it.each(examples.map(({ command, ...rest }) => [command.trim(), rest] as const))(
    '%s',
    async (command, { type, answer }) => {
      const got = await run(command)
      if (type === 'json') expect(JSON.parse(got)).toEqual(matching(JSON.parse(answer)))
      else expect(got.slice(0, answer.indexOf('...'))).toBe(answer.slice(0, answer.indexOf('...')))
    },
  )

  it('has an example of every operation under /api', async () => {
    expect(examples.length).toBe(page.match(/^```sh$/gm)!.length)
    const { body } = await ask(`${server.url}/api/openapi.json`)
    const shown = examples.map(({ command }) => {
      const path = new URL(command.match(/http:[^\s'"]+/g)!.at(-1)!).pathname
      return `${/-X (\w+)/.exec(command)?.[1] ?? (/ -d /.test(command) ? 'POST' : 'GET')} ${path}`
    })
    const paths = Object.entries(body.paths as Record<string, object>).filter(([path]) => path.startsWith('/api/'))
    const missing = paths.flatMap(([path, item]) =>
      Object.keys(item).flatMap(method => {
        const pattern = new RegExp(`^${method.toUpperCase()} ${path.replaceAll(/\{\w+\}/g, '[^/]+')}$`)
        return shown.some(each => pattern.test(each)) ? [] : [`${method.toUpperCase()} ${path}`]
      }),
    )
    expect(missing).toEqual([])
  })
})
