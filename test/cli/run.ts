import { spawn } from 'node:child_process'

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly output: () => string
  readonly errors: () => string
  /** Resolves when stdout has this text. */
  says(text: string): Promise<void>
  /** Resolves when stderr has this text. */
  logs(text: string): Promise<void>
  write(text: string): void
  end(): void
  kill(signal: NodeJS.Signals): void
  readonly finished: Promise<Finished>
}

/** The built command line, as a user starts it. */
export function hubline(args: readonly string[], env: Record<string, string> = {}): Running {
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('HUBLINE_')))
  const child = spawn(process.execPath, ['dist/cli/main.js', ...args], { env: { ...inherited, ...env } })
  let stdout = ''
  let stderr = ''
  let changed = () => {}
  child.stdout.setEncoding('utf8').on('data', text => {
    stdout += text
    changed()
  })
  child.stderr.setEncoding('utf8').on('data', text => {
    stderr += text
    changed()
  })
  child.stdin.on('error', () => {})
  const finished = new Promise<Finished>(resolve => child.on('close', code => resolve({ code, stdout, stderr })))
  const until = (said: () => boolean, text: string) =>
    new Promise<void>((resolve, reject) => {
      changed = () => said() && resolve()
      changed()
      void finished.then(({ code }) => reject(new Error(`ended with ${code} before it said ${text}: ${stderr}`)))
    })
  return {
    output: () => stdout,
    errors: () => stderr,
    says: text => until(() => stdout.includes(text), text),
    logs: text => until(() => stderr.includes(text), text),
    write: text => child.stdin.write(text),
    end: () => child.stdin.end(),
    kill: signal => child.kill(signal),
    finished,
  }
}
