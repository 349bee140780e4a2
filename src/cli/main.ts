#!/usr/bin/env node
import { runCommand } from './program.ts'

const exitCode = await runCommand(process.argv.slice(2))
// A command that ended well leaves the process to what it has started: a server, or output on its way.
if (exitCode !== 0) process.exit(exitCode)
