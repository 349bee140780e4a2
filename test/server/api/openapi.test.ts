import { Validator } from '@seriousme/openapi-schema-validator'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newApiKey } from '../../../src/sessions/api-keys.ts'
import { ask } from '../http.ts'
import { startTestServer, type TestServer } from '../test-server.ts'

type Json = Record<string, never>
interface Operation {
  readonly operationId: string
  readonly summary: string
  readonly parameters: { name: string; in: string; required: boolean; schema: Json }[]
  readonly requestBody?: { description?: string; required: boolean; content: Record<string, { schema: Json }> }
  readonly responses: Record<string, { description: string; content?: Json }>
}

let server: TestServer
let document: { paths: Record<string, Record<string, Operation>>; [key: string]: unknown }
const table: { method: string; url: string; access: string | undefined }[] = []
beforeAll(async () => {
  server = await startTestServer()
  document = (await ask(`${server.url}/api/openapi.json`)).body
  const { default: Fastify } = await import('fastify')
  const { hubline } = await import('../../../src/server/fastify.ts')
  const { TopicRules } = await import('../../../src/topics/registry.ts')
  const { createHub } = await import('../../../src/hub.ts')
  const app = Fastify({ exposeHeadRoutes: false })
  app.addHook('onRoute', ({ method, url, config }) => {
    if (config?.methodsOnly) return
    for (const each of [method].flat()) table.push({ method: each, url, access: config?.access })
  })
  const topicRules = new TopicRules({})
  await app.register(hubline, { hub: createHub({ topics: topicRules }), topicRules })
  await app.close()
})
afterAll(() => server.close())

const operations = () =>
  Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  )
/** Pages, and the second name of a path, which the description of the first has. */
const PAGES = /^\/$|^\/api\/docs|^\/:stage\/@connections/
/** As the router has it. */
const routeOf = (path: string): string =>
  path
    .replace(/^\/api\/topics\/\{topic\}.*/, '/api/topics/*')
    .replace(/\{(topic|pattern)\}$/, '*')
    .replaceAll(/\{(\w+)\}/g, ':$1')

describe('/api/openapi.json', () => {
  it('is a valid OpenAPI 3.1 document', async () => {
    const validator = new Validator()
    const { valid, errors } = await validator.validate(structuredClone(document))
    expect(errors ?? []).toEqual([])
    expect([valid, validator.version]).toEqual([true, '3.1'])
  })

  it('names multipart/form-data where a body of any type may not be that', async () => {
    const refused: string[] = []
    const told: string[] = []
    for (const { method, path, operation } of operations()) {
      if (!operation.requestBody?.content['*/*']) continue
      const url = server.url + path.replace(/\{\w+\}/g, 'a')
      const { status } = await ask(url, { method, body: new FormData() })
      if (status === 415) refused.push(`${method} ${path}`)
      if (operation.requestBody.description?.includes('but multipart/form-data')) told.push(`${method} ${path}`)
    }
    expect(refused).toContain('POST /api/clients/{id}/send')
    expect(told).toEqual(refused)
  })

  it('has every route of the route table but the pages for people, and no other', () => {
    const routes = table.filter(({ method, url }) => method !== 'HEAD' && !PAGES.test(url))
    const told = new Set(operations().map(({ method, path }) => `${method} ${routeOf(path)}`))
    expect([...told].sort()).toEqual(routes.map(({ method, url }) => `${method} ${url}`).sort())
  })

  it('describes each: a name of its own, its parameters, its refusals', () => {
    const ids = operations().map(({ operation }) => operation.operationId)
    expect(new Set(ids).size).toBe(ids.length)
    for (const { path, operation } of operations()) {
      const named = operation.parameters.filter(each => each.in === 'path').map(({ name }) => name)
      expect([path, named.sort()]).toEqual([path, [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort()])
      expect(operation.summary).not.toBe('')
      const open = path.startsWith('/health/')
      const refusals = ['400', '403', '405', '421', '429', '431', '503', ...(open ? [] : ['401'])]
      expect([path, ...Object.keys(operation.responses)]).toEqual(expect.arrayContaining(refusals))
    }
  })

  it('comes from the schemas that check', async () => {
    const { parameters } = document.paths['/api/clients']!.get!
    expect(parameters.find(({ name }) => name === 'limit')!.schema).toMatchObject({
      type: 'integer',
      minimum: 1,
      maximum: 1000,
    })
    const { schema } = document.paths['/api/publish']!.post!.requestBody!.content['application/json']!
    expect(schema).toMatchObject({
      additionalProperties: false,
      properties: { publications: { minItems: 1, maxItems: 1000 } },
    })
    for (const limit of [0, 1001]) {
      expect((await ask(`${server.url}/api/clients?limit=${limit}`)).status).toBe(400)
    }
  })

  it('says in a pattern what base64 is, wherever a body may have it', () => {
    const written = JSON.stringify(operations().map(({ operation }) => operation.requestBody))
    const encoded = written.match(/"contentEncoding":"base64"/g)
    expect(encoded?.length).toBeGreaterThanOrEqual(3)
    expect(written.match(/"pattern":"[^"]*==[^"]*"/g)).toHaveLength(encoded!.length)
  })

  it('is asked of with a key where there are keys; the page that shows it is not', async () => {
    const guarded = await startTestServer({
      sessions: { apiKeys: { ops: { sha256: newApiKey().sha256, scopes: ['admin'] } } },
    })
    expect((await fetch(`${guarded.url}/api/openapi.json`)).status).toBe(401)
    for (const path of ['', '/page.js', '/page.css']) {
      const page = await fetch(`${guarded.url}/api/docs${path}`)
      expect([page.status, page.headers.get('content-security-policy')]).toEqual([
        200,
        expect.stringContaining("default-src 'self'"),
      ])
    }
    await guarded.close()
  })
})
