import Fastify from 'fastify'
import { expect, it } from 'vitest'
import type { Session } from '../../src/core/sessions.ts'
import { createHub } from '../../src/hub.ts'
import { hubline } from '../../src/server/fastify.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { listen } from '../core/sending.ts'

it('a session that is revoked while the app drains ends its client, and none is watched afterwards', async () => {
  const scheduler = new ManualScheduler()
  const hub = createHub({ scheduler })
  let revoked = false
  const sessions = {
    authenticate: (): Session => ({}),
    authorize: () => true,
    revoked: ({ user }: Session) => revoked && user === 'eve',
  }
  const app = Fastify()
  await app.register(hubline, { hub, open: true, sessions, shutdown: { drainMs: 5000 } })
  await app.ready()
  const [ada, eve] = ['ada', 'eve'].map(user => {
    const connection = new FakeConnection({ window: 0 })
    connection.client = hub.registerClient(user, connection, { session: { user } })
    hub.subscribe(user, 'news')
    return connection
  })
  // Both are behind, so the drain waits.
  for (let n = 0; n < 3; n++) {
    hub.routeData('news', new Uint8Array(1))
    scheduler.settle()
  }
  const closed = app.close()
  await listen()
  revoked = true
  for (let ms = 0; ms < 2000; ms += 10) {
    scheduler.advance(10)
    await listen()
  }
  expect([ada!.closedFor, eve!.closedFor]).toEqual([undefined, 'revoked'])
  ada!.read()
  scheduler.advance(100)
  await closed
  expect([ada!.closedFor, hub.sessionWatch.size]).toEqual(['shutdown', 0])
})
