/**
 * AWS API Gateway, both ways. First a backend written for it runs against a hub. Then another hub treats a connection of "API Gateway" (the
 * first hub plays it) as a client: what is published to a topic arrives there through AWS's SDK.
 */
import { once } from 'node:events'
import Fastify from 'fastify'
import { createHub } from 'hubline'
import { hubline } from 'hubline/fastify'
import { ApiGatewayClients, loadGatewaySdk } from 'hubline/transports'
import { WebSocket } from 'ws'
import { Backend } from './backend.mjs'

const hub = createHub()
const app = Fastify()
await app.register(hubline, { hub })
const url = await app.listen({ port: Number(process.env.PORT ?? 0), host: '127.0.0.1' })
const endpoint = `${url}/prod`

async function connect(id) {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/topics/chat?client=${id}`)
  socket.on('message', data => console.log(`  ${id} hears: ${data}`))
  socket.on('close', code => console.log(`  ${id} is closed: ${code}`))
  await once(socket, 'open')
  return socket
}

console.log('A backend for API Gateway, on a hub:')
const backend = new Backend(endpoint)
const [ada, grace] = [await connect('ada'), await connect('grace')]
for (const id of ['ada', 'grace', 'long-gone']) backend.connected(id)
console.log(`  left after the first 410: ${await backend.say('Good morning')}`)
console.log(`  ada has been connected for ${Math.round((Date.now() - (await backend.since('ada'))) / 1000)} s`)
const closed = once(grace, 'close')
await backend.disconnect('grace')
await closed

console.log('A hub whose client is a connection of API Gateway:')
const far = createHub()
const gateways = new ApiGatewayClients(far, await loadGatewaySdk(), {
  endpoints: [endpoint],
  allow: ['127.0.0.1'],
  region: 'eu-west-1',
  credentials: { accessKeyId: 'example', secretAccessKey: 'example' },
})
gateways.register({ id: 'far-ada', endpoint, connectionId: 'ada', topics: [{ name: 'news' }] })
const heard = once(ada, 'message')
await far.publish('news', 'through two hubs')
await heard
console.log(`  sent and confirmed: ${(await far.send('far-ada', 'to her alone')).confirmed}`)

await far.shutdown()
gateways.close()
await app.close()
