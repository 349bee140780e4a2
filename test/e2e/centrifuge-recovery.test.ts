import { Centrifuge, type Options, type SubscribedContext, type Subscription } from 'centrifuge'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { startTestServer, type TestServer } from '../server/test-server.ts'
import { CuttingProxy } from './cutting-proxy.ts'

/** The npm package `centrifuge`, unmodified, loses its network. */

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

async function start(flags: Record<string, unknown> = {}) {
  const server = await startTestServer(flags)
  ends.push(() => server.close())
  const proxy = await CuttingProxy.open(server.url)
  ends.push(() => proxy.close())
  return { server, proxy }
}

async function connected(proxy: CuttingProxy, options: Partial<Options> = {}, query = ''): Promise<Centrifuge> {
  const url = `${proxy.url.replace('http', 'ws')}/connection/websocket${query}`
  const centrifuge = new Centrifuge(url, {
    websocket: WebSocket,
    minReconnectDelay: 10,
    maxReconnectDelay: 50,
    ...options,
  })
  ends.push(() => centrifuge.disconnect())
  centrifuge.connect()
  await centrifuge.ready()
  return centrifuge
}

/** The offsets and data that a subscription is given, and what it is told whenever it is subscribed. */
function watched(subscription: Subscription) {
  const seen: [number, unknown][] = []
  const contexts: SubscribedContext[] = []
  let heard = (): void => {}
  subscription.on('publication', ({ offset, data }) => {
    seen.push([offset!, data])
    heard()
  })
  subscription.on('subscribed', context => {
    contexts.push(context)
    heard()
  })
  const until = (condition: () => boolean) =>
    new Promise<void>(resolve => {
      heard = () => condition() && resolve()
      heard()
    })
  return { seen, contexts, until }
}

const publish = (server: TestServer, topic: string, from: number, to: number): void => {
  for (let i = from; i <= to; i++) server.hub.routeData(topic, Buffer.from(`${i}`), { contentType: 'application/json' })
}
const counted = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => [from + i, from + i])

/** Resolves when the hub knows that the client has gone. */
const gone = (server: TestServer) => new Promise<void>(resolve => server.hub.events.once('unregister', () => resolve()))

describe('a client that loses its network', () => {
  it('gets what it missed, in order and once, also while more is published', async () => {
    const { server, proxy } = await start()
    const centrifuge = await connected(proxy)
    const subscription = centrifuge.newSubscription('a')
    const { seen, contexts, until } = watched(subscription)
    subscription.subscribe()
    await subscription.ready()
    publish(server, 'a', 1, 10)
    await until(() => seen.length === 10)
    let last = 10
    for (let round = 0; round < 3; round++) {
      const left = gone(server)
      proxy.cut()
      await left
      publish(server, 'a', last + 1, last + 20)
      // And while it comes back.
      server.hub.events.once('register', () => publish(server, 'a', last + 21, last + 25))
      server.hub.events.once('subscribe', () => publish(server, 'a', last + 26, last + 30))
      proxy.mend()
      await until(() => seen.length === last + 30)
      last += 30
    }
    expect(seen).toEqual(counted(1, 100))
    expect(contexts.map(({ wasRecovering, recovered }) => [wasRecovering, recovered])).toEqual([
      [false, false],
      [true, true],
      [true, true],
      [true, true],
    ])
  })

  it('is told where the history is too short, and gets what is left of it', async () => {
    const { server, proxy } = await start({ history: { messages: 5 } })
    const centrifuge = await connected(proxy)
    const subscription = centrifuge.newSubscription('a')
    const { seen, contexts, until } = watched(subscription)
    subscription.subscribe()
    await subscription.ready()
    publish(server, 'a', 1, 3)
    await until(() => seen.length === 3)
    const left = gone(server)
    proxy.cut()
    await left
    publish(server, 'a', 4, 20)
    // The trim comes with the tick that seals.
    await new Promise(resolve => setImmediate(resolve))
    proxy.mend()
    await until(() => seen.length === 8)
    expect(contexts[1]).toMatchObject({ wasRecovering: true, recovered: false })
    expect(seen.slice(3)).toEqual(counted(16, 20))
  })

  it('is told where the topic began anew meanwhile', async () => {
    const { server, proxy } = await start()
    const centrifuge = await connected(proxy)
    const { epoch } = { epoch: 'ofanotherlife' }
    const subscription = centrifuge.newSubscription('a', { since: { epoch, offset: 7 } })
    const { seen, contexts, until } = watched(subscription)
    publish(server, 'a', 1, 3)
    subscription.subscribe()
    await until(() => contexts.length === 1)
    publish(server, 'a', 4, 4)
    await until(() => seen.length === 1)
    expect(contexts[0]).toMatchObject({ wasRecovering: true, recovered: false, streamPosition: { offset: 3 } })
    expect(seen).toEqual([[4, 4]])
  })

  it('goes on in what the server subscribed it to', async () => {
    const { server, proxy } = await start()
    server.hub.events.on('register', ({ id }) => void server.hub.subscribe(id, 'mine'))
    const centrifuge = await connected(proxy, {}, '?client=c')
    const seen: [number, unknown][] = []
    const contexts: { recovered: boolean }[] = []
    let heard = (): void => {}
    centrifuge.on('publication', ({ channel, offset, data }) => {
      expect(channel).toBe('mine')
      seen.push([offset!, data])
      heard()
    })
    centrifuge.on('subscribed', context => contexts.push(context))
    const until = (count: number) =>
      new Promise<void>(resolve => {
        heard = () => seen.length >= count && resolve()
        heard()
      })
    publish(server, 'mine', 1, 3)
    await until(3)
    const left = gone(server)
    proxy.cut()
    await left
    publish(server, 'mine', 4, 9)
    proxy.mend()
    await until(9)
    publish(server, 'mine', 10, 12)
    await until(12)
    expect(seen).toEqual(counted(1, 12))
    expect(contexts).toMatchObject([{ wasRecovering: true, recovered: true }])
  })
})

