import { readFileSync } from 'node:fs'
import { isIPv4 } from 'node:net'
import { closest } from 'fastest-levenshtein'
import { parse as parseYaml, type YAMLParseError } from 'yaml'
import { z } from 'zod'
import { HubError } from '../core/errors.ts'
import { parseTopicName } from '../core/ids.ts'
import { POLICY_NAMES, policySchema } from '../policies/catalog.ts'
import { readEnvironment } from './environment.ts'

const MIB = 1024 * 1024
const history = z.strictObject({
  messages: z.int().min(0).max(1_000_000).default(256),
  bytes: z
    .int()
    .min(0)
    .max(256 * MIB)
    .default(256 * 1024),
  ageMs: z.int().min(0).max(86_400_000).default(60_000),
})
/** Of one topic: what it does not say is as the hub's. */
const topicHistory = z.strictObject({
  messages: history.shape.messages.unwrap().optional(),
  bytes: history.shape.bytes.unwrap().optional(),
  ageMs: history.shape.ageMs.unwrap().optional(),
})
const maxMessageBytes = z
  .int()
  .min(1)
  .max(64 * MIB)
/** How long a message may wait for others to share a write with, in ms. */
const lingerMs = z.int().min(0).max(1000)
const topic = z.strictObject({
  policy: policySchema.optional(),
  allowedPolicies: z.array(z.enum(POLICY_NAMES)).optional(),
  /** It goes into a response's head as it is. */
  contentType: z
    .string()
    .regex(/^[\x20-\x7e]+$/, 'it must be printable ASCII, such as text/plain')
    .optional(),
  history: topicHistory.optional(),
  maxMessageBytes: maxMessageBytes.optional(),
  lingerMs: lingerMs.optional(),
})

/** Every setting, with its range and its default. The environment's names are derived from it. */
export const configSchema = z.strictObject({
  host: z.string().min(1).default('127.0.0.1'),
  /** 0: any free port. */
  port: z.int().min(0).max(65_535).default(8000),
  /** Allows to listen on other than loopback addresses, where everybody may then do everything. */
  insecure: z.boolean().default(false),
  logLevel: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
  /** How long a shutdown may take before what is left is cut, in ms: the process must be gone within 10 s. */
  drainMs: z.int().min(0).max(8000).default(8000),
  /** Between two pings of a client, in ms. */
  pingMs: z.int().min(100).max(3_600_000).default(25_000),
  policy: policySchema.default('buffered'),
  history: history.prefault({}),
  maxMessageBytes: maxMessageBytes.default(MIB),
  lingerMs: lingerMs.default(0),
  limits: z
    .strictObject({
      maxClients: z.int().min(1).max(10_000_000).default(50_000),
      maxTopics: z.int().min(1).max(10_000_000).default(100_000),
      maxSubscriptionsPerClient: z.int().min(1).max(100_000).default(128),
      maxQueuedBytesPerClient: z
        .int()
        .min(1024)
        .max(1024 * MIB)
        .default(MIB),
      maxRetainedBytes: z
        .int()
        .min(MIB)
        .max(1024 * 1024 * MIB)
        .default(256 * MIB),
    })
    .prefault({}),
  /** What the kernel may hide of a connection, in bytes; 0: as the system has it. Linux only. */
  tcp: z
    .strictObject({
      notSentLowatBytes: z
        .int()
        .min(0)
        .max(64 * MIB)
        .default(0),
      sendBufferBytes: z
        .int()
        .min(0)
        .max(64 * MIB)
        .default(0),
    })
    .prefault({}),
  topics: z.record(z.string(), topic).default({}),
})

export type Config = z.infer<typeof configSchema>

export interface ConfigSources {
  /** JSON or YAML. Default: the one that HUBLINE_CONFIG names, if any. */
  readonly file?: string | undefined
  readonly env: Readonly<Record<string, string | undefined>>
  /** A command's own, in place of the schema's. */
  readonly defaults?: Readonly<Record<string, unknown>>
  /** Undefined values say nothing. */
  readonly flags: Readonly<Record<string, unknown>>
}

