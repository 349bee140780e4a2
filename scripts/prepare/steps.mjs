import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, staleBuild } from './build.mjs'
import { oneAtATime } from './one-at-a-time.mjs'
import { installPackages, missingPackages } from './packages.mjs'

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/** Installs and builds where that is needed. The usual case reads a few hundred files and takes no lock. */
export async function prepare(root = ROOT) {
  if (!missingPackages(root) && !staleBuild(root)) return
  await oneAtATime(root, () => {
    // Asked again: another process may have done it while this one waited.
    const missing = missingPackages(root)
    if (missing) installPackages(root, missing)
    const stale = staleBuild(root)
    if (stale) build(root, stale)
  })
}
