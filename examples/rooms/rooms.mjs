// Rooms with logins: who may enter what, who is there, and what an operator sees. All of the hub's doors are shut here: clients need a
// token, backends and operators a key.
//
//   npm run build && node examples/rooms/rooms.mjs      (PORT=0 takes any free port)
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import Fastify from 'fastify'
import { createHub, topicRules } from 'hubline'
import { hubline } from 'hubline/fastify'
import { ApiKeys, jwtSessions, newApiKey, Revocations, sessionChain, Tickets } from 'hubline/sessions'
import { SignJWT } from 'jose'

const secret = randomBytes(48).toString('base64')
const keys = { operator: newApiKey(), backend: newApiKey() }
const apiKeys = new ApiKeys([
  { name: 'operator', sha256: keys.operator.sha256, scopes: ['admin', 'publish'] },
  { name: 'backend', sha256: keys.backend.sha256, scopes: ['publish'] },
])
const tickets = new Tickets()
const revocations = new Revocations()
const tokens = jwtSessions({
  secret,
  algorithms: ['HS256'],
  issuer: 'rooms',
  audience: 'hubline',
  revoked: revocations.revoked,
})
const sessions = sessionChain({ tokens, apiKeys, tickets, revocations })

const said = { type: 'object', required: ['text'], properties: { text: { type: 'string', maxLength: 500 } } }
const rules = topicRules({
  rules: {
    'rooms/*': { presence: true, schema: said, publishRate: { messages: 20 }, maxMessageBytes: 4096 },
    alerts: { publish: 'nobody', priority: 'high', contentType: 'text/plain; charset=utf-8' },
  },
  unknownTopics: 'refuse',
})

const hub = createHub({ topics: rules })
rules.onChange(() => hub.refreshTopics())

// The hub has ended its clients by then; what is left are connections that somebody opened and never used.
const app = Fastify({ forceCloseConnections: true })
await app.register(hubline, { hub, topicRules: rules, sessions, apiKeys, tickets, revocations })

/** Here your application would ask for a password. The staff room is for whoever is called staff. */
const login = {
  body: { type: 'object', required: ['user'], properties: { user: { type: 'string', pattern: '^[a-z]{1,20}$' } } },
}
app.post('/login', { schema: login }, async ({ body: { user } }) => {
  const rooms = ['rooms/hall', 'rooms/garden', ...(user === 'staff' ? ['rooms/staff'] : [])]
  const token = await new SignJWT({ topics: { subscribe: [...rooms, 'alerts'], publish: rooms } })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(user)
    .setIssuer('rooms')
    .setAudience('hubline')
    .setIssuedAt()
    .setExpirationTime('10m')
    .sign(new TextEncoder().encode(secret))
  return { token, rooms }
})

const file = path => readFileSync(new URL(path, import.meta.url))
app.get('/', (_request, reply) => reply.type('text/html; charset=utf-8').send(file('page.html')))
app.get('/page.js', (_request, reply) => reply.type('text/javascript').send(file('page.js')))
app.get('/centrifuge.js', (_request, reply) =>
  reply.type('text/javascript').send(file('../../node_modules/centrifuge/dist/centrifuge.js')),
)

const url = await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 8020) })
console.log(`Open ${url}/ in two windows, and log in as ada and as staff.

  an alert from a backend   curl -H 'authorization: Bearer ${keys.backend.key}' -d 'tea is ready' ${url}/topics/alerts
  who is there              curl -H 'authorization: Bearer ${keys.operator.key}' ${url}/api/topics/rooms%2Fhall/presence
  put somebody out          curl -X DELETE -H 'authorization: Bearer ${keys.operator.key}' ${url}/api/users/ada
  watch it all              npx hubline top --url ${url} --api-key ${keys.operator.key}`)

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => app.close())
