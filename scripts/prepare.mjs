// What `npm start` and `npm test` need before they run: the packages of the lockfile and a build of these sources.
// Plain Node without packages, because it is what installs them. Says nothing when there is nothing to do.
const OLDEST = '20.19.0'

if (isOlder(process.versions.node, OLDEST)) {
  console.error(
    `Hubline needs Node.js ${OLDEST} or newer, and this is ${process.versions.node}: see https://nodejs.org/`,
  )
  process.exit(1)
}

// Imported only now: an old Node would stumble over what these files contain before it could say the sentence above.
import('./prepare/steps.mjs')
  .then(({ prepare }) => prepare())
  .catch(error => {
    console.error(error.expected ? error.message : error)
    process.exitCode = 1
  })

/** @type {(version: string, than: string) => boolean} */
function isOlder(version, than) {
  return version.localeCompare(than, 'en', { numeric: true }) < 0
}
