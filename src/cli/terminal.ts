import type { Readable, Writable } from 'node:stream'

/** stdin and stdout, or what a test has in their place. */
export interface Terminal {
  readonly input?: Readable & { setRawMode?(raw: boolean): unknown }
  readonly output: Writable & { readonly isTTY?: boolean; readonly rows?: number }
}

/** Keys as they are pressed. Owns the terminal's mode until it is disposed of. */
export interface Keyboard extends Disposable {
  /** The next key, or undefined when none came within `ms`. */
  next(ms: number): Promise<string | undefined>
}

/** Where there is no input, nobody presses anything. */
export function openKeyboard({ input }: Terminal): Keyboard {
  let told: ((key: string) => void) | undefined
  const waiting: string[] = []
  const listen = (pressed: Buffer): void => {
    for (const key of pressed.toString()) {
      if (told) told(key)
      else waiting.push(key)
    }
  }
  input?.setRawMode?.(true)
  input?.on('data', listen)
  return {
    next(ms) {
      const [key] = waiting.splice(0, 1)
      if (key !== undefined) return Promise.resolve(key)
      return new Promise(resolve => {
        const end = (key?: string): void => {
          told = undefined
          clearTimeout(timer)
          resolve(key)
        }
        const timer = setTimeout(end, Math.max(0, ms))
        told = end
      })
    },
    [Symbol.dispose]() {
      input?.off('data', listen)
      input?.setRawMode?.(false)
      // It would keep the process.
      input?.pause()
    },
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not reach a terminal
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g

/** What somebody else wrote, so that no terminal takes it for an order. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
