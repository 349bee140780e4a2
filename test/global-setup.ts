import { execFileSync } from 'node:child_process'

/** Tests that start the command line run what is built: it must be what is here. */
export function setup(): void {
  execFileSync(process.execPath, ['scripts/prepare.mjs'], { stdio: 'inherit' })
}
