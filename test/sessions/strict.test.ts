import { afterAll, describe, expect, it } from 'vitest'
import { HubError } from '../../src/core/errors.ts'
import { createHub } from '../../src/hub.ts'
import { ApiKeys } from '../../src/sessions/api-keys.ts'
import { callbackSessions } from '../../src/sessions/callback-sessions.ts'
import { sessionChain } from '../../src/sessions/chain.ts'
import { jwtSessions } from '../../src/sessions/jwt.ts'
import { Revocations } from '../../src/sessions/revocations.ts'
import { Tickets } from '../../src/sessions/tickets.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { HTTPConnectionManager } from '../../src/tower/http-connection-manager.ts'
import { ApiGatewayClients } from '../../src/transports/api-gateway.ts'
import { CallbackClients } from '../../src/transports/callback.ts'
import { clientProtocol } from '../../src/transports/client-protocol.ts'

/** What JavaScript may give where TypeScript would refuse. */
type Wrong = never

const hub = createHub()
const callbacks = new CallbackClients(hub)
afterAll(async () => {
  await hub.close()
  await callbacks.close()
})

const JWT = {
  secret: 'k3wq09uVfE2nG7sX1hT5bYzR8mLpJ4aD',
  algorithms: ['HS256'],
  issuer: 'a',
  audience: 'b',
} as const

function refusalOf(call: () => unknown): [string, string] {
  try {
    call()
  } catch (error) {
    expect(error).toBeInstanceOf(HubError)
    const { code, message } = error as HubError
    return [code, message]
  }
  throw new Error('it was accepted')
}

const KEY = { name: 'a', sha256: 'ab'.repeat(32), scopes: ['admin' as const] }

