// An app of your own that embeds the hub: one route of yours publishes, every protocol of the hub delivers.
//
//   npm run build && node examples/fastify-app.mjs      (PORT=0 takes any free port)
import Fastify from 'fastify'
import { createHub } from 'hubline'
import { hubline } from 'hubline/fastify'

const hub = createHub()
const app = Fastify({ forceCloseConnections: true })
await app.register(hubline, { hub })

const schema = { body: { type: 'object', required: ['item'] } }
app.post('/orders', { schema }, async (request, reply) => {
  const { matched } = await hub.publish('orders', request.body)
  return reply.code(201).send({ told: matched })
})

const url = await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 8010) })
console.log(`Listening on ${url}

  follow   curl -N ${url}/topics/orders
  order    curl -H 'content-type: application/json' -d '{"item":"tea"}' ${url}/orders`)

// Closing the app closes the hub: every stream gets its end.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => app.close())
