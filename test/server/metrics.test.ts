import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { ask, askJson, listen } from './http.ts'
import { startTestServer, type TestServer } from './test-server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer({ callbacks: { allow: ['127.0.0.1'] } })
})
afterAll(() => server.close())

/** Every sample of a scrape, by its name with its labels. */
async function scrape(): Promise<Map<string, number>> {
  const text = await (await fetch(`${server.url}/metrics`)).text()
  const samples = text.split('\n').filter(line => line.startsWith('hubline_'))
  return new Map(samples.map(line => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]))
}

const send = (id: string) => ask(`${server.url}/api/clients/${id}/send`, { method: 'POST', body: 'x' })

it('counts and times every kind of work, and says in which state the breakers are', async () => {
  const untouched = await scrape()
  expect(untouched.get('hubline_operations_total{operation="send"}')).toBe(0)
  // Nothing has ended, so nothing took any time.
  expect([...untouched.keys()].filter(name => name.startsWith('hubline_operation_duration'))).toEqual([])

  const { webSocket } = await listen(server.url, 'one', 'jobs')
  await askJson(`${server.url}/api/clients/one/subscriptions`, { topic: 'jobs', policy: 'reliable' })
  await askJson(`${server.url}/api/clients`, { id: 'hook', url: 'http://127.0.0.1:1/' })
  for (const id of ['one', 'one', 'nobody']) await send(id)
  await askJson(`${server.url}/api/broadcast`, { clients: ['one', 'nobody'], text: 'x' })
  await fetch(`${server.url}/topics/jobs`, { method: 'POST', body: 'x' })
  const first = await send('hook')
  const second = await send('hook')
  expect([first.body.error.code, second.body.error.code]).toEqual(['SEND_FAILED', 'CIRCUIT_OPEN'])

  const samples = await scrape()
  const expected = {
    'hubline_operations_total{operation="send"}': 7,
    'hubline_operations_total{operation="broadcast"}': 1,
    'hubline_operations_total{operation="callback"}': 2,
    'hubline_operations_active{operation="send"}': 0,
    'hubline_operation_errors_total{operation="send",code="CONNECTION_NOT_FOUND"}': 2,
    'hubline_operation_errors_total{operation="send",code="SEND_FAILED"}': 1,
    'hubline_operation_errors_total{operation="send",code="CIRCUIT_OPEN"}': 1,
    'hubline_operation_errors_total{operation="broadcast",code="BROADCAST_PARTIAL_FAILURE"}': 1,
    'hubline_operation_retries_total{operation="callback"}': 3,
    'hubline_operation_retries_total{operation="send"}': 0,
    'hubline_circuits{state="open"}': 1,
    'hubline_circuits{state="closed"}': 0,
    hubline_unconfirmed_messages: 1,
  }
  expect(Object.fromEntries(Object.keys(expected).map(name => [name, samples.get(name)]))).toEqual(expected)
  const times = ['p50', 'p95', 'p99', 'max'].map(
    statistic => samples.get(`hubline_operation_duration_seconds{operation="callback",statistic="${statistic}"}`)!,
  )
  expect(times).toEqual([...times].sort((a, b) => a - b))
  expect(times[0]).toBeGreaterThan(0)
  expect(times[3]).toBeLessThan(5)
  webSocket.terminate()
})

it('has the same as JSON', async () => {
  const { body } = await ask(`${server.url}/api/metrics`)
  expect(body).toMatchObject({
    operations: { send: { count: 7, active: 0, errors: { SEND_FAILED: 1 }, p50: expect.any(Number) } },
    circuits: { open: 1 },
    queues: { pending: expect.any(Number), unconfirmed: expect.any(Number), bytes: expect.any(Number) },
  })
})

it('counts the clients once for a scrape, and anew for the next', async () => {
  const counted = vi.spyOn(server.hub, 'countConnectionStats')
  await scrape()
  expect(counted).toHaveBeenCalledTimes(1)
  await scrape()
  expect(counted).toHaveBeenCalledTimes(2)
  counted.mockRestore()
})