describe('settings of what a hub is used with', () => {
  const mistakes: [string, () => unknown, RegExp][] = [
    [
      'jwt',
      () => jwtSessions({ ...JWT, maxTokenM: 5 } as Wrong),
      /^jwt: unknown option "maxTokenM": did you mean "maxTokenMs"\?$/,
    ],
    [
      'jwt: life',
      () => jwtSessions({ ...JWT, maxTokenMs: 0 }),
      /^jwt: maxTokenMs must be a number of at least 1000, got 0$/,
    ],
    ['jwt: nothing', () => jwtSessions(undefined as Wrong), /^jwt: options must be an object, got undefined$/],
    [
      'jwt: grants',
      () => jwtSessions({ ...JWT, defaultGrants: { subscibe: ['**'] } } as Wrong),
      /defaultGrants: unknown option "subscibe": did you mean "subscribe"\?/,
    ],
    [
      'jwt: revoked',
      () => jwtSessions({ ...JWT, revoked: true } as Wrong),
      /^jwt: revoked must be a function, got true$/,
    ],
    [
      'jwt: key set',
      () => jwtSessions({ ...JWT, jwks: { coolDown: 1 } } as Wrong),
      /jwks: unknown option "coolDown": did you mean "coolDownMs"\?/,
    ],
    ['keys', () => new ApiKeys('key' as Wrong), /^apiKeys must be an array, got "key"$/],
    [
      'keys: entry',
      () => new ApiKeys([{ name: 'a', sha: 'x', scopes: ['admin'] }] as Wrong),
      /^apiKeys.0: unknown option "sha": did you mean "sha256"\?$/,
    ],
    [
      'keys: no name',
      () => new ApiKeys([{ ...KEY, name: undefined }] as Wrong),
      /^apiKeys.0.name must be a name, got undefined$/,
    ],
    ['keys: an empty name', () => new ApiKeys([{ ...KEY, name: '' }]), /^apiKeys.0.name must be a name, got ""$/],
    ['keys: a name of spaces', () => new ApiKeys([{ ...KEY, name: ' ' }]), /^apiKeys.0.name must be a name, got " "$/],
    [
      'keys: a name twice',
      () => new ApiKeys([KEY, { ...KEY, sha256: 'cd'.repeat(32) }]),
      /^apiKeys.1.name: another key has the name "a"$/,
    ],
    [
      'keys: a key twice',
      () => new ApiKeys([KEY, { ...KEY, name: 'b', sha256: 'AB'.repeat(32) }]),
      /^apiKeys.b.sha256: another name has the same key$/,
    ],
    [
      'keys: an unknown scope',
      () => new ApiKeys([{ ...KEY, scopes: ['read', 'amin'] }] as Wrong),
      /^apiKeys.0.scopes.1 must be one of "publish", "metrics", "read", "admin", got "amin"; did you mean "admin"\?$/,
    ],
    [
      'jwt: an unknown algorithm',
      () => jwtSessions({ ...JWT, algorithms: ['HS265'] } as Wrong),
      /^jwt: algorithms.0 must be one of "HS256", .*, got "HS265"; did you mean "HS256"\?$/,
    ],
    ['keys: scopes', () => new ApiKeys([{ name: 'a', sha256: 'ab'.repeat(32) }] as Wrong), /scopes: one or more of/],
    [
      'callback',
      () => callbackSessions({ urls: 'http://127.0.0.1/' } as Wrong),
      /^callback: unknown option "urls": did you mean "url"\?$/,
    ],
    [
      'callback: time',
      () => callbackSessions({ url: 'http://127.0.0.1/', timeoutMs: -1 }),
      /^callback: timeoutMs must be a number over 0/,
    ],
    [
      'callback: sockets',
      () => callbackSessions({ url: 'http://127.0.0.1/', maxConcurrent: 0 }),
      /maxConcurrent must be an integer of at least 1/,
    ],
    [
      'chain',
      () => sessionChain({ token: {} } as Wrong),
      /^sessionChain: unknown option "token": did you mean "tokens"\?$/,
    ],
    [
      'chain: revocations',
      () => sessionChain({ revocations: {} } as Wrong),
      /revocations must be revocations, as new Revocations\(\)/,
    ],
    [
      'chain: anonymous',
      () => sessionChain({ anonymous: true } as Wrong),
      /anonymous: options must be an object, got true/,
    ],
    ['tickets', () => new Tickets({ ttl: 5 } as Wrong), /^tickets: unknown option "ttl": did you mean "ttlMs"\?$/],
    [
      'tickets: life',
      () => new Tickets({ ttlMs: 300_001 }),
      /^tickets: ttlMs must be a number from 1 to 300000, got 300001$/,
    ],
    ['revocations', () => new Revocations({ maxTokensMs: 5 } as Wrong), /did you mean "maxTokenMs"\?/],
    [
      'callbacks',
      () => new CallbackClients(hub, { timeout: 5 } as Wrong),
      /^callbacks: unknown option "timeout": did you mean "timeoutMs"\?$/,
    ],
    [
      'callbacks: retry',
      () => new CallbackClients(hub, { retry: { retry: 5 } } as Wrong),
      /callbacks: retry: unknown option "retry": did you mean "retries"\?/,
    ],
    [
      'callbacks: breaker',
      () => new CallbackClients(hub, { breaker: { failures: 0 } }),
      /breaker.failures must be an integer of at least 1, got 0/,
    ],
    [
      'callbacks: secret',
      () => new CallbackClients(hub, { secret: 'x' }),
      /^callbacks: secret: it must be whsec_ and then the base64 of 24 to 64 random bytes/,
    ],
    [
      'callbacks: allow',
      () => new CallbackClients(hub, { allow: ['nonsense'] }),
      /^callbacks: allow: "nonsense" is neither an address nor a CIDR, such as/,
    ],
    [
      'API Gateway: allow',
      () => new ApiGatewayClients(hub, {} as Wrong, { endpoints: [], allow: ['nonsense'] }),
      /^apiGateway: allow: "nonsense" is neither an address nor a CIDR/,
    ],
    [
      'API Gateway: no endpoints',
      () => new ApiGatewayClients(hub, {} as Wrong, {} as Wrong),
      /^apiGateway: endpoints must be an array of strings, got undefined$/,
    ],
    [
      'client protocol',
      () => clientProtocol({ hub } as Wrong),
      /^clientProtocol: parsePolicy must be a function, got undefined$/,
    ],
    [
      'client protocol: misspelt',
      () => clientProtocol({ hub, parsePolicy: () => {}, session: {} } as Wrong),
      /did you mean "sessions"\?/,
    ],
    [
      'tower',
      () => new HTTPConnectionManager({ timeout: 5 } as Wrong),
      /^tower: unknown option "timeout": did you mean "timeoutMs"\?$/,
    ],
    ['store', () => memoryStore({ clock: 5 } as Wrong), /^memoryStore: unknown option "clock": known names: now$/],
  ]
  it.each(mistakes)('%s', (_, call, why) => {
    expect(refusalOf(call)).toEqual(['CONFIG_INVALID', expect.stringMatching(why)])
  })
})

it.each([undefined, null, 5, {}, ['x']])("the key %o is nobody's", key => {
  expect(new ApiKeys([KEY]).verify(key as Wrong)).toBeUndefined()
})

describe('calls of it', () => {
  const tickets = new Tickets()
  const url = 'https://example.org/hook'
  const mistakes: [string, () => unknown, string, RegExp][] = [
    [
      'a ticket',
      () => tickets.issue({}, { topic: ['a'] } as Wrong),
      'REQUEST_INVALID',
      /^issue: unknown option "topic": did you mean "topics"\?$/,
    ],
    [
      'a ticket for all by mistake',
      () => tickets.issue({}, { topics: undefined } as Wrong),
      'REQUEST_INVALID',
      /^topics must not be undefined/,
    ],
    [
      'a receiver',
      () => callbacks.register({ url, topcs: [] } as Wrong),
      'REQUEST_INVALID',
      /^register: unknown option "topcs": did you mean "topics"\?$/,
    ],
    [
      'its topics',
      () => callbacks.register({ url, topics: ['a'] } as Wrong),
      'REQUEST_INVALID',
      /options must be an object, got "a"/,
    ],
    [
      'its policy',
      () => callbacks.register({ url, topics: [{ name: 'a', policy: 'latest' }] } as Wrong),
      'POLICY_INVALID',
      /got the name "latest"/,
    ],
  ]
  it.each(mistakes)('%s', (_, call, code, why) => {
    expect(refusalOf(call)).toEqual([code, expect.stringMatching(why)])
    expect([tickets.size, hub.selectClients({ all: true })]).toEqual([0, []])
  })
})
