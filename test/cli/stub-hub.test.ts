import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, describe, expect, it } from 'vitest'
import { command } from './in-process.ts'
import { hubline } from './run.ts'

const folder = mkdtempSync(join(tmpdir(), 'hubline-stub-'))
const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

/** A hub that does what a test says, which the real one does only when it is in trouble. */
async function stubHub(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(answer).listen(0, '127.0.0.1')
  await once(server, 'listening')
  ends.push(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const event = (data: string): string => `data: ${Buffer.from(data).toString('base64')}\n\n`

describe('subscribe', () => {
  for (const flags of [[], ['--lines']]) {
    it(`ends with 1 and a sentence when the hub resets the connection ${flags}`, async () => {
      let reset = () => {}
      const url = await stubHub((request, response) => {
        response.write(flags.length > 0 ? event('hi') : 'hi\n')
        reset = () => request.socket.resetAndDestroy()
      })
      const reader = hubline(['subscribe', 'a', ...flags, '--url', url])
      await reader.says('hi\n')
      reset()
      const { code, stderr } = await reader.finished
      expect([code, stderr]).toEqual([
        1,
        'hubline: the hub cut the stream: this client was too slow, or the hub went away\n',
      ])
    })
  }

  it('ends with 0 where the hub shuts down in order, and with 1 where it had another reason', async () => {
    const url = await stubHub((request, response) => {
      const reason = request.url!.includes('/down') ? 'shutdown' : 'overloaded'
      response.end(`${event('last')}event: close\ndata: {"reason":"${reason}"}\n\n`)
    })
    const down = await hubline(['subscribe', 'down', '--lines', '--url', url]).finished
    expect(down).toEqual({ code: 0, stdout: 'last\n', stderr: '[closed by the hub: shutdown]\n' })
    const failed = await hubline(['subscribe', 'other', '--lines', '--url', url]).finished
    expect(failed).toMatchObject({ code: 1, stdout: 'last\n' })
    expect(failed.stderr).toContain('hubline: the hub closed the stream: overloaded\n')
  })

  it('comes back after a cut and goes on where it stopped, whether it was reset or ended', async () => {
    const asked: unknown[] = []
    const url = await stubHub((request, response) => {
      asked.push(request.headers['last-event-id'])
      if (asked.length === 1) response.write('id: e-0\n\n', () => request.socket.resetAndDestroy())
      else if (asked.length === 2) response.end(`id: e-1\n${event('one')}`)
      else response.write(`id: e-2\n${event('two')}`)
    })
    const reader = hubline(['subscribe', 'a', '--lines', '-n', '2', '--url', url])
    const { code, stdout, stderr } = await reader.finished
    expect([code, stdout]).toEqual([0, 'one\ntwo\n'])
    expect(asked).toEqual([undefined, 'e-0', 'e-1'])
    expect(stderr).toBe('[cut off: coming back]\n[cut off: coming back]\n')
  })

  it('ends quietly when whoever reads its output has had enough', async () => {
    let say = (_: string) => {}
    const url = await stubHub((_, response) => {
      say = data => response.write(event(data))
      say('first')
    })
    const child = spawn(process.execPath, ['dist/cli/main.js', 'subscribe', 'a', '--lines', '--url', url])
    const errors = text(child.stderr)
    await once(child.stdout, 'data')
    child.stdout.destroy()
    await once(child.stdout, 'close')
    say('second')
    const [code] = await once(child, 'close')
    expect([code, await errors]).toEqual([0, ''])
  })
})

describe('commands that print and end', () => {
  const cases: [string[], number][] = [
    [['--help'], 0],
    [['token', 'key'], 0],
    [['config', 'check'], 0],
    [['config', 'check', '--policy', 'x'], 2],
    [['token', 'check', 'x'], 1],
  ]
  it.each(cases)('%j has the same exit code when nobody reads its output', async (args, exitCode) => {
    const child = spawn(process.execPath, ['dist/cli/main.js', ...args])
    child.stdout.destroy()
    child.stderr.destroy()
    expect(await once(child, 'close')).toEqual([exitCode, null])
  })

  it('says nothing of it', async () => {
    const child = spawn(process.execPath, ['dist/cli/main.js', 'token', 'key'])
    child.stdout.destroy()
    expect(await text(child.stderr)).toBe('')
  })
})

describe('top, by its older name', () => {
  it('ends quietly when whoever reads its output has had enough', async () => {
    const none = { count: 0, errors: {}, retries: 0 }
    const answers: Record<string, object> = {
      '/hub/api/stats': { clients: 0, published: 0, delivered: 0, dropped: 0, drops: [], uptimeMs: 1 },
      '/hub/api/metrics': { operations: { send: none, callback: none }, circuits: {} },
      '/hub/api/clients?sort=wait&limit=30': { clients: [], total: 0 },
    }
    const url = await stubHub((request, response) => {
      response.end(JSON.stringify(answers[request.url!]))
    })
    // The hub is behind a proxy, below a path.
    const args = ['dist/cli/main.js', 'stats', '--interval', '10', '--url', `${url}/hub/`]
    const child = spawn(process.execPath, args)
    const errors = text(child.stderr)
    await once(child.stdout, 'data')
    child.stdout.destroy()
    const [code] = await once(child, 'close')
    expect([code, await errors]).toEqual([0, ''])
  })
})

describe('publish', () => {
  const line = '{"a":1}\n'
  for (const name of ['a.ndjson', 'a.jsonl', 'a.log']) writeFileSync(join(folder, name), line)

  const cases: [string, string[], Partial<Record<'method' | 'url' | 'type', string>>][] = [
    [
      'lines of JSON',
      ['a.ndjson', '--lines'],
      { method: 'PUT', url: '/topics/a?split=lines', type: 'application/json' },
    ],
    ['lines of JSON', ['a.jsonl', '--lines'], { type: 'application/json' }],
    ['other lines', ['a.log', '--lines'], { type: 'text/plain; charset=utf-8' }],
    [
      'what the user says',
      ['a.log', '--lines', '--type', 'text/csv; header=absent'],
      { type: 'text/csv; header=absent' },
    ],
    ['a live source', ['a.log', '--rate', '1m'], { method: 'PUT', url: '/topics/a', type: 'application/octet-stream' }],
    ['one message', ['a.log', '--key', 'k 1'], { method: 'POST', url: '/topics/a?key=k+1' }],
  ]
  for (const [what, [file, ...flags], expected] of cases) {
    it(`sends ${what} as such: ${[file, ...flags].join(' ')}`, async () => {
      let seen: object = {}
      const url = await stubHub((request, response) => {
        const { method, url, headers } = request
        void text(request).then(body => {
          seen = { method, url, type: headers['content-type'], body }
          response.end('{}')
        })
      })
      const { code } = await command(['publish', 'a', join(folder, file!), ...flags, '--url', url])
      expect(code).toBe(0)
      expect(seen).toMatchObject({ ...expected, body: line })
    })
  }

  it('says what was refused and what subscribers could not receive', async () => {
    const url = await stubHub((request, response) => {
      const answer =
        request.method === 'PUT'
          ? { messages: 2, bytes: 6, refused: 1, unsupported: 4 }
          : { seq: 1, matched: 2, unsupported: 2 }
      void text(request).then(() => response.end(JSON.stringify(answer)))
    })
    const publish = (...flags: string[]) => command(['publish', 'a', join(folder, 'a.log'), ...flags, '--url', url])
    expect((await publish('--lines')).stderr).toBe('2 messages, 6 bytes, 1 refused, 4 undeliverable\n')
    expect((await publish()).stderr).toBe('message 1, 2 subscribers, 2 undeliverable\n')
  })

  it('does not wait for the end of its source once the hub has refused', async () => {
    const url = await stubHub((_, response) => {
      response.writeHead(413).end('{"error":{"code":"MESSAGE_TOO_LARGE","message":"body: too long"}}')
    })
    const writer = hubline(['publish', 'a', '--lines', '--url', url])
    writer.write('a line, and stdin stays open\n')
    expect(await writer.finished).toMatchObject({ code: 1, stderr: 'hubline: body: too long\n' })
  })
})

describe('send', () => {
  const cases: [string, string[], string, Partial<Record<'url' | 'type' | 'body', string>>][] = [
    ['a text', ['ada', 'hi there'], '', { url: '/api/clients/ada/send', body: 'hi there' }],
    ['a text of nothing', ['ada', ''], 'unread', { body: '' }],
    ['what comes on stdin', ['ada'], 'two\nlines', { body: 'two\nlines' }],
    [
      'what the user says of it',
      ['a@b:c', 'x', '--confirm', '--id', 'order 7&', '--timeout', '300000', '--type', 'text/csv'],
      '',
      { url: '/api/clients/a@b:c/send?confirm=true&id=order+7%26&timeoutMs=300000', type: 'text/csv' },
    ],
  ]
  for (const [what, args, stdin, expected] of cases) {
    it(`sends ${what}, below the path of a proxy`, async () => {
      let seen: object = {}
      const base = await stubHub((request, response) => {
        const { method, url, headers } = request
        void text(request).then(body => {
          seen = { method, url, type: headers['content-type'], body }
          response.end('{"id":"m1","confirmed":false,"ms":0.25}')
        })
      })
      const line = ['send', ...args, '--url', `${base}/hub`]
      if (stdin === '') expect((await command(line)).code).toBe(0)
      else {
        const sender = hubline(line)
        sender.write(stdin)
        sender.end()
        expect((await sender.finished).code).toBe(0)
      }
      const { url = '/api/clients/ada/send', type = 'application/x-www-form-urlencoded' } = expected
      expect(seen).toMatchObject({ method: 'POST', ...expected, url: `/hub${url}`, type })
    })
  }
})

describe('demo', () => {
  it('takes its level of logging from the environment before its own default', async () => {
    const { code, stderr } = await command(['demo', '--port', '0'], { HUBLINE_LOG_LEVEL: 'loud' })
    expect(code).toBe(2)
    expect(stderr).toMatch(/^hubline: environment: logLevel must be one of .*"warn".*, got "loud"\n$/)
  })
})

describe('HUBLINE_DEBUG=1', () => {
  it('shows where a failure comes from, before its one line', async () => {
    const { stderr } = await command(['serve', '--log-level', 'loud'], { HUBLINE_DEBUG: '1' })
    expect(stderr).toMatch(/HubError: options: logLevel[\s\S]*\bat [\s\S]*\nhubline: options: logLevel.*\n$/)
  })
})
