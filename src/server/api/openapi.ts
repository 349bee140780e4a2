import { z } from 'zod'
import { type ErrorCode, HTTP_STATUS } from '../../core/errors.ts'
import { type AnyApiRoute, type ApiAnswer, accessOf } from './route.ts'

type Json = Record<string, unknown>

const JSON_TYPE = 'application/json'
/** What every operation may answer. */
const ALWAYS: readonly ErrorCode[] = ['REQUEST_INVALID', 'UNAUTHENTICATED', 'PERMISSION_DENIED']

const ABOUT = `What operators see and change of a hub, and what backends do with single clients.

Where keys are configured, each operation needs one, as \`Authorization: Bearer <key>\`, with the scope that it names. A topic's name is one
segment of a path, with %2F for its slashes. Unknown keys of a query or a body are refused.`

/** The OpenAPI document of these operations, made of the schemas that check them. */
export function openApiDocument(routes: readonly AnyApiRoute[], version: string): Json {
  const paths: Record<string, Json> = {}
  for (const route of routes) {
    paths[route.path] ??= {}
    paths[route.path]![route.method.toLowerCase()] = operation(route)
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Hubline', version, description: ABOUT, license: { name: 'MIT', identifier: 'MIT' } },
    servers: [{ url: '/', description: 'this hub' }],
    tags: [...new Set(routes.map(({ tag }) => tag))].map(name => ({ name })),
    paths,
    components: {
      securitySchemes: { key: { type: 'http', scheme: 'bearer', description: 'An API key.' } },
      schemas: { Error: schemaOf(errorSchema, 'output') },
    },
    security: [{ key: [] }, {}],
  }
}

const errorSchema = z
  .object({
    error: z.object({
      code: z.enum(Object.keys(HTTP_STATUS) as [ErrorCode, ...ErrorCode[]]),
      reason: z.string().optional().meta({ description: 'Of UNAUTHENTICATED: its class.' }),
      message: z.string().meta({ description: 'One sentence for people.' }),
    }),
  })
  // Some errors tell more: which of many items failed.
  .loose()

function operation(route: AnyApiRoute): Json {
  const { method, path, summary, description, tag, errors = [] } = route
  const access = accessOf(route)
  const scope = access === 'open' || access === 'session' ? '' : `Scope: ${access}.`
  return {
    operationId: `${method.toLowerCase()}${path.replace(/^\/api/, '').replaceAll(/[/{}-]+(\w?)/g, (_, next) => next.toUpperCase())}`,
    summary,
    description: [description, scope].filter(Boolean).join('\n\n'),
    tags: [tag],
    ...(access === 'open' && { security: [] }),
    parameters: [...parameters(route.params, 'path', path), ...parameters(route.query, 'query', path)],
    ...requestBody(route),
    responses: { ...answers(route.answers), ...refusals([...ALWAYS, ...errors]) },
  }
}

function parameters(schema: z.ZodType | undefined, place: 'path' | 'query', path: string): Json[] {
  const { properties = {}, required = [] } = (schema ? schemaOf(schema, 'input') : {}) as {
    properties?: Record<string, Json>
    required?: string[]
  }
  const undescribed = [...path.matchAll(/\{(\w+)\}/g)].flatMap(([, name]): [string, Json][] =>
    place === 'path' && !(name! in properties) ? [[name!, { type: 'string' }]] : [],
  )
  return [...Object.entries(properties), ...undescribed].map(([name, { description, ...schema }]) => ({
    name,
    in: place,
    ...(description !== undefined && { description }),
    required: place === 'path' || required.includes(name),
    schema,
  }))
}

function requestBody({ body, rawBody }: AnyApiRoute): Json {
  if (rawBody !== undefined) {
    return { requestBody: { description: rawBody, required: false, content: { '*/*': { schema: {} } } } }
  }
  if (body === undefined) return {}
  const required = !body.safeParse(undefined).success
  return { requestBody: { required, content: { [JSON_TYPE]: { schema: schemaOf(body, 'input') } } } }
}

function answers(all: AnyApiRoute['answers']): Record<string, Json> {
  return Object.fromEntries(Object.entries(all).map(([status, answer]) => [status, response(answer)]))
}

function response({ description, schema, type = JSON_TYPE }: ApiAnswer): Json {
  if (schema === undefined && type === JSON_TYPE) return { description }
  return { description, content: { [type]: { schema: schema ? schemaOf(schema, 'output') : { type: 'string' } } } }
}

/** One answer for each status, with the codes that it may have. */
function refusals(codes: readonly ErrorCode[]): Record<string, Json> {
  const byStatus = new Map<number, ErrorCode[]>()
  for (const code of new Set(codes)) {
    const status = HTTP_STATUS[code]
    byStatus.set(status, [...(byStatus.get(status) ?? []), code])
  }
  const content = { [JSON_TYPE]: { schema: { $ref: '#/components/schemas/Error' } } }
  return Object.fromEntries(
    [...byStatus].map(([status, all]) => [`${status}`, { description: all.join(', '), content }]),
  )
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Json
  return rest
}
