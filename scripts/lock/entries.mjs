/**
 * @typedef {object} Entry
 * @property {string} [version]
 * @property {string} [resolved]
 * @property {string} [integrity]
 * @property {boolean} [dev]
 * @property {boolean} [optional]
 * @property {boolean} [link]
 * @property {boolean} [inBundle]
 * @property {string[]} [os]
 * @property {string[]} [cpu]
 * @property {string[]} [libc]
 * @property {Record<string, string>} [optionalDependencies]
 *
 * @typedef {{packages: Record<string, Entry>}} Lock
 */

const OS = ['aix', 'android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32']
const CPU = ['arm64', 'arm', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'wasm32', 'x64']

/**
 * The optional packages that something in the lock asks for and that have no entry.
 * @param {Lock} lock
 * @returns {Record<string, Entry>}
 */
export function missingEntries({ packages }) {
  /** @type {Record<string, Entry>} */
  const missing = {}
  for (const [path, entry] of Object.entries(packages)) {
    for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
      if (!isFound(packages, path, name)) missing[`node_modules/${name}`] = foreign(name, range, entry)
    }
  }
  return missing
}

/**
 * What keeps a lock from serving every platform and every registry, one sentence each.
 * @param {Lock} lock
 * @returns {string[]}
 */
export function problems(lock) {
  const missing = Object.keys(missingEntries(lock)).map(path => `${path} is missing: run npm run lock`)
  return [...missing, ...Object.entries(lock.packages).flatMap(([path, entry]) => wrongWith(path, entry))]
}

/** @type {(path: string, entry: Entry) => string[]} */
function wrongWith(path, entry) {
  if (entry.link || !path.startsWith('node_modules/')) return []
  const wrong = []
  if (entry.resolved)
    wrong.push(`${path} names the registry it came from: .npmrc must have omit-lockfile-registry-resolved`)
  // What this script added has no checksum, for want of a registry that knows it; npm never installs that on this platform.
  const isForeign = entry.optional && (entry.os || entry.cpu)
  if (!entry.integrity && !entry.inBundle && !isForeign) wrong.push(`${path} has no integrity`)
  return wrong
}

/** As Node looks for a package: in the asking package's folder, then in every folder above. */
function isFound(/** @type {Lock['packages']} */ packages, /** @type {string} */ from, /** @type {string} */ name) {
  for (let folder = from; folder !== ''; folder = above(folder)) {
    if (packages[`${folder}/node_modules/${name}`]) return true
  }
  return packages[`node_modules/${name}`] !== undefined
}

/** @param {string} folder */
function above(folder) {
  return folder.slice(0, Math.max(folder.lastIndexOf('/node_modules/'), 0))
}

/**
 * The platform is in the name, as in `@biomejs/cli-darwin-arm64`, and the package that asks for it pins the version.
 * @type {(name: string, range: string, parent: Entry) => Entry}
 */
function foreign(name, range, parent) {
  const words = name.split(/[-_/.]/)
  const os = OS.find(each => words.includes(each))
  const cpu = CPU.find(each => words.includes(each))
  const version = /^[~^]?(\d+\.\d+\.\d+[\w.-]*)$/.exec(range)?.[1]
  if (!version || !(os || cpu === 'wasm32')) {
    throw new Error(`${name}@${range} is missing and is not the binary of one platform: run npm install again`)
  }
  const libc = words.some(word => word.startsWith('musl'))
    ? 'musl'
    : words.some(word => word.startsWith('gnu')) && 'glibc'
  return {
    version,
    ...(cpu && { cpu: [cpu] }),
    ...(parent.dev && { dev: true }),
    ...(libc && { libc: [libc] }),
    optional: true,
    ...(os && { os: [os] }),
  }
}
