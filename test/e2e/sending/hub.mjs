// A hub with sockets and URLs, as a program that embeds it; ends as SIGTERM says, and reports how that went.
import Fastify from 'fastify'
import { createHub } from '../../../dist/index.js'
import { hubline } from '../../../dist/server/fastify.js'
import { CallbackClients } from '../../../dist/transports/index.js'

const { deadlineMs, callbacks, receiver } = JSON.parse(`${process.argv[2]}`)
const hub = createHub()
const clients = new CallbackClients(hub, { allow: ['127.0.0.1'] })
const app = Fastify()
// biome-ignore lint/nursery/noMisusedPromises: Fastify awaits its plugins
await app.register(hubline, { hub })
const url = await app.listen({ port: 0, host: '127.0.0.1' })

/** @type {Record<string, number>} */
const ended = {}
for (let i = 0; i < callbacks; i++) clients.register({ id: `url${i}`, url: `${receiver}/${i}` })

process.on('message', what => {
  if (what !== 'send') return
  for (let i = 0; i < callbacks; i++) {
    hub.send(`url${i}`, `last ${i}`).then(
      () => count('ok'),
      error => count(error.code),
    )
  }
})

/** @param {string} code */
function count(code) {
  ended[code] = (ended[code] ?? 0) + 1
}

const source = setInterval(() => hub.routeData('busy', Buffer.alloc(200)), 2)
process.once('SIGTERM', async () => {
  const shutdown = hub.shutdown({ deadlineMs, drainMs: deadlineMs / 2, spreadMs: 200 })
  clearInterval(source)
  const refused = await hub.send('url0', 'too late').then(
    () => 'ok',
    error => error.code,
  )
  const report = await shutdown
  await clients.close()
  await app.close()
  process.send?.({ report, ended, refused, metrics: hub.getMetrics() })
  process.disconnect()
})
process.send?.({ url })
