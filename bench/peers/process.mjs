import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { platform } from 'node:os'

/** Every server and load generator of this run, so that none outlives it. */
const running = new Set()

/** Ends with this process, however that ends. */
export function started(child) {
  running.add(child)
  child.once('close', () => running.delete(child))
  return child
}

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(130))

export const canPin = platform() === 'linux' && spawnSync('taskset', ['--version']).status === 0

/** How many connections a server and a load generator can have here. */
export function mostConnections() {
  const { stdout } = spawnSync('/bin/sh', ['-c', 'ulimit -n 65536 2>/dev/null; ulimit -n'], { encoding: 'utf8' })
  return (Number(stdout) || Number.POSITIVE_INFINITY) - FILES_OF_ITS_OWN
}
const FILES_OF_ITS_OWN = 200

/** As many open files as 20,000 connections need, where the system lets us. */
const FILES = 'ulimit -n 65536 2>/dev/null; exec "$@"'

/** The command, on these cores only, and with room for its connections. */
export function pinned(cpu, command, args) {
  const cores = canPin && cpu?.length > 0 ? ['taskset', '-c', cpu.join(',')] : []
  return ['/bin/sh', ['-c', FILES, 'sh', ...cores, command, ...args]]
}

/**
 * Starts a server and waits until it listens: until `ready` matches what it prints (its first group is the port), or, without, until
 * `port` accepts a connection.
 * @returns {Promise<import('./peer.mjs').Server>}
 */
export async function startServer({ command, args, cpu, env = {}, port = 0, ready }) {
  const [program, its] = pinned(cpu, command, args)
  const child = started(spawn(program, its, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] }))
  let said = ''
  const ended = once(child, 'close').then(([code]) => {
    throw new Error(`${command} ended with ${code}:\n${said.slice(-2000)}`)
  })
  ended.catch(() => {})
  const listening = new Promise(resolve => {
    const read = data => {
      said = (said + data).slice(-20_000)
      const match = ready?.exec(said)
      if (match) resolve(Number(match[1]))
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
    if (ready === undefined) void accepts(port, () => child.exitCode === null).then(() => resolve(port))
  })
  const timeout = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`${command} did not listen within 15 s:\n${said}`)), 15_000).unref()
  })
  const found = await Promise.race([listening, ended, timeout])
  return {
    pid: child.pid,
    port: found,
    async stop() {
      if (child.exitCode !== null) return
      child.kill('SIGKILL')
      await ended.catch(() => {})
    },
  }
}

async function accepts(port, alive) {
  while (alive()) {
    const socket = connect(port, '127.0.0.1')
    const open = await new Promise(resolve => {
      socket.once('connect', () => resolve(true))
      socket.once('error', () => resolve(false))
    })
    socket.destroy()
    if (open) return
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** A server of ours in bench/peers/servers, run by Node. */
export async function startNode(file, { cpu, args = [], nodeArgs = [] }) {
  const server = await startServer({
    command: process.execPath,
    args: ['--expose-gc', ...nodeArgs, new URL(`servers/${file}`, import.meta.url).pathname, ...args],
    cpu,
    ready: /listening on (\d+)/,
  })
  return { ...server, collect: () => void process.kill(server.pid, 'SIGWINCH') }
}

/** `t0` of [0]; a request's path says first and last. */
export const range = topics => `${topics[0]}-${topics.at(-1)}`
