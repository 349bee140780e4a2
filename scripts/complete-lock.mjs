// npm leaves the binaries of foreign platforms out of the lockfile when the registry cannot answer for them, and `npm ci` then
// refuses the lockfile: "Missing: ... from lock file" (npm/cli#9846). This adds the entries, so that one lock serves every platform.
// Usage: node scripts/complete-lock.mjs [--check] [FILE]       Run it after every change of a dependency.
import { readFileSync, writeFileSync } from 'node:fs'
import { missingEntries, problems } from './lock/entries.mjs'

const args = process.argv.slice(2)
const check = args.includes('--check')
const file = args.find(each => !each.startsWith('--')) ?? 'package-lock.json'
const lock = JSON.parse(readFileSync(file, 'utf8'))

try {
  if (check) report(problems(lock))
  else complete()
} catch (error) {
  report([error instanceof Error ? error.message : String(error)])
}

function complete() {
  const missing = Object.entries(missingEntries(lock))
  const packages = [...Object.entries(lock.packages), ...missing].sort(([a], [b]) => a.localeCompare(b, 'en'))
  lock.packages = Object.fromEntries(packages)
  if (missing.length > 0) writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`)
  console.log(`${file}: ${missing.length} entries added.`)
}

/** @param {string[]} found */
function report(found) {
  for (const problem of found) console.error(`${file}: ${problem}`)
  if (found.length > 0) process.exitCode = 1
  else console.log(`${file} serves every platform.`)
}
