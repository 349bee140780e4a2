// Two copies of ws would be two sets of limits, one of them untested. Usage: node scripts/single-version.mjs PACKAGE OLDEST
import { spawnSync } from 'node:child_process'

const [name = '', oldest = ''] = process.argv.slice(2)
const { stdout } = spawnSync('npm', ['ls', name, '--all', '--json'], {
  encoding: 'utf8',
  shell: process.platform === 'win32',
})
const versions = [...new Set(versionsIn(JSON.parse(stdout)))]
const right =
  versions.length === 1 && versions.every(version => version.localeCompare(oldest, 'en', { numeric: true }) >= 0)
const found = `${name}: ${versions.join(', ') || 'not installed'}`
if (right) console.log(found)
else {
  console.error(`${found}; expected one version, ${oldest} or newer. npm ls ${name} tells who asks for it.`)
  process.exitCode = 1
}

/** @typedef {{version?: string, dependencies?: Record<string, Tree>}} Tree */
/** @type {(tree: Tree) => string[]} */
function versionsIn({ dependencies = {} }) {
  return Object.entries(dependencies).flatMap(([each, tree]) => [
    ...(each === name ? [String(tree.version)] : []),
    ...versionsIn(tree),
  ])
}
