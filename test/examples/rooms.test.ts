import { type ChildProcess, spawn } from 'node:child_process'
import { Centrifuge, type PublicationContext } from 'centrifuge'
import { EventSource } from 'eventsource'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'

let child: ChildProcess
let output = ''
let url = ''
const open: { disconnect(): void }[] = []

beforeEach(async () => {
  output = ''
  child = spawn(process.execPath, ['examples/rooms/rooms.mjs'], { env: { ...process.env, PORT: '0' } })
  child.stderr!.on('data', text => {
    output += text
  })
  await new Promise<void>(resolve => {
    child.stdout!.on('data', text => {
      output += text
      if (output.includes('--api-key')) resolve()
    })
  })
  url = /http:\/\/127\.0\.0\.1:\d+/.exec(output)![0]
})
afterEach(async () => {
  for (const each of open.splice(0)) each.disconnect()
  const ended = new Promise(resolve => child.once('close', resolve))
  child.kill('SIGTERM')
  expect(await ended).toBe(0)
})

/** The key in the line that the program prints for it. */
const keyFor = (what: string): string => new RegExp(`${what}.*?(hubline_[\\w-]+)`).exec(output)![1]!

async function login(user: string): Promise<{ token: string; rooms: string[] }> {
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(`${url}/login`, { method: 'POST', headers, body: JSON.stringify({ user }) })
  return (await answer.json()) as { token: string; rooms: string[] }
}

async function enter(user: string, room: string) {
  const { token, rooms } = await login(user)
  const endpoint = `${url.replace('http', 'ws')}/connection/websocket`
  const centrifuge = new Centrifuge(endpoint, { token, websocket: WebSocket as never })
  open.push(centrifuge)
  const subscription = centrifuge.newSubscription(room, { joinLeave: true })
  subscription.subscribe()
  centrifuge.connect()
  return { token, rooms, centrifuge, subscription }
}

describe('the rooms', () => {
  it('let in whom his token lets, tell who is there, and take what fits', async () => {
    const ada = await enter('ada', 'rooms/hall')
    await ada.subscription.ready(5000)
    const joined = new Promise(resolve => ada.subscription.once('join', ({ info }) => resolve(info.user)))
    const staff = await enter('staff', 'rooms/hall')
    await staff.subscription.ready(5000)
    expect([ada.rooms.length, staff.rooms.length, await joined]).toEqual([2, 3, 'staff'])
    const { clients } = await staff.subscription.presence()
    expect(
      Object.values(clients)
        .map(({ user }) => user)
        .sort(),
    ).toEqual(['ada', 'staff'])

    const heard = new Promise<PublicationContext>(resolve => staff.subscription.once('publication', resolve))
    await ada.subscription.publish({ from: 'ada', text: 'hello' })
    expect((await heard).data).toEqual({ from: 'ada', text: 'hello' })
    await expect(ada.subscription.publish({ from: 'ada' })).rejects.toMatchObject({
      message: expect.stringContaining('text'),
    })
    await expect(ada.centrifuge.publish('alerts', 'fire')).rejects.toMatchObject({ code: 103 })
    const refused = new Promise(resolve => ada.centrifuge.newSubscription('rooms/staff').once('unsubscribed', resolve))
    ada.centrifuge.getSubscription('rooms/staff')!.subscribe()
    expect(await refused).toMatchObject({ code: 103 })
  })

  it('bring an alert of a backend to an EventSource with a ticket, once', async () => {
    const { token } = await login('ada')
    const asked = await fetch(`${url}/api/tickets`, { method: 'POST', headers: { authorization: `Bearer ${token}` } })
    const { ticket } = (await asked.json()) as { ticket: string }
    const alerts = new EventSource(`${url}/topics/alerts?ticket=${ticket}`)
    open.push({ disconnect: () => alerts.close() })
    await new Promise(resolve => alerts.addEventListener('open', resolve))
    const told = new Promise(resolve => {
      alerts.onmessage = ({ data }) => resolve(data)
    })
    const publish = (key: string) =>
      fetch(`${url}/topics/alerts`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}` },
        body: 'tea is ready',
      })
    expect((await publish(token)).status).toBe(403)
    expect((await publish(keyFor('an alert'))).status).toBe(202)
    expect(await told).toBe('tea is ready')
    expect((await fetch(`${url}/topics/alerts?ticket=${ticket}`)).status).toBe(401)
  })

  it('show an operator who is there, and nobody else', async () => {
    const ada = await enter('ada', 'rooms/hall')
    await ada.subscription.ready(5000)
    const ask = (path: string, key: string, method = 'GET') =>
      fetch(url + path, { method, headers: { authorization: `Bearer ${key}` } })
    const operator = keyFor('who is there')
    const presence = await ask('/api/topics/rooms%2Fhall/presence', operator)
    expect(await presence.text()).toContain('"user":"ada"')
    expect((await ask('/api/users/ada', ada.token, 'DELETE')).status).toBe(403)
    const out = new Promise(resolve => ada.centrifuge.once('disconnected', resolve))
    expect((await ask('/api/users/ada', operator, 'DELETE')).status).toBe(200)
    expect(await out).toMatchObject({ code: 3503 })
  })
})
