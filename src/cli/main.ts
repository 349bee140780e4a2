#!/usr/bin/env node
import { runCommand } from './program.ts'

// A reader that has had enough (`| head -1`) changes nothing in what a command does, nor in its exit code.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})
process.stderr.on('error', () => {})

const exitCode = await runCommand(process.argv.slice(2))
// A command that ended well leaves the process to what it has started: a server, or output on its way.
if (exitCode !== 0) process.exit(exitCode)
