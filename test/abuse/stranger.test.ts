import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startTestServer, type TestServer } from '../server/test-server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer()
})
afterAll(() => server.close())

/** Without a credential, about topics and clients that nobody has heard of, with the body {} where there is one. */
const ANSWERS: Readonly<Record<string, number>> = {
  'GET /': 200,
  'GET /topics/x': 200,
  'POST /topics/x': 202,
  'PUT /topics/x': 200,
  'GET /events?topic=x': 200,
  'GET /connection/websocket': 426,
  'GET /health/live': 200,
  'GET /health/ready': 200,
  'GET /metrics': 200,
  'POST /api/tickets': 201,
  'GET /api/topics': 200,
  'GET /api/topics/x': 200,
  'PUT /api/topics/x/policy': 400,
  'DELETE /api/topics/x/policy': 204,
  'POST /api/topics/x/move': 400,
  'GET /api/topic-rules': 200,
  'GET /api/topic-rules/x': 404,
  'PUT /api/topic-rules/x': 201,
  'DELETE /api/topic-rules/x': 204,
  'GET /api/stats': 200,
  'GET /api/metrics': 200,
  'GET /api/clients': 200,
  'POST /api/clients': 400,
  'GET /api/clients/nobody': 404,
  'DELETE /api/clients/nobody': 404,
  'PUT /api/clients/nobody/policy': 400,
  'DELETE /api/clients/nobody/policy': 404,
  'POST /api/clients/nobody/subscriptions': 400,
  'DELETE /api/clients/nobody/subscriptions/x': 404,
  'POST /api/clients/nobody/send': 404,
  'GET /api/clients/nobody/active': 200,
  'POST /api/clients/nobody/ack': 400,
  'GET /api/clients/nobody/tail': 404,
  'GET /api/users': 400,
  'GET /api/users/nobody': 200,
  'DELETE /api/users/nobody': 200,
  'POST /api/users/nobody/send': 400,
  'POST /api/publish': 400,
  'POST /api/broadcast': 400,
  'POST /api/revocations': 400,
  'GET /api/limits': 200,
  'PATCH /api/limits': 400,
  'GET /api/drain': 200,
  'GET /api/docs': 200,
  'GET /api/docs/page.js': 200,
  'GET /api/docs/page.css': 200,
  'GET /api/docs/icon.svg': 200,
  'GET /api/openapi.json': 200,
  'POST /@connections/nobody': 410,
  'GET /@connections/nobody': 410,
  'DELETE /@connections/nobody': 410,
  'POST /prod/@connections/nobody': 410,
  'GET /prod/@connections/nobody': 410,
  'DELETE /prod/@connections/nobody': 410,
  // Last, for it ends all that is there.
  'POST /api/drain': 202,
}

/** The path as the router has it, as far as several paths share a route. */
function patternOf(path: string): string {
  return path.split('?')[0]!.replace(/^(\/topics|\/api\/topics|\/api\/topic-rules)\/.*/, '$1/*')
}

async function statusOf(request: string): Promise<number> {
  const [method, path] = request.split(' ') as [string, string]
  const body = ['POST', 'PUT', 'PATCH'].includes(method)
  const answer = await fetch(server.url + path, {
    method,
    ...(body && { body: '{}', headers: { 'content-type': 'application/json' } }),
  })
  await answer.body?.cancel()
  return answer.status
}

describe('what a server answers to a stranger on loopback, as it is shipped', () => {
  it('has no other route: whoever adds one says here what a stranger gets', async () => {
    const paths = new Set(Object.keys(ANSWERS).map(request => patternOf(request.split(' ')[1]!)))
    const printed = server.app.printRoutes({ commonPrefix: false })
    expect([...printed.matchAll(/\(([A-Z, -]+)\)/g)], printed).toHaveLength(paths.size)
    // What is below a topic is found by the handler of its method, and not by the router.
    const single = Object.keys(ANSWERS).filter(request => !request.includes(' /api/topics/'))
    const others = single.flatMap(request => {
      const path = request.split(' ')[1]!
      const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].map(method => `${method} ${path}`)
      return methods.filter(other => !(other in ANSWERS))
    })
    const statuses: Record<string, number> = {}
    for (const request of others) statuses[request] = await statusOf(request)
    expect(statuses).toEqual(Object.fromEntries(others.map(request => [request, 405])))
  })

  it('is this, route by route', async () => {
    const answers: Record<string, number> = {}
    for (const request of Object.keys(ANSWERS)) answers[request] = await statusOf(request)
    expect(answers).toEqual(ANSWERS)
  })
})
