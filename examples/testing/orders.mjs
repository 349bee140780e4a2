// A part of an application: it tells customers how their orders get on. The hub is given to it, so that a test can give it a mock.

/** @param {Pick<import('hubline').HubApi, 'send' | 'broadcast' | 'sendToUser'>} hub */
export function orderDesk(hub) {
  const waiting = new Map()

  return {
    /** Tells the customer that the order is ready, or keeps the message until the customer is back. */
    async ready(customer, order) {
      const message = { type: 'ready', order }
      try {
        await hub.send(customer, message, { id: `ready-${order}`, confirm: true })
        return 'told'
      } catch (error) {
        if (error.code !== 'CONNECTION_NOT_FOUND' && error.code !== 'CONNECTION_STALE') throw error
        waiting.set(order, { customer, message })
        return 'kept'
      }
    },

    /** Tells everybody that the kitchen closes. Answers whom to telephone. */
    async closing(customers) {
      const { error } = await hub.broadcast(customers, { type: 'closing' })
      return error?.failures.map(({ clientId }) => clientId) ?? []
    },

    /** Tells the customer, on all devices, that the order is late. Answers whether any of them has it. */
    async late(customer, order) {
      const { sent } = await hub.sendToUser(customer, { type: 'late', order })
      return sent > 0
    },

    waiting,
  }
}