describe('a topic that keeps nothing', () => {
  it('is not to be recovered, and nobody is told that a recovery failed', async () => {
    const { server, proxy } = await start({ topics: { live: { history: { messages: 0 } } } })
    const centrifuge = await connected(proxy)
    const subscription = centrifuge.newSubscription('live')
    const { contexts, until } = watched(subscription)
    subscription.subscribe()
    await subscription.ready()
    const left = gone(server)
    proxy.cut()
    await left
    proxy.mend()
    await until(() => contexts.length === 2)
    expect(contexts.map(({ recoverable, wasRecovering }) => [recoverable, wasRecovering])).toEqual([
      [false, false],
      [false, false],
    ])
  })
})

describe('a topic of many', () => {
  it('patterns give each topic under its own name, and take away again what was not subscribed to by itself', async () => {
    const { server, proxy } = await start()
    const centrifuge = await connected(proxy, {}, '?client=c')
    const seen: unknown[] = []
    let heard = (): void => {}
    const until = (count: number) =>
      new Promise<void>(resolve => {
        heard = () => seen.length >= count && resolve()
        heard()
      })
    centrifuge.on('publication', ({ channel, data }) => {
      seen.push([channel, data])
      heard()
    })
    publish(server, 'news/sport', 1, 1)
    const own = centrifuge.newSubscription('news/own')
    own.on('publication', ({ data }) => {
      seen.push(['own', data])
      heard()
    })
    own.subscribe()
    await own.ready()
    const all = centrifuge.newSubscription('news/*')
    all.subscribe()
    await all.ready()
    publish(server, 'news/sport', 2, 2)
    publish(server, 'news/fresh', 1, 1)
    publish(server, 'news/own', 1, 1)
    await until(3)
    expect(new Set(seen)).toEqual(
      new Set([
        ['news/sport', 2],
        ['news/fresh', 1],
        ['own', 1],
      ]),
    )
    const ended: string[] = []
    centrifuge.on('unsubscribed', ({ channel }) => ended.push(channel))
    all.unsubscribe()
    await expect.poll(() => ended.toSorted()).toEqual(['news/fresh', 'news/sport'])
    publish(server, 'news/sport', 3, 3)
    publish(server, 'news/own', 2, 2)
    await until(4)
    expect(seen.at(-1)).toEqual(['own', 2])
    expect(server.hub.getClient('c').subscriptions.map(({ topic }) => topic)).toEqual(['news/own'])
  })
})

describe('history and presence', () => {
  it('a position alone, a page, what came since, and backwards', async () => {
    const { server, proxy } = await start()
    const centrifuge = await connected(proxy)
    publish(server, 'a', 1, 6)
    const { epoch, ...none } = await centrifuge.history('a')
    expect(none).toEqual({ publications: [], offset: 6 })
    const offsets = async (options: object) => {
      const page = await centrifuge.history('a', options)
      return page.publications.map(({ offset, data }) => [offset, data])
    }
    expect(await offsets({ limit: 2 })).toEqual(counted(1, 2))
    expect(await offsets({ limit: 3, since: { epoch, offset: 2 } })).toEqual(counted(3, 5))
    expect(await offsets({ limit: 2, reverse: true })).toEqual(counted(5, 6).reverse())
    expect(await offsets({ limit: 9, reverse: true, since: { epoch, offset: 3 } })).toEqual(counted(1, 2).reverse())
    expect(await offsets({ limit: -1 })).toEqual(counted(1, 6))
    await expect(offsets({ limit: 1, since: { epoch: 'other', offset: 1 } })).rejects.toMatchObject({ code: 112 })
  })

  it('who is there, how many, and who comes and goes', async () => {
    const { proxy } = await start({ topics: { room: { presence: true } } })
    const ada = await connected(proxy, {}, '?client=ada')
    const room = ada.newSubscription('room', { joinLeave: true })
    const moves: string[] = []
    room.on('join', ({ info }) => moves.push(`+${info.client}`))
    room.on('leave', ({ info }) => moves.push(`-${info.client}`))
    room.subscribe()
    await room.ready()
    const bob = await connected(proxy, {}, '?client=bob')
    const other = bob.newSubscription('room')
    other.subscribe()
    await other.ready()
    await expect.poll(() => moves).toEqual(['+bob'])
    expect(Object.keys((await ada.presence('room')).clients).toSorted()).toEqual(['ada', 'bob'])
    expect(await ada.presenceStats('room')).toEqual({ numClients: 2, numUsers: 1 })
    bob.disconnect()
    await expect.poll(() => moves).toEqual(['+bob', '-bob'])
    await expect(ada.presence('quiet')).rejects.toMatchObject({ code: 108 })
  })
})
