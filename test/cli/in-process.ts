import { vi } from 'vitest'
import { runCommand } from '../../src/cli/program.ts'
import type { Finished } from './run.ts'

/**
 * The command line in this process: hundreds of times faster than a process of its own. For commands that end by themselves, one at a
 * time, and read no stdin. What only a process shows (signals, pipes, its exit code) is tested with `hubline` of run.ts.
 */
export async function command(args: readonly string[], env: Record<string, string> = {}): Promise<Finished> {
  const inherited = process.env
  const output = { stdout: '', stderr: '' }
  const collect = (name: 'stdout' | 'stderr') =>
    vi.spyOn(process[name], 'write').mockImplementation(text => {
      output[name] += text
      return true
    })
  const spies = [
    collect('stdout'),
    collect('stderr'),
    // vitest has a console of its own, which does not write to these two.
    vi.spyOn(console, 'log').mockImplementation(text => {
      output.stdout += `${text}\n`
    }),
    vi.spyOn(console, 'error').mockImplementation(text => {
      output.stderr += `${text instanceof Error ? text.stack : text}\n`
    }),
  ]
  process.env = Object.fromEntries(Object.entries(inherited).filter(([name]) => !name.startsWith('HUBLINE_')))
  Object.assign(process.env, env)
  try {
    return { code: await runCommand(args), ...output }
  } finally {
    process.env = inherited
    for (const spy of spies) spy.mockRestore()
  }
}
