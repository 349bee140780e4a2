import { text } from 'node:stream/consumers'
import { Command, InvalidArgumentError } from '../bundled/commander.ts'
import { HubError } from '../core/errors.ts'
import { parseTopicName } from '../core/ids.ts'
import { type Config, loadConfig } from '../server/config.ts'
import { jwtOptions } from '../server/sessions.ts'
import { KEY_SCOPES, type KeyScope, newApiKey } from '../sessions/api-keys.ts'
import { parseGrants } from '../sessions/grants.ts'
import { jwtSessions } from '../sessions/jwt.ts'
import { mintToken, readToken } from '../sessions/mint.ts'
import { Failure } from './failure.ts'

interface MintFlags {
  readonly config?: string
  readonly user: string
  readonly subscribe?: string[]
  readonly publish?: string[]
  readonly channel?: string
  readonly ttl?: number
  readonly id?: string
}

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

function duration(text: string): number {
  const [, count, unit] = /^(\d{1,7})([smhd])$/.exec(text) ?? []
  if (count === undefined || Number(count) === 0)
    throw new InvalidArgumentError('A time is a number and s, m, h or d, such as 90s or 1h.')
  return Number(count) * UNITS[unit!]!
}

/** Checked here, where the sentence says which it is; a hub would only say that the claims are wrong. */
function pattern(text: string, before: string[] = []): string[] {
  const given = text.split(',').map(each => each.trim())
  for (const each of given) parseGrants({ subscribe: [each] })
  return [...before, ...given]
}

export function tokenCommand(): Command {
  return configOption(new Command('token'))
    .description('Mint a token for trials, make an API key, or find out what is wrong with a token.')
    .option('--user <user>', 'whose it is (sub)', 'tester')
    .option('--subscribe <patterns>', 'topics that it may subscribe to; again, or with commas, for more', pattern)
    .option('--publish <patterns>', 'topics that it may publish to', pattern)
    .option(
      '--channel <topic>',
      'make a subscription token: for this one topic, to be brought by a client that is connected',
    )
    .option('--ttl <time>', 'how long it is good for, such as 90s, 10m, 1h (default: 1h)', duration)
    .option('--id <id>', 'its id (jti), by which it can be revoked')
    .addCommand(keyCommand())
    .addCommand(checkCommand())
    .addHelpText(
      'after',
      `
Examples:
  $ hubline token --user ada --subscribe 'chat/*' --publish chat/ada --config hubline.yaml
  $ hubline token --user ada --channel chat/private
  $ curl -N -H "authorization: Bearer $(hubline token --subscribe '**')" http://127.0.0.1:8000/topics/news
  $ hubline token key
  $ hubline token check < token.txt

It signs with sessions.jwt.secret of the configuration (--config, or HUBLINE_SESSIONS_JWT_SECRET), for the first algorithm, issuer and
audience there, and prints the token alone. In production your own backend makes the tokens; its claims and an example: docs/security.md.`,
    )
    .action(mint)
}

function configOption(command: Command): Command {
  return command.option('-c, --config <file>', 'JSON or YAML file; HUBLINE_* variables win over it')
}

function keyCommand(): Command {
  return new Command('key')
    .description('Make an API key for a backend or an operator, with the hash that belongs into the configuration.')
    .option('--name <name>', 'who gets it', 'backend')
    .option('--scope <scopes>', 'publish, metrics, read or admin; several with commas', scopes, ['publish'])
    .addHelpText(
      'after',
      `
Examples:
  $ hubline token key --name app
  $ hubline token key --name ops --scope admin
  $ hubline token key --name prometheus --scope metrics

The key is printed once and kept nowhere: give it to whoever needs it. The hub has its hash alone.`,
    )
    .action(({ name, scope }: { name: string; scope: string[] }) => {
      const { key, sha256 } = newApiKey()
      process.stdout.write(`key:    ${key}\nsha256: ${sha256}\n\n`)
      process.stdout.write(`sessions:\n  apiKeys:\n    ${name}: { sha256: ${sha256}, scopes: [${scope.join(', ')}] }\n`)
    })
}

function scopes(text: string): string[] {
  const all = text.split(',').map(each => each.trim())
  if (all.every(each => KEY_SCOPES.includes(each as KeyScope))) return all
  throw new InvalidArgumentError(`A scope is one of ${KEY_SCOPES.join(', ')}.`)
}

