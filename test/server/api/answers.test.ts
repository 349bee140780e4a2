import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { buffered } from '../../../src/policies/buffered.ts'
import { listen } from '../http.ts'
import { startTestServer, type TestServer } from '../test-server.ts'

interface Operation {
  readonly responses: Readonly<Record<string, { readonly content?: Record<string, { readonly schema?: object }> }>>
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

let server: TestServer
beforeEach(async () => {
  server = await startTestServer({ topics: { 'news/*': { presence: true } }, limits: { maxClients: 2 } })
})
afterEach(() => server.close())

const VALUES: Readonly<Record<string, string>> = {
  id: 'ada',
  user: 'ann',
  topic: encodeURIComponent('news/one'),
  pattern: encodeURIComponent('news/*'),
}

/** What has to be said in a query. */
const QUERIES: Readonly<Record<string, string>> = { '/api/users': '?online=ann', '/topics/{topic}': '?history' }

const circle: { name: string; self?: unknown } = { name: 'circle' }
circle.self = circle

it.each([
  ['with a client, losses, patterns and refusals there', buffered()],
  ['with a policy that cannot be described', { ...buffered(), name: 'circle', describe: () => circle }],
])('every GET of the API answers as its own schema says, %s', async (_, policy) => {
  server.hub.setDeliveryPolicy('news/one', policy)
  const { webSocket } = await listen(server.url, 'ada', 'news/one')
  server.hub.subscribePattern('ada', 'news/**')
  for (let i = 0; i < 3; i++)
    server.hub.routeData('news/one', Buffer.from(`{"n":${i}}`), { contentType: 'application/json' })
  await listen(server.url, 'bob', 'news/two').catch(() => undefined)
  await fetch(`${server.url}/topics/news/three`)
  const document = (await (await fetch(`${server.url}/api/openapi.json`)).json()) as Document
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  addFormats.default(ajv)
  const checked: string[] = []
  const wrong: unknown[] = []
  for (const [path, { get }] of Object.entries(document.paths)) {
    const schema = get?.responses['200']?.content?.['application/json']?.schema
    if (schema === undefined) continue
    const url = path.replace(/\{(\w+)\}/g, (_, name: string) => VALUES[name]!) + (QUERIES[path] ?? '')
    const answer = await fetch(server.url + url, { headers: { accept: 'application/json' } })
    const body: unknown = await answer.json()
    checked.push(path)
    if (answer.status !== 200) wrong.push([path, answer.status, body])
    else if (!ajv.validate(schema, body)) wrong.push([path, ajv.errors])
  }
  expect(wrong).toEqual([])
  expect(checked.length).toBeGreaterThan(15)
  webSocket.terminate()
})
