import { z } from 'zod'
import { type ErrorCode, HTTP_STATUS } from '../../core/errors.ts'
import { policyJsonSchema, policySchema } from '../../policies/catalog.ts'
import type { Access } from './guard.ts'
import { type AnyApiOperation, type ApiAnswer, accessOf } from './route.ts'
import { errorSchema, policy } from './schemas.ts'

type Json = Record<string, unknown>

const JSON_TYPE = 'application/json'
/** What every operation may answer: METHOD_NOT_ALLOWED to the methods that its path does not have. */
const ALWAYS: readonly ErrorCode[] = [
  'REQUEST_INVALID',
  'ORIGIN_DENIED',
  'METHOD_NOT_ALLOWED',
  'HOST_DENIED',
  'RATE_LIMITED',
  'HEADERS_TOO_MANY',
  'LIMIT_EXCEEDED',
]
const WITH_CREDENTIAL: readonly ErrorCode[] = ['UNAUTHENTICATED', 'PERMISSION_DENIED', 'AUTH_UNAVAILABLE']
const WITH_BODY: readonly ErrorCode[] = ['REQUEST_TIMEOUT', 'MESSAGE_TOO_LARGE', 'UNSUPPORTED_PAYLOAD']

const ABOUT = `How clients subscribe and publish, what operators see and change of a hub, and what backends do with single clients.

Where API keys are configured, each operation of operators and backends needs one, as \`Authorization: Bearer <key>\`, with the scope that it
names. Clients have a token of their own, or a ticket. A topic's name is one segment of a path, with %2F for its slashes. Unknown keys of a
query or a body are refused. Where there is GET there is HEAD, and OPTIONS tells the methods of a path. Where the operators' API has a
listener of its own, the operations for clients are on the public one.`

/**
 * The OpenAPI document of these operations, made of the schemas that check them. `prefix`: where the hub is, such as
 * /tenants/a.
 */
export function openApiDocument(operations: readonly AnyApiOperation[], version: string, prefix: string): Json {
  const paths: Record<string, Json> = {}
  for (const each of operations) {
    paths[each.path] ??= {}
    paths[each.path]![each.method.toLowerCase()] = operation(each)
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Hubline', version, description: ABOUT, license: { name: 'MIT', identifier: 'MIT' } },
    servers: [{ url: prefix === '' ? '/' : prefix, description: 'this hub' }],
    tags: [...new Set(operations.map(({ tag }) => tag))].map(name => ({ name })),
    paths,
    components: {
      securitySchemes: {
        key: { type: 'http', scheme: 'bearer', description: 'An API key.' },
        token: { type: 'http', scheme: 'bearer', description: 'The token of a client.' },
        ticket: { type: 'apiKey', in: 'query', name: 'ticket', description: 'A ticket of POST /api/tickets.' },
      },
      schemas: {
        Error: schemaOf(errorSchema, 'output'),
        Policy: {
          description: 'The name of a policy, or an object with its name and options (docs/policies.md).',
          ...policyJsonSchema(),
        },
      },
    },
    security: [{ key: [] }, {}],
  }
}

function operation(operation: AnyApiOperation): Json {
  const { method, path, summary, description, tag, errorAnswers } = operation
  const access = accessOf(operation)
  const scope = access === 'open' || access === 'session' ? '' : `Scope: ${access}.`
  return {
    operationId: operation.operationId ?? idOf(method, path),
    summary,
    description: [description, scope].filter(Boolean).join('\n\n'),
    tags: [tag],
    ...(access === 'open' && { security: [] }),
    ...(access === 'session' && { security: [{ token: [] }, { ticket: [] }, { key: [] }, {}] }),
    parameters: [...parameters(operation.params, 'path', path), ...parameters(operation.query, 'query', path)],
    ...requestBody(operation),
    responses: {
      ...(errorAnswers ? answers(errorAnswers) : refusalsOf(operation, access)),
      ...answers(operation.answers),
    },
  }
}

function idOf(method: string, path: string): string {
  return `${method.toLowerCase()}${path.replace(/^\/api/, '').replaceAll(/[/{}-]+(\w?)/g, (_, next) => next.toUpperCase())}`
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

function requestBody({ body, rawBody }: AnyApiOperation): Json {
  if (rawBody !== undefined) {
    return { requestBody: { description: rawBody, required: false, content: { '*/*': { schema: {} } } } }
  }
  if (body === undefined) return {}
  const required = !body.safeParse(undefined).success
  return { requestBody: { required, content: { [JSON_TYPE]: { schema: schemaOf(body, 'input') } } } }
}

function answers(all: AnyApiOperation['answers']): Record<string, Json> {
  return Object.fromEntries(Object.entries(all).map(([status, answer]) => [status, response(answer)]))
}

function response({ description, schema, type = JSON_TYPE, otherTypes = [] }: ApiAnswer): Json {
  if (schema === undefined && type === JSON_TYPE) return { description }
  const others = otherTypes.map(other => [other, { schema: { type: 'string' } }])
  const content = { [type]: { schema: schema ? schemaOf(schema, 'output') : { type: 'string' } } }
  return { description, content: { ...content, ...Object.fromEntries(others) } }
}

function refusalsOf({ body, rawBody, errors = [] }: AnyApiOperation, access: Access): Record<string, Json> {
  const hasBody = body !== undefined || rawBody !== undefined
  return refusals([
    ...[...ALWAYS, ...(access === 'open' ? [] : WITH_CREDENTIAL)],
    ...[...(hasBody ? WITH_BODY : []), ...errors],
  ])
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
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any', override }) as Json
  return rest
}

/** zod knows nothing of what a function checks. */
function override({ zodSchema, jsonSchema }: { zodSchema: unknown; jsonSchema: Json }): void {
  if (zodSchema === policy || zodSchema === policySchema) jsonSchema.$ref = '#/components/schemas/Policy'
}
