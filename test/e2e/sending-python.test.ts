import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { describe, expect, it } from 'vitest'
import { createHub } from '../../src/hub.ts'
import { CallbackClients } from '../../src/transports/callback.ts'

const SECRET = `whsec_${Buffer.from('a secret of thirty-two bytes 123').toString('base64')}`
const python = spawnSync('python3', ['--version']).status === 0

describe.skipIf(!python)('a receiver in Python', () => {
  it('gets topics, sends and retries in order, each with a signature that it can verify', async () => {
    const child = spawn('python3', ['test/e2e/sending/receiver.py', SECRET], { stdio: ['ignore', 'pipe', 'inherit'] })
    const output = createInterface(child.stdout)
    const [first] = (await once(output, 'line')) as [string]
    const lines: object[] = []
    output.on('line', line => lines.push(JSON.parse(line)))
    const hub = createHub()
    const callbacks = new CallbackClients(hub, { allow: ['127.0.0.1'], secret: SECRET, retry: { baseMs: 5 } })
    try {
      const url = `http://127.0.0.1:${JSON.parse(first).port}/hook`
      callbacks.register({ id: 'python', url, topics: [{ name: 'orders.eu' }] })
      hub.routeData('orders.eu', Buffer.from('één koffie'), { contentType: 'text/plain; charset=utf-8' })
      expect(await hub.send('python', { tea: '🍵' })).toMatchObject({ confirmed: true })
    } finally {
      await hub.shutdown()
      await callbacks.close()
      child.kill()
      await once(child, 'close')
    }
    const order = { event: 'message', topic: 'orders.eu', body: 'één koffie', genuine: true }
    expect(lines).toEqual([
      { ...order, again: false, status: 503 },
      { ...order, again: true, status: 204 },
      { event: 'send', topic: null, body: '{"tea":"🍵"}', genuine: true, again: false, status: 204 },
    ])
  })
})
