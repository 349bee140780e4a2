import { PassThrough, Writable } from 'node:stream'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { printable, type Terminal } from '../../src/cli/terminal.ts'
import { top } from '../../src/cli/top.ts'
import { newApiKey } from '../../src/sessions/api-keys.ts'
import { type Listener, listen, until } from '../server/http.ts'
import { startTestServer, type TestServer } from '../server/test-server.ts'
import { command } from './in-process.ts'
import { hubline } from './run.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer()
})
afterAll(() => server.close())
const open: Listener[] = []
afterEach(() => {
  for (const { webSocket } of open.splice(0)) webSocket.terminate()
})

/** A terminal that a test types at. */
function fakeTerminal() {
  const modes: boolean[] = []
  let text = ''
  const input = Object.assign(new PassThrough(), { setRawMode: (raw: boolean) => modes.push(raw) })
  const screen = new Writable({
    write(piece, _encoding, done) {
      text += piece
      done()
    },
  })
  const output = Object.assign(screen, { isTTY: true, rows: 40 })
  const terminal: Terminal = { input, output }
  return {
    terminal,
    modes,
    press: (keys: string) => input.write(keys),
    screens: () => text.split('\u001b[2J\u001b[H'),
    text: () => text,
  }
}

describe('hubline top', () => {
  it('sorts by what is pressed at once, ends with q, and leaves the terminal as it was', async () => {
    open.push(await listen(server.url, 'b', 'one'), await listen(server.url, 'a', 'one'))
    const { terminal, modes, press, screens, text } = fakeTerminal()
    const done = top({ url: server.url, interval: 60_000, sort: 'wait' }, terminal)
    await until(() => screens().length === 2)
    expect(screens()[1]).toContain('waited ms *')
    press('xi')
    await until(() => screens().length === 3)
    expect(screens()[2]).toContain('client *')
    expect(screens()[2]!.indexOf('│ a ')).toBeLessThan(screens()[2]!.indexOf('│ b '))
    expect(modes).toEqual([true])
    press('bdwq')
    await done
    expect(screens().map(screen => /\w+ ?\w* \*/.exec(screen)?.[0])).toEqual([
      undefined,
      'waited ms *',
      'client *',
      'queued B *',
      'lost *',
      'waited ms *',
    ])
    expect(modes).toEqual([true, false])
    expect(text().startsWith('\u001b[?1049h')).toBe(true)
    expect(text().endsWith('\u001b[?1049l')).toBe(true)
  })

  it('gives the terminal back when the hub goes', async () => {
    const { terminal, modes, text } = fakeTerminal()
    await expect(top({ url: 'http://127.0.0.1:1', interval: 1000, sort: 'wait' }, terminal)).rejects.toThrow(
      'http://127.0.0.1:1',
    )
    expect(modes).toEqual([true, false])
    expect(text().endsWith('\u001b[?1049l')).toBe(true)
  })

  it('prints plain looks where there is no terminal', async () => {
    const running = hubline(['top', '--interval', '20', '--url', server.url])
    await running.says('published')
    await until(() => running.output().split('clients ').length > 3)
    running.kill('SIGTERM')
    await running.finished
    // biome-ignore lint/suspicious/noControlCharactersInRegex: what a file must not have
    expect(running.output()).not.toMatch(/\u001b/)
  })
})

describe('--api-key', () => {
  it('opens the hub to every command that asks it, and is in no output', async () => {
    const { key, sha256 } = newApiKey()
    const guarded = await startTestServer({ sessions: { apiKeys: { ops: { sha256, scopes: ['admin'] } } } })
    const at = ['--url', guarded.url]
    const { webSocket } = await listen(guarded.url, 'ada', 'news')
    const commands = [
      ['top', '--once'],
      ['send', 'ada', 'hi'],
      ['tail', '--client', 'ada'],
    ]
    for (const args of commands) {
      const refused = await command([...args, ...at])
      expect([refused.code, refused.stderr]).toEqual([
        1,
        'hubline: key: this needs a key, as authorization: Bearer <key>; give one with --api-key or HUBLINE_API_KEY\n',
      ])
    }
    const wrong = await command(['top', '--once', ...at, '--api-key', 'wrong-key'])
    expect([wrong.code, wrong.stderr.includes('wrong-key')]).toEqual([1, false])
    expect((await command(['top', '--once', ...at, '--api-key', key])).stdout).toMatch(/^ada /m)
    expect((await command(['send', 'ada', 'hi', ...at], { HUBLINE_API_KEY: key })).code).toBe(0)
    const unprintable = await command(['top', '--once', ...at, '--api-key', 'a key'])
    expect([unprintable.code, unprintable.stderr]).toEqual([
      2,
      'hubline: --api-key: a key is printable ASCII without spaces\n',
    ])
    webSocket.terminate()
    await guarded.close()
  })
})

describe('hubline tail', () => {
  it('tells how the client is, what it is sent, and ends with it', async () => {
    open.push(await listen(server.url, 'ada', 'tailed'))
    const running = hubline(['tail', '--client', 'ada', '--payload', '--url', server.url])
    await running.says('lost nothing')
    void server.hub.publishBytes('tailed', Buffer.from('hi\u001b[31m\u009b\u202e'), { contentType: 'text/plain' })
    await running.says('sent tailed 1')
    server.hub.unregisterClient('ada', 'flooding')
    const { code, stdout } = await running.finished
    const lines = stdout.split('\n')
    expect(lines[0]).toBe('ada  websocket  127.0.0.1')
    expect(lines[1]).toBe('  queued 0 B, waits 0 ms, lost nothing')
    expect(lines[2]).toBe('  tailed: buffered (default), live, 0 pending')
    expect(lines[3]).toMatch(/^ +\d+\.\d{3}s sent tailed 1, 12 B$/)
    expect(lines[4]).toMatch(/^ +1 text\/plain 12 B: hi\\u001b\[31m\\u009b\\u202e$/)
    expect(lines.at(-2)).toMatch(/closed: flooding$/)
    expect(code).toBe(0)
  })

  it('shows no payload that nobody asked for', async () => {
    open.push(await listen(server.url, 'ada', 'private'))
    const running = hubline(['tail', '--client', 'ada', '--url', server.url])
    await running.says('lost nothing')
    void server.hub.publishBytes('private', Buffer.from('secret'))
    await running.says('sent private 1')
    server.hub.unregisterClient('ada')
    expect((await running.finished).stdout).not.toContain('secret')
  })

  it('says so where nobody has this id, or where none is given', async () => {
    const nobody = await command(['tail', '--client', 'nobody', '--url', server.url])
    expect([nobody.code, nobody.stderr]).toEqual([1, 'hubline: client: no client "nobody" is connected\n'])
    expect((await command(['tail', '--url', server.url])).code).toBe(2)
  })
})

describe('what others wrote', () => {
  it('gives no orders to a terminal', () => {
    expect(printable('a\u001b[2J\nb\u0007\u009b1m\u202ec')).toBe('a\\u001b[2J\\u000ab\\u0007\\u009b1m\\u202ec')
  })
})
