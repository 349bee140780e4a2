// A hundred sensors, ten readings a second each, under the `latest` policy: a fast client gets everything at once, a slow one the
// newest reading of each sensor. Both are connections in memory, so one sees the policy and nothing else. Ends by itself.
//
//   npm run build && node examples/telemetry.mjs
import { setTimeout as sleep } from 'node:timers/promises'
import { createHub, latest } from 'hubline'
import { FakeConnection } from 'hubline/testing'

const SENSORS = 100
const ROUNDS = 20

const hub = createHub({ policy: latest() })
const fast = new FakeConnection()
const slow = new FakeConnection({ window: 2000 })
for (const [id, connection] of Object.entries({ fast, slow })) {
  connection.client = hub.registerClient(id, connection)
  hub.subscribe(id, 'sensors')
}
// The slow client looks up twice a second and then reads all that waits for it.
const reading = setInterval(() => slow.read(), 500)

for (let round = 1; round <= ROUNDS; round++) {
  for (let sensor = 0; sensor < SENSORS; sensor++) {
    await hub.publish('sensors', { sensor, round }, { key: `sensor ${sensor}` })
  }
  await sleep(100)
}
while (hub.getConnectionStats().pending > 0) await sleep(50)
clearInterval(reading)

console.table(
  Object.fromEntries(
    Object.entries({ fast, slow }).map(([id, connection]) => {
      const { published, delivered, dropped } = hub.getSubscription(id, 'sensors')
      const told = connection.gaps().reduce((sum, { count }) => sum + count, 0)
      const newest = new Map(connection.texts().map(text => [JSON.parse(text).sensor, JSON.parse(text).round]))
      const upToDate = [...newest.values()].filter(round => round === ROUNDS).length
      return [id, { published, delivered, dropped, told, 'sensors up to date': upToDate }]
    }),
  ),
)
await hub.close()
