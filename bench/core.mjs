// What the hub costs by itself, without sockets: measured in a process of its own: `node --expose-gc bench/core.mjs measure`.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { pinned, started } from './peers/process.mjs'

const TOPICS = 100_000
const PUBLICATIONS = 1_000_000

/** @returns {Promise<{ publishMicros: number, topicMicros: number, topicBytes: number, leftBytes: number }>} */
export async function measureCore(say) {
  say('publishing to nobody, 100,000 topics')
  const [command, args] = pinned([0], process.execPath, ['--expose-gc', fileURLToPath(import.meta.url), 'measure'])
  const child = started(spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] }))
  let said = ''
  child.stdout.on('data', data => {
    said += data
  })
  await once(child, 'close')
  return JSON.parse(said)
}

async function measure() {
  const { createHub, openTopics } = await import('hubline')
  const { ManualScheduler } = await import('hubline/testing')
  const history = { messages: 0, bytes: 0, ageMs: 0 }
  const start = () => {
    const scheduler = new ManualScheduler()
    return { scheduler, hub: createHub({ scheduler, topics: openTopics({ history }), limits: { maxTopics: 200_000 } }) }
  }
  const payload = Buffer.alloc(128)

  const { hub, scheduler } = start()
  const publish = count => {
    for (let i = 0; i < count; i++) {
      hub.routeData('t', payload)
      if (i % 100 === 0) scheduler.settle()
    }
    scheduler.settle()
  }
  publish(PUBLICATIONS / 10)
  const publishMicros = timed(() => publish(PUBLICATIONS)) / PUBLICATIONS

  const many = start()
  const names = Array.from({ length: TOPICS }, (_, i) => `sensors/${i}`)
  gc()
  const before = process.memoryUsage().heapUsed
  const round = () => {
    for (const name of names) many.hub.routeData(name, payload)
    many.scheduler.settle()
  }
  round()
  gc()
  const topicBytes = (process.memoryUsage().heapUsed - before) / TOPICS
  round()
  const topicMicros = timed(round) / TOPICS
  // An idle topic without subscribers and history is forgotten by the housekeeping.
  many.scheduler.advance(3000)
  gc()
  const leftBytes = (process.memoryUsage().heapUsed - before) / TOPICS
  const left = [...many.hub.getTopics()].length
  console.log(JSON.stringify({ publishMicros, topicMicros, topicBytes, leftBytes, left }))
}

function timed(run) {
  const began = performance.now()
  run()
  return (performance.now() - began) * 1000
}

if (process.argv[2] === 'measure') await measure()
