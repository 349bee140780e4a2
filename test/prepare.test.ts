import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { staleBuild } from '../scripts/prepare/build.mjs'
import { oneAtATime } from '../scripts/prepare/one-at-a-time.mjs'
import { missingPackages } from '../scripts/prepare/packages.mjs'

const root = mkdtempSync(join(tmpdir(), 'hubline-prepare-'))
afterAll(() => rmSync(root, { recursive: true }))
beforeEach(() => {
  rmSync(root, { recursive: true })
  mkdirSync(root)
})

function write(path: string, content: unknown): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), typeof content === 'string' ? content : JSON.stringify(content))
}

describe('are the packages those of the lockfile', () => {
  const ws = { version: '8.23.0', integrity: 'sha512-a' }
  const foreign = { version: '1.0.0', optional: true, os: ['plan9'], cpu: ['x64'] }

  /** What npm leaves after an install. */
  function installed(lock: Record<string, object>, present: Record<string, object>): string | undefined {
    write('package.json', { dependencies: { ws: '8.23.0' } })
    write('package-lock.json', { packages: { '': {}, ...lock } })
    write('node_modules/.package-lock.json', { packages: present })
    for (const path of Object.keys(present)) write(`${path}/package.json`, {})
    return missingPackages(root)
  }

  it('yes: binaries for other platforms need not be there', () => {
    expect(installed({ 'node_modules/ws': ws, 'node_modules/b': foreign }, { 'node_modules/ws': ws })).toBeUndefined()
  })

  it('no: nothing was installed, or an install was cut off, or a folder was removed', () => {
    installed({ 'node_modules/ws': ws }, { 'node_modules/ws': ws })
    rmSync(join(root, 'node_modules/ws'), { recursive: true })
    expect(missingPackages(root)).toBe('ws is gone')
    rmSync(join(root, 'node_modules/.package-lock.json'))
    expect(missingPackages(root)).toBe('the last install was not finished')
    rmSync(join(root, 'node_modules'), { recursive: true })
    expect(missingPackages(root)).toBe('none yet')
  })

  it.each([
    [
      'another version',
      { 'node_modules/ws': ws },
      { 'node_modules/ws': { version: '8.22.0' } },
      'ws 8.23.0 is not there yet',
    ],
    [
      'other bytes',
      { 'node_modules/ws': ws },
      { 'node_modules/ws': { ...ws, integrity: 'sha512-b' } },
      'ws 8.23.0 is not there yet',
    ],
    [
      'a new package',
      { 'node_modules/ws': ws, 'node_modules/@a/b': ws },
      { 'node_modules/ws': ws },
      '@a/b 8.23.0 is not there yet',
    ],
    [
      'another platform',
      { 'node_modules/ws': ws },
      { 'node_modules/ws': ws, 'node_modules/b': foreign },
      'b is for another platform',
    ],
    ['a lock that lags', { 'node_modules/ws': { version: '8.22.0' } }, {}, 'package.json and package-lock.json differ'],
  ])('no: %s', (_, lock, present, reason) => {
    expect(installed(lock, present)).toBe(reason)
  })
})

describe('is the build that of the sources', () => {
  it('no: it is not there', () => {
    write('src/a.ts', '')
    expect(staleBuild(root)).toBe('none yet')
  })

  it('no: it is of other sources', () => {
    for (const name of ['package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json']) write(name, {})
    write('src/a.ts', '')
    write('dist/.built', 'of something else')
    expect(staleBuild(root)).toBe('the sources have changed')
  })
})

describe('one process at a time prepares', () => {
  const lock = join(root, '.hubline', 'preparing')

  it('waits until another one is ready', async () => {
    write('.hubline/preparing', String(process.pid))
    const events: string[] = []
    const waiting = oneAtATime(root, () => events.push('work'))
    await new Promise(resolve => setTimeout(resolve, 400))
    events.push('other is ready')
    rmSync(lock)
    await waiting
    expect(events).toEqual(['other is ready', 'work'])
    expect(existsSync(lock)).toBe(false)
  })

  it('does not wait for one that died', async () => {
    const { pid } = spawnSync(process.execPath, ['--version'])
    write('.hubline/preparing', String(pid))
    let worked = false
    await oneAtATime(root, () => {
      worked = true
    })
    expect(worked).toBe(true)
  })

  it('gives way after a failure', async () => {
    const failure = oneAtATime(root, () => {
      throw new Error('no disk')
    })
    await expect(failure).rejects.toThrow('no disk')
    expect(existsSync(lock)).toBe(false)
  })
})
