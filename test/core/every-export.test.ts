import { afterAll, describe, expect, it } from 'vitest'
import manifest from '../../package.json' with { type: 'json' }
import { HubError } from '../../src/core/errors.ts'
import { createHub } from '../../src/hub.ts'
import * as hubline from '../../src/index.ts'
import * as sessions from '../../src/sessions/index.ts'
import { FakeConnection, ManualScheduler, MockConnectionManager } from '../../src/testing/index.ts'
import { HTTPConnectionManager } from '../../src/tower/index.ts'
import {
  ApiGatewayClients,
  CallbackClients,
  clientProtocol,
  httpStream,
  sse,
  webSocketTopic,
} from '../../src/transports/index.ts'

const { './package.json': _, ...entries } = manifest.exports

/** The source of a built file. */
const sourceOf = (built: string) => built.replace(/^\.\/dist\//, '../../src/').replace(/\.js$/, '.ts')

type Callable = ((...args: unknown[]) => unknown) & (new (...args: unknown[]) => unknown)

const isClass = (value: unknown): boolean => /^class\b/.test(Function.prototype.toString.call(value))

const hub = createHub()
afterAll(() => hub.close())
const nonsense = [{}, null, 5, 'x', undefined]
/** No argument, one wrong argument, and a wrong one behind a right one. */
const calls: unknown[][] = [[], ...nonsense.map(value => [value]), ...nonsense.map(value => [hub, value, value])]

/** What these calls throw that is no HubError. */
async function complaintsOf(value: Callable): Promise<string[]> {
  const found: string[] = []
  for (const args of calls) {
    try {
      const answer = await (isClass(value) ? new value(...args) : value(...args))
      const { close } = (answer ?? {}) as { close?: () => unknown }
      if (typeof close === 'function') await close.call(answer)
    } catch (error) {
      if (!(error instanceof HubError))
        found.push(`${args.map(each => (each === hub ? 'hub' : typeof each))}: ${error}`)
    }
  }
  return found
}

describe.each(Object.entries(entries))('every export of %s', async (_entry, { default: built }) => {
  const source: Record<string, unknown> = await import(sourceOf(built))
  const callables = Object.entries(source).filter(([, value]) => typeof value === 'function')
  it.each(callables)('%s throws nothing but HubErrors', async (_name, value) => {
    expect(await complaintsOf(value as Callable)).toEqual([])
  })
})

describe('every method of', () => {
  function connected() {
    const own = createHub({ scheduler: new ManualScheduler() })
    const connection = new FakeConnection()
    const client = own.registerClient('c', connection)
    connection.client = client
    own.subscribe('c', 'x')
    return { hub: own, client }
  }
  /** Without session managers, stores and policies: the hub calls those. */
  const makers: Record<string, () => object> = {
    'a hub': () => connected().hub,
    'its events': () => connected().hub.events,
    'its session watch': () => connected().hub.sessionWatch,
    'a client': () => connected().client,
    'topic rules': () => hubline.topicRules(),
    tickets: () => new sessions.Tickets(),
    revocations: () => new sessions.Revocations(),
    'API keys': () => new sessions.ApiKeys(),
    'callback clients': () => new CallbackClients(hub),
    'the client protocol': () => clientProtocol({ hub, parsePolicy: hubline.parsePolicy }),
    'event streams': () => sse('single', 'text'),
    'HTTP streams': () => httpStream,
    WebSockets: () => webSocketTopic,
    'a tower': () => new HTTPConnectionManager(),
    'a mock of a hub': () => new MockConnectionManager(),
  }
  const wrongArgs = [...nonsense, [], () => 1].flatMap(value => [
    [value, value, value],
    ['c', 'x', value],
    ['c', value],
  ])

  it.each(Object.entries(makers))('%s throws nothing but HubErrors', async (_, make) => {
    const found: string[] = []
    for (const name of methodsOf(make())) {
      for (const args of wrongArgs) {
        const object = make() as Record<string, (...args: unknown[]) => unknown>
        try {
          const answer = object[name]!(...args)
          // A call that waits for a manual clock does not end here.
          if (answer instanceof Promise) await Promise.race([answer, new Promise(setImmediate)])
        } catch (error) {
          if (!(error instanceof HubError)) found.push(`${name}: ${error}`)
        }
      }
    }
    expect(found).toEqual([])
  })
})

/** Its own and those of its classes. */
function methodsOf(object: object): Set<string> {
  const names = new Set<string>()
  for (let each = object; each !== Object.prototype && each !== null; each = Object.getPrototypeOf(each)) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(each))) {
      if (typeof value === 'function' && name !== 'constructor') names.add(name)
    }
  }
  return names
}

describe('clients that are URLs', () => {
  it.each([undefined, null, {}, 5, { registerClient() {} }])('are refused with %o for a hub', given => {
    for (const make of [
      () => new CallbackClients(given as never),
      () => new ApiGatewayClients(given as never, {} as never, { endpoints: [] }),
    ]) {
      expect(make).toThrow(
        expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringMatching(/: hub must be a hub, as/) }),
      )
    }
  })

  it('of API Gateway are refused without the SDK', () => {
    expect(() => new ApiGatewayClients(hub, {} as never, { endpoints: [] })).toThrow(/^apiGateway: sdk must be the SDK/)
  })
})
