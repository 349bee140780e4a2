import { printable } from '../../topics/place.ts'
import { type Config, type Layer, mergeLayers } from '../config.ts'
import { holdsSecret } from '../config-schema.ts'
import { nameOf } from '../environment.ts'

/** One setting in force. */
export interface Setting {
  /** `limits.maxClients` */
  readonly key: string
  /** As it may be shown: no secret is in it. */
  readonly shown: string
  /** `--port`, `HUBLINE_PORT`, `config hubline.yaml`, `default`. */
  readonly from: string
}

/** Every setting but the topics, with where its value comes from. Throws as `mergeLayers` does. */
export function settingsOf(layers: readonly Layer[]): Setting[] {
  const { topics: _, ...config } = mergeLayers(layers)
  return leaves(config).map(({ path, value }) => ({
    key: path.join('.'),
    shown: shownAs(path, value),
    from: originOf(path, layers),
  }))
}

/** Where rules of topics come from: a rule that several sources speak of is made of all of them. */
export function ruleOrigins(config: Config, layers: readonly Layer[]): Map<string, string> {
  return new Map(
    Object.keys(config.topics).map(pattern => {
      const speakers = layers.filter(({ values }) => Object.hasOwn((values.topics ?? {}) as object, pattern))
      return [pattern, speakers.map(layer => nameLayer(layer, ['topics'])).join(', ')]
    }),
  )
}

function originOf(path: readonly string[], layers: readonly Layer[]): string {
  const layer = layers.findLast(({ values }) => speaksOf(values, path))
  return layer === undefined ? 'default' : nameLayer(layer, path)
}

function nameLayer({ from }: Layer, path: readonly string[]): string {
  if (from === 'environment') return nameOf(path)
  if (from === 'options') return `--${path.join('.').replace(/[A-Z]/g, '-$&').toLowerCase()}`
  return from === 'defaults' ? 'default' : from
}

function speaksOf(values: unknown, [key, ...rest]: readonly string[]): boolean {
  if (key === undefined) return true
  if (typeof values !== 'object' || values === null || !Object.hasOwn(values, key)) return false
  return speaksOf((values as Record<string, unknown>)[key], rest)
}

/** Policies are one value each, though they may be objects. */
function leaves(value: unknown, path: readonly string[] = []): { path: readonly string[]; value: unknown }[] {
  const isBranch = typeof value === 'object' && value !== null && !Array.isArray(value) && path.at(-1) !== 'policy'
  if (!isBranch) return value === undefined ? [] : [{ path, value }]
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, [...path, key]))
}

/** What may be a secret by its name is not shown either: better one too many than one too few. */
const LOOKS_SECRET = /secret|password|token|credential|apikeys?|keys?$|pem$|hash/i

function shownAs(path: readonly string[], value: unknown): string {
  const suspect = typeof value !== 'number' && typeof value !== 'boolean' && LOOKS_SECRET.test(path.at(-1)!)
  if (holdsSecret(path.join('.')) || suspect) return '(set, not shown)'
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  // A URL may have somebody's password in it.
  return printable(text.replace(/\/\/[^/@\s"]*@/g, '//(not shown)@'))
}
