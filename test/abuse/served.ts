import { spawn } from 'node:child_process'
import { once } from 'node:events'

export interface Served extends AsyncDisposable {
  readonly url: string
  /** undefined: it runs. */
  readonly exitCode: () => number | null
  /** What it has logged. */
  readonly log: () => string
  readonly kill: (signal: NodeJS.Signals) => void
  readonly finished: Promise<number | null>
  /** As its metrics tell. */
  residentBytes(): Promise<number>
}

/** `hubline serve` as it is built and by its defaults, on a free port. */
export async function serve(flags: readonly string[] = []): Promise<Served> {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('HUBLINE_')))
  const args = ['dist/cli/main.js', 'serve', '--port', '0', ...flags]
  const child = spawn(process.execPath, args, { env })
  let output = ''
  let log = ''
  child.stdout.setEncoding('utf8').on('data', text => {
    output += text
  })
  child.stderr.setEncoding('utf8').on('data', text => {
    log += text
  })
  const finished = new Promise<number | null>(resolve => child.on('close', code => resolve(code)))
  while (!/http:\/\/127\.0\.0\.1:\d+/.test(output)) {
    const [what] = await Promise.race([once(child.stdout, 'data'), finished.then(code => [code])])
    if (typeof what !== 'string') throw new Error(`ended with ${what} before it served: ${log}`)
  }
  const url = /http:\/\/127\.0\.0\.1:\d+/.exec(output)![0]
  return {
    url,
    exitCode: () => child.exitCode,
    log: () => log,
    kill: signal => child.kill(signal),
    finished,
    async residentBytes() {
      const metrics = await (await fetch(`${url}/metrics`)).text()
      return Number(/^process_resident_memory_bytes (\d+)/m.exec(metrics)?.[1])
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await finished
    },
  }
}
