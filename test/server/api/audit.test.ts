import Fastify from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { createHub, type Hub } from '../../../src/hub.ts'
import type { KeyRing } from '../../../src/server/api/guard.ts'
import { hubline } from '../../../src/server/fastify.ts'
import { FakeConnection } from '../../../src/testing/index.ts'

const apiKeys: KeyRing = {
  size: 1,

  verify: key => (key === 'the-key' ? { name: 'ops\n\u001b[31m', scopes: ['admin'] } : undefined),
}
const opened: { close(): Promise<unknown> }[] = []
afterEach(async () => {
  for (const app of opened.splice(0)) await app.close()
})

async function start(): Promise<{
  hub: Hub
  lines: () => string[]
  ask: (method: string, url: string, body?: object) => Promise<number>
}> {
  const hub = createHub()
  let text = ''
  const write = (line: string): void => {
    text += line
  }
  const app = Fastify({
    logger: { level: 'info', stream: { write } },
    disableRequestLogging: true,
  })
  opened.push(app)
  await app.register(hubline, { hub, apiKeys })
  const headers = { authorization: 'Bearer the-key' }
  const ask = async (method: string, url: string, body?: object) =>
    (await app.inject({ method: method as 'GET', url, headers, ...(body && { payload: body }) })).statusCode
  return { hub, ask, lines: () => text.split('\n').filter(line => line.includes('"audit"')) }
}

describe('the audit line', () => {
  it('G11: is written for each change, with who, what and to whom, and how it ended', async () => {
    const { hub, ask, lines } = await start()
    hub.registerClient('ada', new FakeConnection())
    hub.subscribe('ada', 'news')
    const changes: [string, string, object | undefined, number, string, object, string][] = [
      [
        'PUT',
        '/api/clients/ada/policy',
        { name: 'latest' },
        200,
        'set-client-policy',
        { id: 'ada', policy: { name: 'latest' } },
        'done',
      ],
      ['DELETE', '/api/clients/ada/policy', undefined, 204, 'clear-client-policy', { id: 'ada' }, 'done'],
      ['POST', '/api/clients/ada/subscriptions', { topic: 'a' }, 200, 'subscribe', { id: 'ada', topic: 'a' }, 'done'],
      ['DELETE', '/api/clients/ada/subscriptions/a', undefined, 204, 'unsubscribe', { id: 'ada', topic: 'a' }, 'done'],
      [
        'PUT',
        '/api/topics/news/policy',
        { name: 'latest' },
        200,
        'set-topic-policy',
        { topic: 'news', policy: { name: 'latest' } },
        'done',
      ],
      ['POST', '/api/topics/news/move', { to: 'olds' }, 200, 'move', { topic: 'news', to: 'olds' }, 'done'],
      ['PATCH', '/api/limits', { maxClients: 7 }, 200, 'set-limits', { maxClients: 7 }, 'done'],
      [
        'DELETE',
        '/api/clients/ada?reason=denied',
        undefined,
        204,
        'disconnect',
        { id: 'ada', reason: 'denied' },
        'done',
      ],
      [
        'DELETE',
        '/api/clients/ada',
        undefined,
        404,
        'disconnect',
        { id: 'ada', reason: 'ended' },
        'CONNECTION_NOT_FOUND',
      ],
      ['DELETE', '/api/clients/ada?reason=no', undefined, 400, 'disconnect', { id: 'ada' }, 'REQUEST_INVALID'],
      ['DELETE', '/api/users/grace', undefined, 200, 'disconnect-user', { user: 'grace' }, 'done'],
      ['POST', '/api/drain', undefined, 202, 'drain', {}, 'done'],
    ]
    for (const [index, [method, url, body, status, audit, target, outcome]] of changes.entries()) {
      expect([url, await ask(method, url, body)]).toEqual([url, status])
      expect(lines()).toHaveLength(index + 1)
      expect(JSON.parse(lines()[index]!)).toMatchObject({
        audit,
        by: 'ops\n\u001b[31m',
        address: '127.0.0.1',
        target,
        outcome,
      })
    }
  })

  it('G5: is one line whatever is in it, and has no secret', async () => {
    const { ask, lines } = await start()
    expect(await ask('DELETE', `/api/clients/${encodeURIComponent('x\n{"audit":"forged"}\u001b[31m\u2028')}`)).toBe(404)
    expect(
      await ask('POST', '/api/clients', { url: 'http://user:hunter2@127.0.0.1/?token=hidden', secret: 'whsec_hidden' }),
    ).toBe(403)
    expect(lines()).toHaveLength(2)
    for (const part of ['\u001b', 'hidden', 'hunter2', 'the-key']) expect(lines().join('')).not.toContain(part)
    expect(JSON.parse(lines()[0]!).target).toMatchObject({ id: 'x\n{"audit":"forged"}\u001b[31m\u2028' })
  })

  it('is not written for who only looks', async () => {
    const { ask, lines } = await start()
    for (const url of ['/api/stats', '/api/clients', '/api/limits', '/api/drain', '/api/topics']) await ask('GET', url)
    await ask('POST', '/api/publish', { publications: [{ topic: 'a', text: 'x' }] })
    expect(lines()).toEqual([])
  })
})
