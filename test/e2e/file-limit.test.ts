import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { connect, type Socket } from 'node:net'
import { afterEach, expect, it } from 'vitest'

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname
/** Files that the process may have open, sockets among them. */
const FILES = 256

let server: ChildProcess | undefined
const sockets: Socket[] = []
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy()
  server?.kill('SIGKILL')
})

/** A server that may not open more files than this; resolves to its port. */
async function serve(lines: string[]): Promise<number> {
  const command = `ulimit -n ${FILES} && exec '${process.execPath}' '${MAIN}' serve --port 0 --log-level warn`
  const child = spawn('bash', ['-c', command], { stdio: ['ignore', 'pipe', 'pipe'] })
  server = child
  let text = ''
  child.stderr.on('data', data => lines.push(...String(data).trim().split('\n')))
  return new Promise((resolve, reject) => {
    child.stdout.on('data', data => {
      text += String(data)
      const port = /http:\/\/127\.0\.0\.1:(\d+)/.exec(text)?.[1]
      if (port !== undefined) resolve(Number(port))
    })
    child.on('exit', code => reject(new Error(`ended with ${code}: ${text}`)))
  })
}

function hasBash(): boolean {
  try {
    execFileSync('bash', ['-c', 'ulimit -n'])
    return true
  } catch {
    return false
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 10))
}

it.skipIf(!hasBash())(
  'D14: out of files the server lives, serves whom it has, and takes others once some have gone',
  async () => {
    const lines: string[] = []
    const port = await serve(lines)
    let heard = ''
    let ended = 0
    const stream = connect(port, '127.0.0.1')
    stream.on('data', data => (heard += data.toString('latin1')))
    stream.write('GET /topics/a HTTP/1.1\r\nHost: localhost\r\n\r\n')
    sockets.push(stream)
    await until(() => heard.includes('200 OK'))
    const publisher = connect(port, '127.0.0.1')
    publisher.write('PUT /topics/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n')
    sockets.push(publisher)

    for (let i = 0; i < 400; i++) {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => {})
      socket.on('close', () => ended++)
      sockets.push(socket)
    }
    // What cannot be taken is ended by the system or by us, and not left hanging.
    await until(() => ended > 400 - FILES)
    publisher.write('5\r\nhello\r\n')
    await until(() => heard.includes('hello'))
    expect(server!.exitCode).toBeNull()
    // Once, though some 150 connections were cut.
    expect(lines.map(line => JSON.parse(line))).toEqual([
      expect.objectContaining({
        level: 40,
        limit: FILES,
        msg: expect.stringMatching(/^out of file descriptors.*ulimit -n/),
      }),
    ])

    for (const socket of sockets.splice(2)) socket.destroy()
    const ready = async () =>
      fetch(`http://127.0.0.1:${port}/health/ready`).then(
        ({ status }) => status,
        () => 0,
      )
    await expect.poll(ready, { timeout: 10_000 }).toBe(200)
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
    expect(metrics).toMatch(/^hubline_clients\{protocol="http-stream"\} 1$/m)
  },
)
