import { targetOf } from './schema-time.ts'

/** Keywords whose value is data, not a schema. */
const DATA: ReadonlySet<string> = new Set(['const', 'enum', 'default', 'examples'])

/**
 * Returns the path of a `$ref` that leads back to itself without a step into the message. The check of a message would
 * never end. Returns undefined where there is none. Does not follow references below an `$id` of their own, nor those
 * that are not JSON pointers.
 */
export function findCircle(root: unknown): string[] | undefined {
  const places = placesOf(root)
  const state = new Map<object, 'open' | 'done'>()
  for (const start of places.keys()) {
    const waiting: { schema: unknown; leave?: true }[] = [{ schema: start }]
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      const { schema, leave } = next
      if (!isObject(schema)) continue
      if (leave) state.set(schema, 'done')
      else if (state.get(schema) === 'open') return pathOfReference(schema, state, places)
      else if (!state.has(schema)) {
        state.set(schema, 'open')
        waiting.push({ schema, leave: true })
        for (const each of appliedInPlace(schema, root)) waiting.push({ schema: each })
      }
    }
  }
  return undefined
}

interface Place {
  readonly parent: object
  readonly key: string
}

/** All objects and arrays with their places. It does not recurse, because schemas may nest deeper than the stack. */
function placesOf(root: unknown): Map<object, Place | undefined> {
  const places = new Map<object, Place | undefined>()
  if (isObject(root)) places.set(root, undefined)
  for (const parent of places.keys()) {
    for (const [key, inner] of Object.entries(parent)) {
      if (isObject(inner) && !DATA.has(key) && !places.has(inner)) places.set(inner, { parent, key })
    }
  }
  return places
}

/** The schemas that this one applies to the same value (JSON Schema 2020-12, sections 8.2.3, 10.2). */
function appliedInPlace(schema: Record<string, unknown>, root: unknown): unknown[] {
  if (schema !== root && typeof schema.$id === 'string') return []
  const { $ref, allOf, anyOf, oneOf, not, if: condition, then, else: otherwise, dependentSchemas } = schema
  return [
    typeof $ref === 'string' ? targetOf($ref, root as Record<string, unknown>) : undefined,
    ...[allOf, anyOf, oneOf].flatMap(each => (Array.isArray(each) ? each : [])),
    ...[not, condition, then, otherwise],
    ...(isObject(dependentSchemas) ? Object.values(dependentSchemas) : []),
  ]
}

/** Every circle has a `$ref`. It is in one of the schemas that are open since the first schema of the circle. */
function pathOfReference(
  first: object,
  state: ReadonlyMap<object, string>,
  places: ReadonlyMap<object, Place | undefined>,
): string[] {
  const open = [...state].filter(([, each]) => each === 'open').map(([schema]) => schema)
  const holder = open.slice(open.indexOf(first)).find(schema => '$ref' in schema && typeof schema.$ref === 'string')
  const path = ['$ref']
  for (let place = places.get(holder!); place; place = places.get(place.parent)) path.unshift(place.key)
  return path
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
