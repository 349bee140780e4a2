// What a delivery costs by the number of subscribers: one message at a time, as many a second as give the same number of deliveries.
import { contest } from './contest.mjs'
import { mostConnections } from './peers/process.mjs'
import { SCALING } from './scenarios.mjs'

const DELIVERIES = 20_000

export async function measureScaling(rounds, say) {
  const costs = []
  for (const wanted of SCALING) {
    const subscribers = Math.min(wanted, mostConnections())
    const scenario = {
      kind: 'fan-out',
      wire: 'websocket',
      metric: 'cpuMicros',
      clients: subscribers,
      topics: 1,
      topicsEach: 1,
      payloadBytes: 128,
      round: { rate: Math.max(1, DELIVERIES / subscribers), seconds: 2 },
    }
    const options = { names: ['hubline'], rounds, say: what => say(`${subscribers} subscribers, ${what}`) }
    const [{ cpuMicros, latencyMs }] = await contest(scenario, options)
    costs.push({ subscribers, cpuMicros, p99: latencyMs.p99 })
  }
  return costs
}
