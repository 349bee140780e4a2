import { createHash } from 'node:crypto'
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { pathToFileURL } from 'node:url'
import { run, step } from './run.mjs'

/** What else than the sources decides what the compiler writes. */
const SETTINGS = ['package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json']

/**
 * Why dist/ is not the build of these sources, or undefined where it is. By content and not by time: times change with a
 * checkout, an unpacked archive or a copy, and do not show that a source was removed.
 * @param {string} root
 * @returns {string | undefined}
 */
export function staleBuild(root) {
  const stamp = join(root, 'dist', '.built')
  if (!existsSync(stamp)) return 'none yet'
  if (readFileSync(stamp, 'utf8') !== fingerprint(root)) return 'the sources have changed'
  const lost = sources(root).find(source => !existsSync(join(root, 'dist', `${source}.js`)))
  return lost ? `dist/${lost}.js is gone` : undefined
}

/**
 * @param {string} root
 * @param {string} reason
 */
export function build(root, reason) {
  // Taken first: a source that is edited while the compiler runs makes the next build due.
  const stamp = fingerprint(root)
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const args = [compiler, '-p', 'tsconfig.build.json']
  step(`Building (tsc; ${reason})`, () => run('The compiler', process.execPath, args, { cwd: root }))
  removeLeftovers(root)
  // `npx hubline` in the repository runs the file itself. The small packages of the tests have none.
  const command = join(root, 'dist', 'cli', 'main.js')
  if (existsSync(command)) {
    run('The bundler', process.execPath, [join(root, 'scripts', 'prepare', 'bundle.mjs')], { cwd: root })
    chmodSync(command, 0o755)
  }
  writeFileSync(join(root, 'dist', '.built'), stamp)
}

/** @param {string} root */
function fingerprint(root) {
  const hash = createHash('sha256')
  for (const path of [...SETTINGS, ...sources(root).map(source => join('src', `${source}.ts`))]) {
    hash
      .update(`${path}\0`)
      .update(readFileSync(join(root, path)))
      .update('\0')
  }
  return hash.digest('hex')
}

/** The compiler leaves the output of a source that is no longer there. @param {string} root */
function removeLeftovers(root) {
  const wanted = new Set(sources(root))
  for (const path of filesBelow(join(root, 'dist'))) {
    const output = /^(.*?)\.(js|d\.ts)(\.map)?$/.exec(path)
    if (output && !wanted.has(/** @type {string} */ (output[1]))) rmSync(join(root, 'dist', path))
  }
}

/** Without the extension, relative to src/, with slashes, in an order that is the same everywhere. @param {string} root */
function sources(root) {
  return filesBelow(join(root, 'src'))
    .filter(path => path.endsWith('.ts'))
    .map(path => path.slice(0, -'.ts'.length))
    .sort()
}

/** @param {string} folder */
function filesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
}

// `npm run build`: whether it is due or not.
if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  try {
    build(process.cwd(), 'asked for')
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 1
  }
}
