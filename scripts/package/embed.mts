// A user's program, type-checked strictly and run beside the oldest and the newest peers (scripts/check-package.mjs).
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { createHub, type Hub } from 'hubline'
import { type HublinePluginOptions, hubline } from 'hubline/fastify'
import type { JwtOptions, SessionChainOptions } from 'hubline/sessions'
import type { ManualScheduler } from 'hubline/testing'
import type { CallbackClients, RetryRules } from 'hubline/transports'
import { WebSocket } from 'ws'
import { z } from 'zod'

const hub: Hub = createHub({ limits: { maxClients: 10 } })
const app: FastifyInstance = Fastify()
const options: HublinePluginOptions = { hub, pingMs: 20_000, maxMessageBytes: 65_536 }
// biome-ignore lint/nursery/noMisusedPromises: a plugin of Fastify may be asynchronous.
await app.register(hubline, options)
app.get('/own', () => ({ clients: app.hub.getConnectionStats().clients }))
await app.listen({ host: '127.0.0.1', port: 0 })
const { port } = app.server.address() as AddressInfo

const socket = new WebSocket(`ws://127.0.0.1:${port}/topics/prices`)
const heard = once(socket, 'message')
await once(socket, 'open')
const answer = await fetch(`http://127.0.0.1:${port}/topics/prices`, {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: '{"eur":1.08}',
})
if (!answer.ok) throw new Error(`publish answered ${answer.status}: ${await answer.text()}`)
const { eur } = z.object({ eur: z.number() }).parse(JSON.parse(String((await heard)[0])))
const own = await (await fetch(`http://127.0.0.1:${port}/own`)).json()
const ended = once(socket, 'close')
await app.close()
await ended
console.log(JSON.stringify({ eur, own }))

// These need no run: their types are what counts.
export type Unused = [JwtOptions, RetryRules, SessionChainOptions, CallbackClients, ManualScheduler]
