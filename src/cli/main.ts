#!/usr/bin/env node
import { runCommand } from './program.ts'

// A reader that has had enough (`| head -1`) changes nothing in what a command does, nor in its exit code.
process.stdout.on('error', ({ code, message }: NodeJS.ErrnoException) => {
  if (code === 'EPIPE') return
  process.stderr.write(`hubline: stdout: ${message}\n`)
  process.exit(1)
})
process.stderr.on('error', () => {})

const exitCode = await runCommand(process.argv.slice(2))
// A command that ended well leaves the process to what it has started: a server, or output on its way.
if (exitCode !== 0) process.exit(exitCode)
