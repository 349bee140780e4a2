import { once } from 'node:events'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { startTestServer, type TestServer } from '../server/test-server.ts'
import { command } from './in-process.ts'
import { hubline } from './run.ts'

const folder = mkdtempSync(join(tmpdir(), 'hubline-cli-'))
let server: TestServer
beforeAll(async () => {
  server = await startTestServer()
})
afterAll(() => server.close())

const at = () => ['--url', server.url]

async function subscribers(topic: string, count: number): Promise<void> {
  while ((server.hub.getTopic(topic)?.subscribers ?? 0) < count) await new Promise(resolve => setTimeout(resolve, 5))
}

describe('help', () => {
  it('teaches: every command has a sentence, its options and examples', async () => {
    const all = await command(['--help'])
    expect(all.code).toBe(0)
    for (const name of ['serve', 'demo', 'config', 'publish', 'subscribe', 'send', 'top', 'tail']) {
      expect(all.stdout).toContain(name)
      const { code, stdout } = await command([name, '--help'])
      expect(code).toBe(0)
      expect(stdout).toContain('Examples:')
    }
    const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
    expect((await command(['--version'])).stdout.trim()).toBe(version)
    // The same program, as a process.
    expect((await hubline(['--version']).finished).stdout.trim()).toBe(version)
  })
})

describe('config check', () => {
  it('says what is in force and where it comes from, warns on stderr, and shows no secret', async () => {
    const path = join(folder, 'check.yaml')
    writeFileSync(
      path,
      'port: 8001\nstore: { redisUrl: "redis://u:hunter2@h:1" }\ntopics: { "a/*": { policy: latest }, "**": {} }',
    )
    const args = ['config', 'check', '-c', path, '--topic', 'a/b', '--insecure', '--host', '0.0.0.0']
    const { code, stdout, stderr } = await command(args, { HUBLINE_LOG_LEVEL: 'warn' })
    expect(code).toBe(0)
    expect(stdout).toMatch(/^port +8001 +config .*check\.yaml$/m)
    expect(stdout).toMatch(/^logLevel +warn +HUBLINE_LOG_LEVEL$/m)
    expect(stdout).toMatch(/^host +0\.0\.0\.0 +--host$/m)
    expect(stdout).toMatch(/^pingMs +25000 +default$/m)
    expect(stdout).toMatch(/^store\.redisUrl +\(set, not shown\)/m)
    expect(stdout).toMatch(/^topic a\/b: "a\/\*" applies.*\n {2}1\. a\/\* {2}<- applies\n {2}2\. \*\*$/m)
    expect(stderr).toMatch(/^warning: insecure: .*\n$/)
    expect(stdout + stderr).not.toContain('hunter2')
  })
})

