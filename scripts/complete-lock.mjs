// npm writes a lockfile that `npm ci` then refuses when the registry cannot answer for the binaries of foreign platforms: they are
// named as optional dependencies, and have no entry. This adds the entries, so that the lock serves every platform.
// Usage: node scripts/complete-lock.mjs [--check]
import { readFileSync, writeFileSync } from 'node:fs'

const OS = ['aix', 'android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32']
const CPU = ['arm64', 'arm', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'x64']

const file = new URL('../package-lock.json', import.meta.url)
const lock = JSON.parse(readFileSync(file, 'utf8'))
const missing = new Map()

for (const [path, entry] of Object.entries(lock.packages)) {
  if (path === '') continue
  for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
    const found = lock.packages[`${path}/node_modules/${name}`] ?? lock.packages[`node_modules/${name}`]
    if (!found) missing.set(`node_modules/${name}`, foreign(name, range, entry))
  }
}

/** The platform is in the name, as in `@biomejs/cli-darwin-arm64`; the version is pinned by the package that asks for it. */
function foreign(name, range, parent) {
  const words = name.split(/[-_/.]/)
  const os = OS.find(each => words.includes(each))
  const cpu = CPU.find(each => words.includes(each))
  if (!os)
    throw new Error(`package-lock.json: ${name} is missing and its name tells no platform: run npm install again`)
  const libc = words.includes('musl') ? { libc: ['musl'] } : {}
  return {
    version: range.replace(/^[~^]/, ''),
    ...(cpu && { cpu: [cpu] }),
    ...(parent.dev && { dev: true }),
    optional: true,
    os: [os],
    ...libc,
  }
}

if (process.argv.includes('--check')) {
  if (missing.size > 0) {
    console.error(`package-lock.json lacks ${[...missing.keys()].join(', ')}: run npm run lock`)
    process.exit(1)
  }
  console.log('package-lock.json is complete.')
} else {
  const all = [...Object.entries(lock.packages), ...missing]
  all.sort(([a], [b]) => (a < b ? -1 : 1))
  lock.packages = Object.fromEntries(all)
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`)
  console.log(`package-lock.json: ${missing.size} entries added.`)
}
