import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { rolldown } from 'rolldown'

// Each file of dist/bundled names one package that only the command line uses. This puts the package's code into the file, so
// that a program that embeds Hubline installs none of them. Runs in dist's parent folder, after the compiler.
const ROOT = process.cwd()
const FOLDER = join(ROOT, 'dist', 'bundled')

/** @type {Map<string, string>} */
const licenses = new Map()
for (const name of readdirSync(FOLDER).filter(each => each.endsWith('.js'))) {
  const file = join(FOLDER, name)
  const bundle = await rolldown({ input: file, platform: 'node' })
  const { output } = await bundle.generate({ format: 'esm', codeSplitting: false })
  await bundle.close()
  const [chunk] = output
  for (const id of chunk.moduleIds) {
    const folder = packageFolder(id)
    if (folder) licenses.set(relative(join(ROOT, 'node_modules'), folder).split(sep).join('/'), licenseOf(folder))
  }
  writeFileSync(file, chunk.code)
  // It described the compiler's output, which is gone.
  rmSync(`${file}.map`, { force: true })
}
const texts = [...licenses].sort().map(([name, text]) => `${name}\n\n${text.trim()}\n`)
writeFileSync(join(FOLDER, 'LICENSES.txt'), texts.join(`\n${'-'.repeat(80)}\n\n`))

/** The folder of the package that a module belongs to, or undefined for one of ours. @param {string} id */
function packageFolder(id) {
  if (!id.includes(`${sep}node_modules${sep}`)) return undefined
  for (let folder = dirname(id); !folder.endsWith('node_modules'); folder = dirname(folder)) {
    const manifest = join(folder, 'package.json')
    // Some packages have a package.json without a name in a folder of their own.
    if (existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).name) return folder
  }
  throw new Error(`${id}: its package has no package.json`)
}

/** @param {string} folder */
function licenseOf(folder) {
  const file = readdirSync(folder).find(each => /^licen[cs]e/i.test(each))
  if (file === undefined) throw new Error(`${folder}: no license file, and dist/bundled must carry one`)
  return readFileSync(join(folder, file), 'utf8')
}