/** Flags win over the environment, it over the file, it over the defaults. Throws CONFIG_INVALID, BIND_REFUSED. */
export function loadConfig({ file, env, flags, defaults = {} }: ConfigSources): Config {
  const path = file ?? (env.HUBLINE_CONFIG || undefined)
  const fromFile = path === undefined ? {} : check(readFile(path), `config ${path}`)
  const environment = check(readEnvironment(env, configSchema), 'environment')
  const said = Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined))
  const config = parse([fromFile, environment, check(said, 'options')].reduce(merge, { ...defaults }), 'config')
  checkTopics(Object.keys(config.topics))
  if (!config.insecure && !isLoopback(config.host)) {
    throw new HubError(
      'BIND_REFUSED',
      `host: ${config.host} is open to others, and nobody has to log in yet; listen on 127.0.0.1, or accept that with --insecure`,
    )
  }
  return config
}

/** By the address, not by the look: 127.example.org is somebody else's name. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'))
}

function readFile(path: string): unknown {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new HubError('CONFIG_INVALID', `config ${path}: cannot be read (${code})`)
  }
  try {
    // YAML is a superset of JSON, and knows where a mistake is.
    return parseYaml(text, { logLevel: 'error' }) ?? {}
  } catch (error) {
    const [where] = (error as YAMLParseError).linePos ?? []
    const place = where ? `:${where.line}:${where.col}` : ''
    const [what = ''] = (error as Error).message.split('\n')
    throw new HubError('CONFIG_INVALID', `config ${path}${place}: ${what.replace(/ at line \d+, column \d+:?$/, '')}`)
  }
}

/** One source alone, so that a mistake is told with the name of where it is. */
function check(value: unknown, where: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new HubError('CONFIG_INVALID', `${where}: it must be an object of settings`)
  }
  const { topics } = value as { topics?: object | null }
  // It has the form of a topic's name, but zod cannot see a key of this name, and merging would lose it.
  if (topics && Object.hasOwn(topics, '__proto__')) {
    throw new HubError('CONFIG_INVALID', `${where}: topics: "__proto__" cannot have settings of its own`)
  }
  parse(value, where)
  return value as Record<string, unknown>
}

function parse(value: unknown, where: string): Config {
  const result = configSchema.safeParse(value)
  if (result.success) return result.data
  throw new HubError('CONFIG_INVALID', `${where}: ${describe(result.error.issues[0]!, value)}`)
}

function describe(issue: z.core.$ZodIssue, value: unknown): string {
  const path = issue.path.map(String)
  if (issue.code === 'unrecognized_keys') {
    const key = [...path, issue.keys[0]].join('.')
    return `unknown key "${key}": did you mean "${[...path, closest(issue.keys[0]!, keysAt(path))].join('.')}"?`
  }
  const given = path.reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], value)
  const shown = typeof given === 'string' ? JSON.stringify(given) : String(given)
  const told = given === undefined || typeof given === 'object' || issue.message.includes(shown)
  return `${path.join('.')}: ${issue.message}${told ? '' : ` (given: ${shown})`}`
}

/** What may stand at a place of the configuration. */
function keysAt(path: readonly string[]): string[] {
  if (path[0] === 'topics') return Object.keys((path[2] === 'history' ? history : topic).shape)
  const { limits, tcp } = configSchema.shape
  const shapes = { limits: limits.unwrap(), tcp: tcp.unwrap(), history } as Record<string, { shape: object }>
  return Object.keys(shapes[path[0] ?? '']?.shape ?? configSchema.shape)
}

function checkTopics(names: readonly string[]): void {
  const seen = new Map<string, string>()
  for (const name of names) {
    const topicName = parseName(name)
    const twin = seen.get(topicName)
    if (twin !== undefined) {
      throw new HubError('CONFIG_INVALID', `config: topics: "${twin}" and "${name}" are the same topic`)
    }
    seen.set(topicName, name)
  }
}

function parseName(name: string): string {
  try {
    return parseTopicName(name)
  } catch (error) {
    throw new HubError('CONFIG_INVALID', `config: topics: ${(error as Error).message}`)
  }
}

function merge(under: Record<string, unknown>, over: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const merged = { ...under }
  for (const [key, value] of Object.entries(over)) {
    const below = merged[key]
    merged[key] = isRecord(value) && isRecord(below) && key !== 'policy' ? merge(below, value) : value
  }
  return merged
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