describe('what the user can mend', () => {
  const cases: [string, string[], RegExp][] = [
    ['an unknown option', ['serve', '--prot', '1'], /--prot.*--port/],
    ['an unknown command', ['sevre'], /sevre.*serve/],
    ['no port', ['serve', '--port', 'http'], /port/],
    ['an unknown key', ['serve', '--config', join(folder, 'bad.yaml')], /unknown key "limts": did you mean "limits"\?/],
    ['a file that is not there', ['serve', '--config', join(folder, 'none.yaml')], /cannot be read \(ENOENT\)/],
    [
      'an unknown key in a check',
      ['config', 'check', '-c', join(folder, 'bad.yaml')],
      /unknown key "limts": did you mean/,
    ],
    ['an open address to check', ['config', 'check', '--host', '0.0.0.0'], /--insecure/],
    [
      'a secret that is too short to check',
      ['config', 'check', '-c', join(folder, 'short.yaml')],
      /secret: .*32 bytes/,
    ],
    [
      'a tenant without audience to check',
      ['config', 'check', '-c', join(folder, 'tenant.yaml')],
      /audience: it must be/,
    ],
    ['a topic to check that is none', ['config', 'check', '--topic', 'a b'], /topic: "a b" is not a topic name/],
    ['an unknown part of a command', ['config', 'chek'], /chek.*check/],
    ['an open address', ['serve', '--host', '0.0.0.0'], /--insecure/],
    ['a wrong level', ['serve', '--log-level', 'loud'], /logLevel/],
    [
      'a file to publish that is not there',
      ['publish', 'a', join(folder, 'none.txt')],
      /none\.txt: cannot be read \(ENOENT\)/,
    ],
    ['a folder to publish', ['publish', 'a', folder], /hubline-cli-\w+: cannot be read \(EISDIR\)/],
    ['no content type', ['publish', 'a', '--type', 'mp3'], /A content type looks like text\/plain/],
    [
      'a content type that no header can have',
      ['publish', 'a', '--type', 'text/plain; ☃'],
      /A content type looks like/,
    ],
    ['a wrong topic', ['publish', '..'], /topic/],
    ['a wrong client', ['send', 'a b', 'hi'], /client: a client id is/],
    ['a wrong time limit', ['send', 'a', 'hi', '--timeout', '300001'], /A time limit is 1 to 300000 ms/],
    ['a wrong rate', ['publish', 'a', '--rate', 'fast'], /128k/],
    ['a wrong URL', ['subscribe', 'a', '--url', 'nonsense'], /--url/],
    ['a URL of another protocol', ['subscribe', 'a', '--url', 'ftp://127.0.0.1'], /--url: "ftp:.* no HTTP URL/],
  ]
  writeFileSync(join(folder, 'bad.yaml'), 'limts: {}\n')
  const jwt = 'algorithms: [HS256], issuer: [a]'
  writeFileSync(join(folder, 'short.yaml'), `sessions: { mode: jwt, jwt: { secret: short, ${jwt}, audience: [b] } }\n`)
  const tenant = `{ mode: jwt, jwt: { secret: kO2vRz7cQ1xW9mLpT4yB8nHs3uJf6dGa, ${jwt} } }`
  writeFileSync(join(folder, 'tenant.yaml'), `tenants: { acme: { sessions: ${tenant} } }\n`)
  for (const [what, args, sentence] of cases) {
    it(`${what}: one line, exit code 2, no stack`, async () => {
      const { code, stderr, stdout } = await command(args)
      expect(stderr).toMatch(sentence)
      expect(stderr.trim().split('\n')).toHaveLength(1)
      expect(stderr).not.toMatch(/\bat .*:\d+:\d+/)
      expect([code, stdout]).toEqual([2, ''])
    })
  }

  it('a process of its own says the same and has the same exit code', async () => {
    const [, args] = cases[0]!
    expect(await hubline(args).finished).toEqual(await command(args))
  })

  it('a port in use: one line, exit code 2', async () => {
    const taken = createServer()
    const port = await new Promise<number>(resolve => {
      taken.listen(0, '127.0.0.1', () => resolve((taken.address() as { port: number }).port))
    })
    const { code, stderr } = await hubline(['serve', '--port', `${port}`]).finished
    expect([code, stderr.trim()]).toEqual([
      2,
      `hubline: port: ${port} on 127.0.0.1 is in use; choose another with --port`,
    ])
    taken.close()
  })

  it('an unknown variable: one line, exit code 2', async () => {
    const { code, stderr } = await command(['serve'], { HUBLINE_PROT: '1' })
    expect([code, stderr]).toEqual([2, expect.stringContaining('did you mean "HUBLINE_PORT"?')])
  })

  it('nobody there: says how to start one, exit code 1', async () => {
    const { code, stderr } = await command(['stats', '--once', '--url', 'http://127.0.0.1:1'])
    expect(code).toBe(1)
    expect(stderr.trim().split('\n')).toHaveLength(1)
  })
})

describe('publish and subscribe', () => {
  it('carries stdin as one message', async () => {
    const reader = hubline(['subscribe', 'cli/one', '--count', '1', ...at()])
    await subscribers('cli/one', 1)
    const writer = hubline(['publish', 'cli/one', ...at()])
    writer.write('two\nlines')
    writer.end()
    expect((await writer.finished).stderr).toBe('message 1, 1 subscribers\n')
    expect(await reader.finished).toMatchObject({ code: 0, stdout: 'two\nlines' })
  })

  it('carries lines as they come, before the source ends', async () => {
    const reader = hubline(['subscribe', 'cli/lines', '--lines', ...at()])
    await subscribers('cli/lines', 1)
    const writer = hubline(['publish', 'cli/lines', '--lines', ...at()])
    writer.write('first\n')
    await reader.says('first\n')
    writer.write('second\nlast')
    await reader.says('second\n')
    writer.end()
    await reader.says('last\n')
    expect((await writer.finished).stderr).toBe('3 messages, 15 bytes\n')
    reader.kill('SIGTERM')
    await reader.finished
  })

  it('carries a file byte for byte at a rate', async () => {
    const bytes = Buffer.from(Array.from({ length: 4000 }, (_, i) => `${i}`).join(','))
    const path = join(folder, 'live.bin')
    writeFileSync(path, bytes)
    const reader = hubline(['subscribe', 'cli/rate', ...at()])
    await subscribers('cli/rate', 1)
    const { code, stderr } = await command(['publish', 'cli/rate', path, '--rate', '100k', ...at()])
    expect(code).toBe(0)
    expect(stderr).toContain(`${bytes.byteLength} bytes`)
    await reader.says(bytes.toString())
    reader.kill('SIGTERM')
    await reader.finished
  })

  it('prints what the hub has to say', async () => {
    const { code, stderr } = await command(['subscribe', 'a', '--policy', 'newest', ...at()])
    expect([code, stderr]).toEqual([1, 'hubline: policy: unknown name "newest": did you mean "latest"?\n'])
  })

  it('sends to one client, and says how it ended', async () => {
    const reader = hubline(['subscribe', 'cli/send', '--client', 'ada', ...at()])
    await subscribers('cli/send', 1)
    const { code, stdout, stderr } = await hubline(['send', 'ada', 'hello', '--id', 'm1', ...at()]).finished
    expect([code, stdout]).toEqual([0, ''])
    expect(stderr).toMatch(/^message m1, taken by its transport after \d+\.\d ms\n$/)
    await reader.says('hello')
    const asked = await command(['send', 'ada', 'you there?', '--confirm', ...at()])
    expect(asked.stderr).toMatch(/^message [\w-]{36}, taken by .* ms; its protocol cannot confirm\n$/)
    reader.kill('SIGTERM')
    await reader.finished
  })

  it('says that a client that can confirm has it', async () => {
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/topics/cli/confirm?client=grace`)
    const heard = once(socket, 'message')
    await once(socket, 'open')
    const { code, stderr } = await command(['send', 'grace', 'hello', '--confirm', ...at()])
    expect(stderr).toMatch(/^message [\w-]{36}, confirmed after \d+\.\d ms\n$/)
    expect([code, String((await heard)[0])]).toEqual([0, 'hello'])
    socket.terminate()
  })

  it('sends to nobody: one line, exit code 1', async () => {
    const { code, stderr } = await command(['send', 'nobody', 'hello', ...at()])
    expect([code, stderr]).toEqual([1, 'hubline: client: no client "nobody" is connected\n'])
  })

  it('shows the clients and the totals', async () => {
    const reader = hubline(['subscribe', 'cli/stats', '--client', 'shown', ...at()])
    await subscribers('cli/stats', 1)
    const { code, stdout } = await hubline(['stats', '--once', ...at()]).finished
    expect(code).toBe(0)
    expect(stdout).toMatch(/^shown +http-stream /m)
    expect(stdout).toContain('delivered')
    reader.kill('SIGTERM')
    await reader.finished
  })
})
