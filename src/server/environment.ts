import type { z } from 'zod'
import { HubError } from '../core/errors.ts'
import { nearest } from '../core/options.ts'

const PREFIX = 'HUBLINE_'
/**
 * Not settings: the key that commands bring, the config file, stack traces for those who work on Hubline, and its
 * tests.
 */
const OTHERS = /^HUBLINE_(API_KEY|CONFIG|DEBUG|TEST_\w+|PROPERTY_\w+)$/

interface Setting {
  readonly path: readonly string[]
  readonly kind: 'string' | 'number' | 'boolean' | 'list' | 'json'
}

/**
 * Reads HUBLINE_PORT, HUBLINE_LIMITS_MAX_CLIENTS and so on: the names are the schema's keys. Lists have commas;
 * policies and topics are JSON (a policy may be a name). Throws CONFIG_INVALID for a name that is none, with the
 * nearest.
 */
export function readEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  schema: z.ZodObject,
): Record<string, unknown> {
  const settings = new Map<string, Setting>()
  collect(schema, [], settings)
  const config: Record<string, unknown> = {}
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith(PREFIX) || OTHERS.test(name) || text === undefined) continue
    const setting = settings.get(name)
    if (setting === undefined) {
      throw new HubError('CONFIG_INVALID', `environment: unknown name "${name}": ${hint(name, [...settings.keys()])}`)
    }
    set(config, setting.path, convert(name, text, setting.kind))
  }
  return config
}

/** The names are too many for a list. The prefix is theirs all, so it makes none of them near. */
function hint(name: string, known: readonly string[]): string {
  const near = nearest(
    name.slice(PREFIX.length),
    known.map(each => each.slice(PREFIX.length)),
  )
  return near === undefined ? 'docs/configuration.md says how they are made' : `did you mean "${PREFIX}${near}"?`
}

/** HUBLINE_PORT, HUBLINE_LOG_LEVEL, HUBLINE_LIMITS_MAX_CLIENTS. */
export function nameOf(path: readonly string[]): string {
  return PREFIX + path.map(key => key.replace(/[A-Z]/g, '_$&').toUpperCase()).join('_')
}

function collect(schema: z.ZodObject, path: readonly string[], settings: Map<string, Setting>): void {
  for (const [key, value] of Object.entries(schema.shape)) {
    const inner = bare(value as z.ZodType)
    const at = [...path, key]
    if (inner.type === 'object') collect(inner as unknown as z.ZodObject, at, settings)
    else settings.set(nameOf(at), { path: at, kind: kindOf(inner.type) })
  }
}

function bare(schema: z.ZodType): { type: string } {
  let at = schema as unknown as { type: string; unwrap?: () => never }
  while (at.type === 'default' || at.type === 'prefault' || at.type === 'optional') at = at.unwrap!()
  return at
}

function kindOf(type: string): Setting['kind'] {
  if (type === 'number' || type === 'int') return 'number'
  if (type === 'boolean') return 'boolean'
  if (type === 'array') return 'list'
  return type === 'string' || type === 'enum' ? 'string' : 'json'
}

function convert(name: string, text: string, kind: Setting['kind']): unknown {
  if (kind === 'number') return text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text)
  if (kind === 'boolean')
    return text === 'true' || text === '1' ? true : text === 'false' || text === '0' ? false : text
  if (kind === 'list') return text.split(',').flatMap(entry => entry.trim() || [])
  if (kind === 'string' || !/^\s*[{[]/.test(text)) return text
  try {
    return JSON.parse(text)
  } catch {
    throw new HubError('CONFIG_INVALID', `environment: ${name} is no valid JSON`)
  }
}

function set(config: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [key, ...rest] = path as [string, ...string[]]
  if (rest.length === 0) {
    config[key] = value
  } else {
    config[key] ??= {}
    set(config[key] as Record<string, unknown>, rest, value)
  }
}
