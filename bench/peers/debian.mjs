// What the peers have in common that Debian packages and scripts/install-bench-peers.sh installs: each runs in the foreground, in a
// directory of its own that goes when it stops, with nothing of /etc.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startServer } from './process.mjs'

/** Directories of servers that run. */
const directories = new Set()
process.on('exit', () => {
  for (const directory of directories) remove(directory)
})

function remove(directory) {
  rmSync(directory, { recursive: true, force: true })
  directories.delete(directory)
}

/** Starts the server with the file that `config` makes for its directory. */
export async function startWith({ config, args, ...options }) {
  const directory = mkdtempSync(join(tmpdir(), 'hubline-bench-'))
  directories.add(directory)
  try {
    const file = join(directory, 'config')
    writeFileSync(file, config(directory))
    const server = await startServer({ ...options, args: args(file, directory) })
    return {
      ...server,
      async stop() {
        await server.stop()
        remove(directory)
      },
    }
  } catch (error) {
    remove(directory)
    throw error
  }
}

/** The first of these files that is not there, as `missing()` says it. */
export function missingOf(...files) {
  const file = files.find(each => !existsSync(each))
  return file && `${file} is not there: scripts/install-bench-peers.sh installs it`
}

/** The version number in what a program prints. */
export function printed(program, ...args) {
  const { stdout = '', stderr = '' } = spawnSync(program, args, { encoding: 'utf8' })
  return /\d+(\.\d+)+/.exec(`${stdout}${stderr}`)?.[0] ?? 'unknown'
}
