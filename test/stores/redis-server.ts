import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'

const installed = (process.env.PATH ?? '').split(delimiter).some(folder => existsSync(join(folder, 'redis-server')))
const required = process.env.HUBLINE_TEST_REQUIRE_ALL === '1'
/** For describe.skipIf: where everything is required, its absence is a failure. */
export const withoutRedis = !installed && !required
if (withoutRedis) {
  console.log('Skipped: the Redis tests need redis-server; npm run setup:redis installs it (apt-get, as root).')
}

/** A Redis of the test's own, on a port of its own, that keeps nothing on the disk. */
export class RedisServer {
  readonly port: number
  readonly url: string
  readonly #process: ChildProcess
  readonly #folder: string
  readonly #killAtExit = () => this.#process.kill('SIGKILL')

  private constructor(child: ChildProcess, folder: string, port: number) {
    this.#process = child
    this.#folder = folder
    this.port = port
    this.url = `redis://127.0.0.1:${port}`
    process.once('exit', this.#killAtExit)
  }

  static async start(port?: number, flags: readonly string[] = []): Promise<RedisServer> {
    const ownPort = port ?? (await freePort())
    const folder = mkdtempSync(join(tmpdir(), 'hubline-redis-'))
    const settings = { port: `${ownPort}`, bind: '127.0.0.1', save: '', appendonly: 'no', dir: folder }
    const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value])
    const child = spawn('redis-server', [...args, ...flags], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(child, 'spawn').catch(error => {
      rmSync(folder, { recursive: true })
      throw error
    })
    const server = new RedisServer(child, folder, ownPort)
    await server.#ready()
    return server
  }

  pause(): void {
    this.#process.kill('SIGSTOP')
  }

  resume(): void {
    this.#process.kill('SIGCONT')
  }

  /** SIGKILL: nothing is told to anybody. */
  async kill(): Promise<void> {
    process.off('exit', this.#killAtExit)
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const exit = once(this.#process, 'exit')
      this.#process.kill('SIGKILL')
      await exit
    }
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #ready(): Promise<void> {
    const told: string[] = []
    for await (const line of createInterface({ input: this.#process.stdout! })) {
      told.push(line)
      if (line.includes('Ready to accept connections')) {
        this.#process.stdout!.resume()
        return
      }
    }
    await this.kill()
    throw new Error(`redis-server ended before it was ready:\n${told.join('\n')}`)
  }
}

/** Free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
