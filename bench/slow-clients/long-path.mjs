import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'

/** A network namespace at the other end of a path that delays every packet. Linux, root and koffi. */
export class LongPath {
  #id = randomBytes(3).toString('hex')
  #name = `hubline-${this.#id}`
  #subnet = `10.204.${Number.parseInt(this.#id.slice(0, 2), 16)}`
  #delay
  address = `${this.#subnet}.1`

  /** @param {number} roundTripMs */
  static async open(roundTripMs) {
    const path = new LongPath(roundTripMs)
    await path.#connect()
    return path
  }

  /** @param {number} roundTripMs */
  constructor(roundTripMs) {
    const script = new URL('delay.mjs', import.meta.url).pathname
    const args = [script, `n${this.#id}`, `f${this.#id}`, String(roundTripMs / 2)]
    this.#delay = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  }

  /** What runs a command at the far end: its first words. */
  get command() {
    return ['ip', 'netns', 'exec', this.#name]
  }

  async #connect() {
    const [near, far] = [`n${this.#id}`, `f${this.#id}`]
    const there = await Promise.race([
      once(this.#delay.stdout, 'data'),
      once(this.#delay, 'exit').then(() => undefined),
    ])
    if (!there) throw new Error('no TUN devices here')
    try {
      ip('netns', 'add', this.#name)
      ip('link', 'set', far, 'netns', this.#name)
      ip('addr', 'add', this.address, 'peer', `${this.#subnet}.2`, 'dev', near)
      ip('link', 'set', near, 'txqueuelen', '10000', 'up')
      ip('-n', this.#name, 'addr', 'add', `${this.#subnet}.2`, 'peer', this.address, 'dev', far)
      ip('-n', this.#name, 'link', 'set', far, 'txqueuelen', '10000', 'up')
    } catch (error) {
      this.close()
      throw error
    }
  }

  close() {
    this.#delay.kill('SIGKILL')
    try {
      ip('netns', 'del', this.#name)
    } catch {}
  }
}

/** @param {string[]} args */
function ip(...args) {
  execFileSync('ip', args, { stdio: 'pipe' })
}
