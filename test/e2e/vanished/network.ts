import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'

/** A host of its own at the other end of a cable, which can be pulled: neither side is told, and TCP is left to find out. */
export class FarHost implements Disposable {
  /** Never one that was used before: the kernel takes a network and its cable down some time after it is told to. */
  readonly #random = randomBytes(4)
  readonly #id = this.#random.toString('hex')
  readonly #subnet = `10.203.${this.#random[0]}`
  readonly name = `hubline-${this.#id}`
  readonly #link = `hub${this.#id}`
  readonly address = `${this.#subnet}.1`

  constructor() {
    const { name } = this
    const link = this.#link
    ip('netns', 'add', name)
    try {
      ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'far', 'netns', name)
      ip('addr', 'add', `${this.address}/30`, 'dev', link)
      ip('link', 'set', link, 'up')
      ip('-n', name, 'addr', 'add', `${this.#subnet}.2/30`, 'dev', 'far')
      ip('-n', name, 'link', 'set', 'far', 'up')
      ip('-n', name, 'link', 'set', 'lo', 'up')
    } catch (error) {
      this[Symbol.dispose]()
      throw error
    }
  }

  /** What runs there: a command and its first arguments. */
  get command(): readonly [string, ...string[]] {
    return ['ip', 'netns', 'exec', this.name]
  }

  pull(): void {
    ip('-n', this.name, 'link', 'set', 'far', 'down')
  }

  [Symbol.dispose](): void {
    for (const end of [
      ['link', 'del', this.#link],
      ['netns', 'del', this.name],
    ]) {
      try {
        ip(...end)
      } catch {}
    }
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: 'pipe' })
}

/** Why there can be no such host here; undefined: there can. */
export function missing(): string | undefined {
  if (process.platform !== 'linux') return 'it needs network namespaces, which are Linux’s'
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  try {
    new FarHost()[Symbol.dispose]()
    return undefined
  } catch (error) {
    return `ip netns does not work here: ${(error as Error).message.split('\n')[0]}`
  }
}
