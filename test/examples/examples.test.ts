import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'

interface Example {
  readonly output: () => string
  /** The first URL that it prints. */
  readonly url: Promise<string>
  stop(): void
  readonly ended: Promise<number | null>
}

const running: Example[] = []
afterEach(() => {
  for (const example of running.splice(0)) example.stop()
})

function start(name: string): Example {
  const child = spawn(process.execPath, [`examples/${name}`], { env: { ...process.env, PORT: '0' } })
  let output = ''
  const ended = new Promise<number | null>(resolve => child.on('close', resolve))
  const url = new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', text => {
      output += text
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(output)
      if (found) resolve(found[0])
    })
    child.stderr.setEncoding('utf8').on('data', text => {
      output += text
    })
    void ended.then(code => reject(new Error(`ended with ${code}: ${output}`)))
  })
  url.catch(() => {})
  const example = { output: () => output, url, stop: () => child.kill('SIGTERM'), ended }
  running.push(example)
  return example
}

async function socket(url: string, heard: string[]): Promise<WebSocket> {
  const webSocket = new WebSocket(url.replace('http', 'ws'))
  webSocket.on('message', (data: Buffer) => heard.push(data.toString()))
  await new Promise((resolve, reject) => webSocket.on('open', resolve).on('error', reject))
  return webSocket
}

/** A WebSocket peer without manners: any path, and it never answers a close. Resolves when it is let in. */
async function rude(url: string, path: string): Promise<Socket> {
  const peer = connect(Number(new URL(url).port), '127.0.0.1')
  peer.on('error', () => {})
  peer.write(
    `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  )
  await new Promise(resolve => peer.once('data', resolve))
  return peer
}

describe('the examples do what they say', () => {
  it('fastify-app: an order reaches who follows, over another protocol', async () => {
    const example = start('fastify-app.mjs')
    const url = await example.url
    const heard: string[] = []
    const closed = new Promise<number>(resolve => {
      void socket(`${url}/topics/orders`, heard).then(webSocket => webSocket.on('close', resolve))
    })
    await expect
      .poll(async () => ((await (await fetch(`${url}/api/stats`)).json()) as { clients: number }).clients)
      .toBe(1)
    const answer = await fetch(`${url}/orders`, {
      method: 'POST',
      body: '{"item":"tea"}',
      headers: { 'content-type': 'application/json' },
    })
    expect([answer.status, await answer.json()]).toEqual([201, { told: 1 }])
    expect((await fetch(`${url}/orders`, { method: 'POST' })).status).toBe(400)
    await expect.poll(() => heard).toEqual(['{"item":"tea"}'])
    example.stop()
    expect(await closed).toBe(1012)
    expect(await example.ended).toBe(0)
  })

  it('chat: what one says in a room, everyone in the room hears, and nobody else', async () => {
    const example = start('chat.mjs')
    const url = await example.url
    expect(await (await fetch(url)).text()).toContain('<title>Chat</title>')
    const heard: Record<string, string[]> = { ann: [], bob: [], eve: [] }
    const ann = await socket(`${url}/lobby?name=ann`, heard.ann!)
    const bob = await socket(`${url}/lobby?name=bob`, heard.bob!)
    await socket(`${url}/cellar?name=eve`, heard.eve!)
    ann.send('hello')
    await expect.poll(() => heard).toEqual({ ann: ['ann: hello'], bob: ['ann: hello'], eve: [] })
    bob.send('hi')
    await expect.poll(() => heard.ann).toEqual(['ann: hello', 'bob: hi'])
    const refused = await socket(`${url}/not%20a%20room`, [])
    expect(await new Promise(resolve => refused.on('close', resolve))).toBe(1008)
    example.stop()
    expect(await example.ended).toBe(0)
  })

  it('chat: survives a path that is no URL, and what is said while it shuts down', async () => {
    const example = start('chat.mjs')
    const url = await example.url
    const lost = await rude(url, '//')
    const talker = await rude(url, '/lobby')
    const goodbye = new Promise(resolve => talker.once('data', resolve))
    example.stop()
    await goodbye
    // A masked text frame of one byte, after the close frame came.
    talker.write(Buffer.from([0x81, 0x81, 0, 0, 0, 0, 0x78]))
    expect([await example.ended, example.output()]).toEqual([0, expect.not.stringContaining('Error')])
    for (const peer of [lost, talker]) peer.destroy()
  })

  it('telemetry: the slow client has the newest of every sensor, and was told what it lost', async () => {
    const example = start('telemetry.mjs')
    expect(await example.ended).toBe(0)
    const row = (id: string) => {
      const line =
        example
          .output()
          .split('\n')
          .find(each => each.includes(`│ ${id} `)) ?? id
      return line.split('│').map(Number).filter(Number.isFinite).slice(1, 6)
    }
    const [fast, slow] = [row('fast'), row('slow')]
    expect(fast).toEqual([2000, 2000, 0, 0, 100])
    const [published, delivered, dropped, told, upToDate] = slow as [number, number, number, number, number]
    expect([published, delivered + dropped, told, upToDate]).toEqual([2000, 2000, dropped, 100])
    expect(dropped).toBeGreaterThan(500)
  })

  it('custom-policy: keeps the contract', async () => {
    const example = start('custom-policy.mjs')
    expect(await example.ended).toBe(0)
    expect(example.output().match(/^ok: /gm)).toHaveLength(7)
  })

  it('testing: the tests of an application run in its own vitest, and docs/testing.md shows them', () => {
    // What this run of vitest tells its workers must not reach the other.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('VITEST')))
    const args = ['node_modules/vitest/vitest.mjs', 'run', '--root', 'examples/testing', '--reporter=json']
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { env, encoding: 'utf8', timeout: 60_000 })
    expect(status, stderr).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ numPassedTests: 5, numTotalTests: 5 })
    const page = readFileSync('docs/testing.md', 'utf8')
    for (const file of ['orders.mjs', 'orders.test.mjs']) {
      expect(page).toContain(readFileSync(`examples/testing/${file}`, 'utf8'))
    }
  })

  it('tracing: prints the tree that docs/metrics.md shows, and told the receiver of each request', async () => {
    const example = start('tracing.mjs')
    expect(await example.ended).toBe(0)
    const lines = example.output().trimEnd().split('\n')
    expect(lines.pop()).toBe('true')
    expect(readFileSync('docs/metrics.md', 'utf8')).toContain(`\`\`\`text\n${lines.join('\n')}\n\`\`\``)
  })
})

describe('api-gateway', () => {
  it('runs a backend for AWS on a hub, and has a connection of API Gateway as a client', async () => {
    const example = start('api-gateway/run.mjs')
    example.url.catch(() => {})
    expect(await example.ended).toBe(0)
    const lines = example.output().split('\n')
    for (const line of [
      '  ada hears: Good morning',
      '  grace hears: Good morning',
      '  left after the first 410: ada,grace',
      '  ada has been connected for 0 s',
      '  grace is closed: 1000',
      '  ada hears: through two hubs',
      '  ada hears: to her alone',
      '  sent and confirmed: true',
      '  ada is closed: 1012',
    ]) {
      expect(lines).toContain(line)
    }
  })
})
