import { afterAll, describe, expect, it } from 'vitest'
import manifest from '../../package.json' with { type: 'json' }
import { HubError } from '../../src/core/errors.ts'
import { createHub } from '../../src/hub.ts'
import { ApiGatewayClients, CallbackClients } from '../../src/transports/index.ts'

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
