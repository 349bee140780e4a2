import { expect, it } from 'vitest'
import type { Client } from '../../src/core/connection.ts'
import { Events } from '../../src/core/events.ts'
import { MAX_CLIENT_ID_LENGTH } from '../../src/core/ids.ts'
import { UserAgents } from '../../src/server/user-agents.ts'

it('keeps nothing under an id that no client can have, for a request may bring one of a megabyte', () => {
  const events = new Events()
  const userAgents = new UserAgents(events)
  for (const length of [MAX_CLIENT_ID_LENGTH, MAX_CLIENT_ID_LENGTH + 1]) {
    const id = 'x'.repeat(length) as never
    userAgents.expect(id, 'curl')
    // Nobody registers the longer one: it would tell that it was kept.
    events.emit('register', { id, client: {} as Client, protocol: 'fake', user: undefined, restore: undefined })
    expect(userAgents.of(id)).toBe(length > MAX_CLIENT_ID_LENGTH ? undefined : 'curl')
  }
})