function checkCommand(): Command {
  return configOption(new Command('check'))
    .description('Read a token from stdin, or as an argument, and say what it is and what is wrong with it.')
    .argument('[token]', 'the token; better on stdin, for a shell keeps its arguments', '-')
    .addHelpText(
      'after',
      `
Examples:
  $ hubline token --subscribe news | hubline token check
  $ hubline token check --config hubline.yaml < token.txt

It judges as a hub with this configuration would, and ends with 1 where the token is refused.`,
    )
    .action(check)
}

/** Where it may listen is not the question here. */
function tokensConfig(file: string | undefined): Config['sessions'] {
  return loadConfig({ file, env: process.env, flags: { insecure: true } }).sessions
}

async function mint({ config: file, user, subscribe, publish, channel, ttl = UNITS.h!, id }: MintFlags): Promise<void> {
  const { jwt } = tokensConfig(file)
  const options = jwtOptions(jwt)
  if (options.secret === undefined) {
    throw new Failure(
      2,
      'there is no sessions.jwt.secret (HUBLINE_SESSIONS_JWT_SECRET): tokens for other keys are made by whoever has the private key',
    )
  }
  // Says what is missing in the configuration, before a token is made that no hub would take.
  jwtSessions(options)
  if (ttl > jwt.maxTokenMs)
    throw new Failure(
      2,
      `--ttl: a hub with this configuration takes no token of more than ${jwt.maxTokenMs / 1000} s (sessions.jwt.maxTokenMs)`,
    )
  if (channel !== undefined && (subscribe ?? publish))
    throw new Failure(
      2,
      '--channel: a subscription token is for that topic alone; leave --subscribe and --publish away',
    )
  const [algorithm, issuer, audience] = [jwt.algorithms[0]!, jwt.issuer[0]!, jwt.audience[0]!]
  const topics = subscribe || publish ? { subscribe, publish } : undefined
  const about = { secret: options.secret, algorithm, issuer, audience, user, ttlMs: ttl, tokenId: id, now: Date.now() }
  const kind = channel === undefined ? { topics } : { channel: parseTopicName(channel) }
  process.stdout.write(`${await mintToken({ ...about, ...kind })}\n`)
}

async function check(given: string, _flags: object, command: Command): Promise<void> {
  const { config: file } = command.optsWithGlobals<{ config?: string }>()
  const token = (given === '-' ? await text(process.stdin) : given).trim()
  const { jwt } = tokensConfig(file)
  const read = readToken(token)
  if (read === undefined) throw new Failure(1, 'refused: malformed: it is no JWT')
  const { header, claims } = read
  process.stdout.write(`header: ${JSON.stringify(header)}\nclaims: ${JSON.stringify(claims)}\n`)
  const sessions = jwtSessions(jwtOptions(jwt))
  try {
    if (typeof claims.channel === 'string') {
      const { expiresAt } = await sessions.grant!({ user: String(claims.sub) }, token, parseTopicName(claims.channel))
      process.stdout.write(`good: a subscription token for ${claims.channel}, until ${until(expiresAt)}\n`)
    } else {
      const { user, grants, expiresAt } = await sessions.authenticate({ protocol: 'check', token })
      const may = `subscribe to [${grants!.subscribe.join(', ')}], publish to [${grants!.publish.join(', ')}]`
      process.stdout.write(`good: ${user} may ${may} until ${until(expiresAt)}\n`)
    }
  } catch (error) {
    if (!(error instanceof HubError)) throw error
    throw new Failure(1, `refused: ${error.reason ?? error.code}: ${wrong(error, header, claims, jwt)}`)
  }
}

function until(expiresAt: number | undefined): string {
  return expiresAt === undefined ? 'the session ends' : new Date(expiresAt).toISOString()
}

/** More than a hub tells a peer: whoever runs this has the configuration. */
function wrong(
  { reason, message }: HubError,
  header: Record<string, unknown>,
  claims: Record<string, unknown>,
  jwt: Config['sessions']['jwt'],
): string {
  const other = (field: string, given: unknown, wanted: readonly string[]) =>
    `${field} is ${JSON.stringify(given) ?? 'not there'}; the configuration has ${wanted.join(', ')}`
  if (reason === 'audience') return other('aud', claims.aud, jwt.audience)
  if (reason === 'issuer') return other('iss', claims.iss, jwt.issuer)
  if (reason === 'algorithm') return other('alg', header.alg, jwt.algorithms)
  if (reason === 'expired' && typeof claims.exp === 'number')
    return `it ended at ${new Date(claims.exp * 1000).toISOString()}`
  return message
}
