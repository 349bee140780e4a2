// Connections a second of one core: a WebSocket on one topic, with a token of its own, by algorithm. `npm run bench:connects`
import { spawn } from 'node:child_process'
import { createSecretKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { cpus } from 'node:os'
import { jwtVerify, SignJWT } from 'jose'
import { cpuMicros } from './load/usage.mjs'
import { upgrade } from './load/ws-client.mjs'

const SECONDS = 4
const WARM_UP_SECONDS = 2
const AT_ONCE = 64
const TOKENS = 512
const VERIFIES = 3000
const [ISSUER, AUDIENCE] = ['bench', 'hubline']
/** What it must reach: connections a second of one core. */
const TARGET = 2000

const pause = ms => new Promise(resolve => setTimeout(resolve, ms))
const secret = randomBytes(48).toString('base64')
const keys = {
  HS256: { privateKey: createSecretKey(Buffer.from(secret)), publicKey: createSecretKey(Buffer.from(secret)) },
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: generateKeyPairSync('ed25519'),
}

function mint(algorithm, at) {
  return new SignJWT({ topics: { subscribe: ['bench/*'] } })
    .setProtectedHeader({ alg: algorithm })
    .setSubject(`user${at}`)
    .setIssuer(ISSUER)
    .setAudience(AUDIENCE)
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(keys[algorithm].privateKey)
}

/** CPU time of this process for one token, several at a time, in microseconds. */
async function verifyCost(algorithm, tokens) {
  const options = { algorithms: [algorithm], issuer: ISSUER, audience: AUDIENCE, requiredClaims: ['exp', 'sub'] }
  const round = count =>
    Promise.all(tokens.slice(0, count).map(token => jwtVerify(token, keys[algorithm].publicKey, options)))
  await round(AT_ONCE)
  const before = process.cpuUsage()
  for (let done = 0; done < VERIFIES; done += AT_ONCE) await round(AT_ONCE)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / VERIFIES
}

function environment(algorithm) {
  const limits = { HUBLINE_LIMITS_HANDSHAKES_PER_SECOND: '0', HUBLINE_LOG_LEVEL: 'warn' }
  if (algorithm === 'open') return limits
  const key =
    algorithm === 'HS256'
      ? { HUBLINE_SESSIONS_JWT_SECRET: secret }
      : { HUBLINE_SESSIONS_JWT_PUBLIC_KEY: keys[algorithm].publicKey.export({ type: 'spki', format: 'pem' }) }
  return {
    ...{ ...limits, ...key, HUBLINE_SESSIONS_MODE: 'jwt', HUBLINE_SESSIONS_JWT_ALGORITHMS: algorithm },
    ...{ HUBLINE_SESSIONS_JWT_ISSUER: ISSUER, HUBLINE_SESSIONS_JWT_AUDIENCE: AUDIENCE },
  }
}

/** The server on one core, where the system lets it be said, so that the load has another. */
async function startHub(algorithm) {
  const command = [
    'taskset',
    '-c',
    String(cpus().length - 1),
    process.execPath,
    'dist/cli/main.js',
    'serve',
    '--port',
    '0',
  ]
  const child = spawn(command[0], command.slice(1), {
    env: { ...process.env, ...environment(algorithm) },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const port = await new Promise((resolve, reject) => {
    let said = ''
    child.stdout.on('data', text => {
      said += text
      const [, found] = /127\.0\.0\.1:(\d+)/.exec(said) ?? []
      if (found) resolve(Number(found))
    })
    child.on('exit', code => reject(new Error(`the hub ended with ${code}`)))
  })
  return { child, port }
}

/** One connection after the other until told to stop; each is closed once it is open. */
async function connections(port, tokens, state, from) {
  for (let at = from; !state.stopped; at++) {
    const token = tokens?.[at % tokens.length]
    const head = upgrade('/topics/bench/x', token === undefined ? '' : `Authorization: Bearer ${token}\r\n`)
    const status = await new Promise(resolve => {
      const socket = connect(port, '127.0.0.1', () => socket.write(head))
      socket.once('data', data => {
        resolve(data.toString('latin1', 9, 12))
        socket.destroy()
      })
      socket.on('error', () => resolve('error'))
    })
    if (status !== '101') throw new Error(`answered ${status}`)
    state.opened++
  }
}

async function measure(algorithm, tokens) {
  const { child, port } = await startHub(algorithm)
  const state = { opened: 0, stopped: false }
  const load = Promise.all(Array.from({ length: AT_ONCE }, (_, at) => connections(port, tokens, state, at * 7)))
  await Promise.race([pause(WARM_UP_SECONDS * 1000), load])
  const [opened, cpu, began] = [state.opened, cpuMicros([child.pid]), performance.now()]
  await Promise.race([pause(SECONDS * 1000), load])
  const count = state.opened - opened
  const micros = (cpuMicros([child.pid]) - cpu) / count
  const perSecond = (count * 1000) / (performance.now() - began)
  state.stopped = true
  await load
  child.kill()
  return { perSecond, micros }
}

console.log(`Node ${process.version}, ${cpus()[0].model}, ${cpus().length} cores; the server has one of them\n`)
console.log(
  '| sessions | verifying a token, CPU µs | a connection, CPU µs of the server | connections/s | connections/s of a full core |',
)
console.log('|---|---|---|---|---|')
let missed = false
for (const algorithm of ['open', ...Object.keys(keys)]) {
  const tokens =
    algorithm === 'open' ? undefined : await Promise.all(Array.from({ length: TOKENS }, (_, at) => mint(algorithm, at)))
  const verify = tokens === undefined ? '' : (await verifyCost(algorithm, tokens)).toFixed(0)
  const { perSecond, micros } = await measure(algorithm, tokens)
  const ofCore = 1_000_000 / micros
  missed ||= ofCore < TARGET
  console.log(`| ${algorithm} | ${verify} | ${micros.toFixed(0)} | ${perSecond.toFixed(0)} | ${ofCore.toFixed(0)} |`)
}
console.log(`\n${missed ? 'MISSED' : 'reached'}: ${TARGET} connections a second of one core`)
process.exitCode = missed ? 1 : 0
