import { spawnSync } from 'node:child_process'

/** Something that the person at the terminal can understand without a stack trace. */
export class Failure extends Error {
  expected = true
}

/**
 * Runs a program to its end, with its output shown as it comes.
 * @param {string} name what people call it
 * @param {string} command
 * @param {readonly string[]} args
 * @param {import('node:child_process').SpawnSyncOptions} options
 */
export function run(name, command, args, options) {
  const { status, signal, error } = spawnSync(command, args, { ...options, stdio: ['ignore', 'inherit', 'inherit'] })
  if (error) throw new Failure(`${name} could not be started: ${error.message}`)
  if (status !== 0) throw new Failure(`${name} failed (${signal ?? `exit code ${status}`}); its own message is above.`)
}

/**
 * Says how long a step took, so that a slow machine does not look like a stuck one.
 * @param {string} title
 * @param {() => void} work
 */
export function step(title, work) {
  const start = performance.now()
  console.log(`${title} ...`)
  work()
  console.log(`... done in ${((performance.now() - start) / 1000).toFixed(1)} s.`)
}
