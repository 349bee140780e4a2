import { spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { LogOutput } from '../../src/server/log-output.ts'

/** A stream that takes nothing until it is told to. */
class Stalled extends EventEmitter {
  readonly taken: string[] = []
  writableLength = 0

  write(text: string, _done: (error?: Error | null) => void): boolean {
    this.taken.push(text)
    this.writableLength += text.length
    return false
  }

  drain(): void {
    this.writableLength = 0
    this.emit('drain')
  }
}

/** A file: it takes all at once, or nothing. */
class FullDisk extends EventEmitter {
  readonly taken: string[] = []
  readonly writableLength = 0
  full = true

  write(text: string, done: (error?: Error | null) => void): boolean {
    const error = this.full ? new Error('ENOSPC') : null
    if (error) this.emit('error', error)
    else this.taken.push(text)
    done(error)
    return true
  }
}

const turn = () => new Promise(resolve => setImmediate(resolve))

describe('the output of the log', () => {
  it('writes the lines of one turn at once, in order', async () => {
    const stream = new Stalled()
    const output = new LogOutput(stream, () => {})
    output.write('one\n')
    output.write('two\n')
    expect(stream.taken).toEqual([])
    await turn()
    expect(stream.taken).toEqual(['one\ntwo\n'])
  })

  it('keeps at most 1 MiB of lines that wait, whatever turn they are of, and counts the rest', async () => {
    const stream = new Stalled()
    const told: number[] = []
    const output = new LogOutput(stream, lines => told.push(lines))
    const line = `${'x'.repeat(1023)}\n`
    for (let turns = 0; turns < 10; turns++) {
      for (let i = 0; i < 500; i++) output.write(line)
      await turn()
    }
    const taken = stream.taken.join('').length
    expect(taken).toBe(1024 * 1024)
    expect(output.dropped).toBe(5000 - 1024)
    expect(told).toEqual([])
    stream.drain()
    stream.drain()
    expect(told).toEqual([5000 - 1024])
    output.write(line)
    await turn()
    expect(stream.taken.join('').length).toBe(taken + line.length)
  })

  it('drops and counts the lines that the stream does not take, and says how many when it takes one', async () => {
    const stream = new FullDisk()
    const told: number[] = []
    const output = new LogOutput(stream, lines => told.push(lines))
    output.write('one\n')
    output.write('two\n')
    await turn()
    output.write('three\n')
    await turn()
    expect([output.dropped, told, stream.taken]).toEqual([3, [], []])
    stream.full = false
    output.write('four\n')
    await turn()
    expect([output.dropped, told, stream.taken]).toEqual([3, [3], ['four\n']])
    output.write('five\n')
    await turn()
    expect(told).toEqual([3])
  })
})

/** A server whose stderr nobody reads. */
const program = `
  import { writeFileSync } from 'node:fs'
  import { startServer } from ${JSON.stringify(new URL('../../dist/server/server.js', import.meta.url).href)}
  import { loadConfig } from ${JSON.stringify(new URL('../../dist/server/config.js', import.meta.url).href)}
  import { droppedLogLines } from ${JSON.stringify(new URL('../../dist/server/log-output.js', import.meta.url).href)}
  const server = await startServer(loadConfig({ env: {}, flags: { port: 0, logLevel: 'info' } }))
  const line = 'x'.repeat(1000)
  for (let i = 0; i < 20; i++) {
    for (let j = 0; j < 500; j++) server.app.log.info(line)
    await new Promise(resolve => setImmediate(resolve))
  }
  process.on('SIGTERM', async () => {
    await server.close()
    process.exit(0)
  })
  const result = JSON.stringify({ dropped: droppedLogLines(), waiting: process.stderr.writableLength, pid: process.pid })
  if (process.env.RESULT === undefined) console.log(result)
  else writeFileSync(process.env.RESULT, result)
`

describe('a server whose stderr nobody reads', () => {
  it('keeps at most 1 MiB of its log, and ends at SIGTERM', async () => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'pipe'] })
    try {
      const [text] = await once(child.stdout, 'data')
      const { dropped, waiting } = JSON.parse(String(text))
      expect(waiting).toBeLessThanOrEqual(1024 * 1024)
      expect(dropped).toBeGreaterThan(5000)
      child.kill('SIGTERM')
      const [code, signal] = await once(child, 'exit')
      expect([code, signal]).toEqual([0, null])
    } finally {
      child.kill('SIGKILL')
    }
  })

  it('says on stderr how many lines it dropped, once somebody reads', async () => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'pipe'] })
    try {
      const [text] = await once(child.stdout, 'data')
      const { dropped } = JSON.parse(String(text))
      let log = ''
      child.stderr.on('data', data => (log += data))
      await expect.poll(() => log).toContain(`"lines":${dropped},"msg":"log lines were dropped`)
    } finally {
      child.kill('SIGKILL')
    }
  })

  it.skipIf(process.platform !== 'linux')('does so on a terminal that is stopped', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'hubline-terminal-'))
    const file = join(folder, 'program.mjs')
    const result = join(folder, 'result')
    writeFileSync(file, program)
    // `script` (bsdutils) runs the program on a terminal. The test does not read what the terminal shows.
    const env = { ...process.env, RESULT: result }
    const command = `exec '${process.execPath}' '${file}'`
    const script = spawn('script', ['-qefc', command, '/dev/null'], { env, stdio: ['pipe', 'pipe', 'ignore'] })
    try {
      await expect.poll(() => existsSync(result) && readFileSync(result, 'utf8'), { timeout: 20_000 }).toBeTruthy()
      const { dropped, waiting, pid } = JSON.parse(readFileSync(result, 'utf8'))
      expect(waiting).toBeLessThanOrEqual(1024 * 1024)
      expect(dropped).toBeGreaterThan(5000)
      process.kill(pid, 'SIGTERM')
      await expect.poll(() => existsSync(`/proc/${pid}/exe`), { timeout: 20_000 }).toBe(false)
    } finally {
      script.kill('SIGKILL')
      rmSync(folder, { recursive: true })
    }
  })
})
