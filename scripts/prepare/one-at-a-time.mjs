import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const POLL_MS = 250
/** A holder that is gone is seen by its process id; this is for one whose id something else has now. */
const ABANDONED_MS = 10 * 60_000

/**
 * Two installs into one folder break each other, and `npm start` beside `npm test` in a fresh clone would be two.
 * @param {string} root
 * @param {() => void} work
 */
export async function oneAtATime(root, work) {
  mkdirSync(join(root, '.hubline'), { recursive: true })
  const lock = join(root, '.hubline', 'preparing')
  for (let said = false; !take(lock); said = true) {
    if (!said) console.log('Another process is installing or building here; waiting for it ...')
    await sleep(POLL_MS)
  }
  try {
    work()
  } finally {
    rmSync(lock, { force: true })
  }
}

/** @type {(lock: string) => boolean} */
function take(lock) {
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx' })
    return true
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error
    if (!isAbandoned(lock)) return false
    rmSync(lock, { force: true })
    return take(lock)
  }
}

/** @param {string} lock */
function isAbandoned(lock) {
  try {
    const holder = Number(readFileSync(lock, 'utf8'))
    if (Date.now() - statSync(lock).mtimeMs > ABANDONED_MS) return true
    // Just created, and the process id is not written yet.
    if (holder === 0) return false
    process.kill(holder, 0)
    return false
  } catch (error) {
    // ESRCH: there is no such process. EPERM: there is, of another user. ENOENT: the lock was given back just now.
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'ESRCH'
  }
}
