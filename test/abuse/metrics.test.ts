import { expect, it } from 'vitest'
import { startTestServer } from '../server/test-server.ts'

it('G10: hundreds of topics, clients and wrong requests add no line to the metrics', async () => {
  const server = await startTestServer()
  const names = async () => {
    const text = await (await fetch(`${server.url}/metrics`)).text()
    return text
      .split('\n')
      .filter(line => line.startsWith('hubline_'))
      .map(line => line.slice(0, line.lastIndexOf(' ')))
  }
  const visit = async (i: number): Promise<void> => {
    const stream = await fetch(`${server.url}/topics/topic-${i}?client=client-${i}`)
    await fetch(`${server.url}/topics/topic-${i}`, { method: 'POST', body: 'x' })
    await (await fetch(`${server.url}/api/clients/nobody-${i}`)).text()
    await (await fetch(`${server.url}/topics/topic-${i}?policy=wrong-${i}`)).text()
    await stream.body?.cancel()
  }
  await visit(0)
  // Once it has gone there is a line for how clients end.
  await expect.poll(names, { timeout: 10_000 }).toContain('hubline_disconnects_total{reason="peer"}')
  const before = await names()
  for (let i = 1; i <= 200; i += 25) await Promise.all(Array.from({ length: 25 }, (_, n) => visit(i + n)))
  expect(await names()).toEqual(before)
  expect(before.join('\n')).not.toMatch(/topic-|client-|wrong-/)
  await server.close()
})
