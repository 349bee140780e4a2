import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, openSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startTestServer, type TestServer } from '../server/test-server.ts'
import { freePort } from '../stores/redis-server.ts'

/** A file to which every write fails with ENOSPC. Linux has it. */
const FULL = '/dev/full'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer()
})
afterAll(() => server.close())

/** Runs a command of which some outputs are on a full disk. */
function run(args: readonly string[], full: { stdout?: true; stderr?: true }) {
  const disk = openSync(FULL, 'w')
  const child = spawn(process.execPath, ['dist/cli/main.js', ...args], {
    stdio: ['ignore', full.stdout ? disk : 'pipe', full.stderr ? disk : 'pipe'],
  })
  const said = { stdout: '', stderr: '' }
  child.stdout?.setEncoding('utf8').on('data', text => (said.stdout += text))
  child.stderr?.setEncoding('utf8').on('data', text => (said.stderr += text))
  return { child, said, closed: once(child, 'close') as Promise<[code: number]> }
}

describe.skipIf(!existsSync(FULL))('on a full disk', () => {
  it.each([
    ['--help'],
    ['token key'],
    ['config check'],
    ['top --once'],
    ['top'],
    ['tail --client ada'],
    ['subscribe news --lines'],
    ['subscribe news'],
  ])('hubline %s says one line on stderr and exits with 1', async line => {
    const ada = new AbortController()
    const stream = await fetch(`${server.url}/topics/ada?client=ada`, { signal: ada.signal })
    const args = line.split(' ')
    if (['top', 'tail', 'subscribe'].includes(args[0]!)) args.push('--url', server.url)
    const { said, closed } = run(args, { stdout: true })
    const talk = setInterval(() => void fetch(`${server.url}/topics/news`, { method: 'POST', body: 'hi' }), 50)
    const [code] = await closed
    clearInterval(talk)
    ada.abort()
    await stream.text().catch(() => {})
    expect([code, said.stderr]).toEqual([1, expect.stringMatching(/^hubline: stdout: ENOSPC.*\n$/)])
  })

  it.each([
    ['serve', { stdout: true, stderr: true }],
    ['serve', { stderr: true }],
    ['demo', { stdout: true, stderr: true }],
  ] as const)('hubline %s goes on and ends in order, where %j is on it', async (command, full) => {
    const port = await freePort()
    const { child, closed } = run([command, '--port', String(port), '--log-level', 'info'], full)
    const answers = () =>
      fetch(`http://127.0.0.1:${port}/health/live`).then(
        ({ ok }) => ok,
        () => false,
      )
    await expect.poll(answers).toBe(true)
    for (let i = 0; i < 20; i++) expect(await answers()).toBe(true)
    child.kill('SIGTERM')
    expect((await closed)[0]).toBe(0)
  })
})
