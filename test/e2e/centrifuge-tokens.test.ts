import { Centrifuge, type Options } from 'centrifuge'
import Fastify from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { HubError } from '../../src/core/errors.ts'
import type { Session, SessionManager } from '../../src/core/sessions.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { hubline } from '../../src/server/fastify.ts'

/** The npm package `centrifuge`, unmodified, whose tokens end. */

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

/** A token is how many ms it is good for. */
function read(token = ''): Session {
  if (Number(token) > 0) return { user: 'ada', expiresAt: Date.now() + Number(token) }
  throw new HubError('UNAUTHENTICATED', 'token: over', { reason: 'expired' })
}
const sessions: SessionManager = {
  authenticate: ({ token }) => read(token),
  authorize: () => true,
  grant: (_session, token) => read(token),
  refresh: (_session, token) => read(token),
}

async function connect(options: Partial<Options>): Promise<{ hub: Hub; centrifuge: Centrifuge }> {
  const hub = createHub()
  const app = Fastify()
  await app.register(hubline, { hub, sessions })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  ends.push(() => app.close())
  const centrifuge = new Centrifuge(`${url.replace('http', 'ws')}/connection/websocket?client=c`, {
    websocket: WebSocket,
    minReconnectDelay: 10,
    maxReconnectDelay: 50,
    ...options,
  })
  ends.push(() => centrifuge.disconnect())
  centrifuge.connect()
  return { hub, centrifuge }
}

describe('the tokens of an SDK', () => {
  it('one that is over at connect is replaced, and one that ends is renewed in time', async () => {
    const given: string[] = []
    const getToken = async () => {
      given.push(given.length === 0 ? '2000' : '100000')
      return given.at(-1)!
    }
    const { hub, centrifuge } = await connect({ token: '-1', getToken })
    await centrifuge.ready()
    centrifuge.on('connecting', ({ reason }) => expect.unreachable(reason))
    expect(given).toEqual(['2000'])
    await expect.poll(() => given.length, { timeout: 3000 }).toBe(2)
    await expect.poll(() => hub.sessionOf('c')!.expiresAt! - Date.now()).toBeGreaterThan(90_000)
    expect(centrifuge.state).toBe('connected')
  })

  it('those of a topic as well; and one that nobody renews ends the subscription, which comes back with a new one', async () => {
    const { hub, centrifuge } = await connect({ token: '100000' })
    await centrifuge.ready()
    const asked: string[] = []
    const subscription = centrifuge.newSubscription('a', {
      getToken: async () => {
        asked.push(asked.length === 0 ? '-1' : '100000')
        return asked.at(-1)!
      },
      minResubscribeDelay: 10,
      maxResubscribeDelay: 50,
    })
    subscription.subscribe()
    await subscription.ready()
    expect(asked).toEqual(['-1', '100000'])
    // Its next token comes once the subscription has ended.
    let renew = (_token: string): void => {}
    const token = new Promise<string>(resolve => (renew = resolve))
    const short = centrifuge.newSubscription('b', { token: '900', getToken: () => token })
    const left: number[] = []
    short.on('subscribing', ({ code }) => {
      left.push(code)
      if (code === 2501) renew('100000')
    })
    short.subscribe()
    await short.ready()
    await expect.poll(() => left, { timeout: 4000 }).toContain(2501)
    await short.ready()
    expect(
      hub
        .getClient('c')
        .subscriptions.map(({ topic }) => topic)
        .toSorted(),
    ).toEqual(['a', 'b'])
  })
})
