import { HubError } from 'hubline'
import { MockConnectionManager } from 'hubline/testing'
import { beforeEach, expect, it } from 'vitest'
import { orderDesk } from './orders.mjs'

const hub = new MockConnectionManager()
beforeEach(() => hub.reset())

it('tells the customer, and waits until it is read', async () => {
  expect(await orderDesk(hub).ready('ada', 7)).toBe('told')
  expect(hub.callsOf('send')).toEqual([['ada', { type: 'ready', order: 7 }, { id: 'ready-7', confirm: true }]])
})

it('keeps the message of a customer who has left', async () => {
  hub.failOnce('send', 'CONNECTION_STALE')
  const desk = orderDesk(hub)
  expect(await desk.ready('ada', 7)).toBe('kept')
  expect([...desk.waiting.keys()]).toEqual([7])
})

it('does not hide that the hub is in trouble', async () => {
  hub.fail('send', 'SEND_TIMEOUT')
  await expect(orderDesk(hub).ready('ada', 7)).rejects.toMatchObject({ code: 'SEND_TIMEOUT' })
})

it('says whom to telephone when the kitchen closes', async () => {
  hub.answer('send', id => {
    if (id === 'grace') throw new HubError('CONNECTION_NOT_FOUND', 'grace went home')
  })
  expect(await orderDesk(hub).closing(['ada', 'grace'])).toEqual(['grace'])
})

it('says whether anybody has it that an order is late', async () => {
  hub.answer('connectionsOf', user => (user === 'ada' ? ['phone', 'desk'] : []))
  expect(await orderDesk(hub).late('ada', 7)).toBe(true)
  expect(await orderDesk(hub).late('grace', 8)).toBe(false)
  expect(hub.callsOf('sendToUser').map(([user]) => user)).toEqual(['ada', 'grace'])
})
