import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import * as realApi from '@opentelemetry/api'
import { afterEach, describe, expect, expectTypeOf, it, vi } from 'vitest'
import { HubError } from '../../src/core/errors.ts'
import { createHub } from '../../src/hub.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { loadOpenTelemetry, type OpenTelemetryApi, type TracerProvider } from '../../src/tracing/open-telemetry.ts'
import { startTracing, Tracing, type TracingOptions } from '../../src/tracing/tracing.ts'
import type { Attempt, Envelope } from '../../src/transports/envelope.ts'
import { RecordedSpans } from './recorded-spans.ts'

const ROOT = join(import.meta.dirname, '../..')

/** What `require` throws where the package is not there. */
function missing(name: string): never {
  throw Object.assign(new Error(`Cannot find module '${name}'`), { code: 'MODULE_NOT_FOUND' })
}

afterEach(() => realApi.trace.disable())

describe('tracing', () => {
  it('is on where a provider is registered when the hub is made, and off where none is', async () => {
    expect(createHub().tracing).toBeUndefined()
    const spans = new RecordedSpans()
    realApi.trace.setGlobalTracerProvider(spans.provider)
    expect(createHub({ tracing: false }).tracing).toBeUndefined()
    const hub = createHub()
    await expect(hub.send('nobody', 'hello')).rejects.toThrow(HubError)
    expect(spans.all).toMatchObject([{ name: 'send' }])
    const [scope] = spans.scopes
    expect(scope).toMatchObject({ name: 'hubline', version: expect.stringMatching(/^\d+\.\d+\.\d+/) })
  })

  it('that was asked for waits for a provider that is registered later', async () => {
    const hub = createHub({ tracing: true })
    await expect(hub.send('nobody', 'hello')).rejects.toThrow(HubError)
    const spans = new RecordedSpans()
    realApi.trace.setGlobalTracerProvider(spans.provider)
    await expect(hub.send('nobody', 'hello')).rejects.toThrow(HubError)
    expect(spans.all).toHaveLength(1)
  })

  it('does not look for the package where nobody registered a provider', () => {
    const load = vi.fn(() => loadOpenTelemetry(missing))
    expect(startTracing(undefined, load)).toBeUndefined()
    expect(load).not.toHaveBeenCalled()
  })

  it('is off where the package is missing, and says so to whoever asked for it', () => {
    const load = () => loadOpenTelemetry(missing)
    realApi.trace.setGlobalTracerProvider(new RecordedSpans().provider)
    expect(startTracing(undefined, load)).toBeUndefined()
    expect(() => startTracing(true, load)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
    expect(() => startTracing({}, load)).toThrow('npm install @opentelemetry/api')
  })

  it('does not hide that the package is broken', () => {
    const broken = (): never => {
      throw new SyntaxError('no JavaScript')
    }
    expect(() => loadOpenTelemetry(broken)).toThrow('no JavaScript')
  })

  it('uses what the package has', () => {
    expectTypeOf(realApi).toExtend<OpenTelemetryApi>()
    expectTypeOf<RecordedSpans['provider']>().toExtend<TracerProvider>()
    expect(loadOpenTelemetry()?.trace).toBe(realApi.trace)
  })

  it('costs a program without the package nothing: it runs, and nothing is loaded', () => {
    const program = `
      import Module from 'node:module'
      const load = Module._load
      const asked = []
      Module._load = function (name, ...rest) {
        if (!name.startsWith('@opentelemetry')) return load.call(this, name, ...rest)
        asked.push(name)
        throw Object.assign(new Error(name), { code: 'MODULE_NOT_FOUND' })
      }
      const { createHub } = await import('hubline')
      const { FakeConnection } = await import('hubline/testing')
      const hub = createHub()
      const connection = new FakeConnection()
      connection.client = hub.registerClient('ada', connection)
      hub.subscribe('ada', 'news')
      hub.publishBytes('news', Buffer.from('tea'))
      await hub.send('ada', 'hello')
      await hub.close()
      const soFar = asked.length
      const codes = []
      try { createHub({ tracing: true }) } catch ({ code }) { codes.push(code) }
      console.log(JSON.stringify([connection.received.length, soFar, codes, asked]))`
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', program], { cwd: ROOT })
    expect(JSON.parse(output.toString())).toEqual([2, 0, ['CONFIG_INVALID'], ['@opentelemetry/api']])
  })
})

describe('what is remembered', () => {
  const url = new URL('http://127.0.0.1/')
  const signal = new AbortController().signal
  const taken: Attempt = async () => ({ kind: 'ok' })
  const envelope = (kind: 'message' | 'send', id: string): Envelope => {
    return { kind, id, contentType: 'text/plain', payload: Buffer.from('x') }
  }

  function setUp() {
    const spans = new RecordedSpans()
    const tracing = new Tracing(realApi, { publish: 'always', tracerProvider: spans.provider })
    const parentOf = async (kind: 'message' | 'send', id: string) => {
      await tracing.traced('shop', url, taken)(envelope(kind, id), signal)
      return spans.named('POST').at(-1)?.parent
    }
    const publish = (seq: number) => {
      const result = { position: { epoch: 'e', seq }, matched: 0, behind: 0, unsupported: 0 }
      void tracing.publish('news', Buffer.from('x'), {}, () => result)
    }
    return { spans, tracing, parentOf, publish }
  }

  it('of publications is bounded: the oldest are forgotten', async () => {
    const { spans, parentOf, publish } = setUp()
    for (let seq = 1; seq <= 4097; seq++) publish(seq)
    expect(await parentOf('message', 'e-1')).toBeUndefined()
    expect(await parentOf('message', 'e-2')).toBe(spans.named('publish')[1]?.id)
    expect(await parentOf('message', 'e-4097')).toBe(spans.named('publish')[4096]?.id)
  })

  it('of a send ends with it, and another send of the same message to the same client keeps its own', async () => {
    const { spans, tracing, parentOf } = setUp()
    const message = { id: 'm1', payload: Buffer.from('x'), contentType: 'text/plain', correlationId: undefined }
    const first = tracing.startSend('shop', 'callback')
    first.carries(message)
    const again = tracing.startSend('shop', 'callback')
    again.carries(message)
    first.end()
    const parent = await parentOf('send', 'm1')
    again.end()
    expect(parent).toBe(spans.named('send callback')[1]?.id)
    expect(await parentOf('send', 'm1')).toBeUndefined()
  })

  it('of a send to one client is not that of a send to another', async () => {
    const { tracing, parentOf } = setUp()
    const message = { id: 'm1', payload: Buffer.from('x'), contentType: 'text/plain', correlationId: undefined }
    const other = tracing.startSend('kitchen', 'callback')
    other.carries(message)
    expect(await parentOf('send', 'm1')).toBeUndefined()
    other.end()
  })
})

describe('tracing that throws', () => {
  const fails = (): never => {
    throw new Error('broken')
  }
  const span = {
    spanContext: () => ({ traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), traceFlags: 1 }),
    setAttribute: () => {},
    setAttributes: () => {},
    addEvent: () => {},
    setStatus: () => {},
    end: () => {},
  }
  const rejects = (): never => Promise.reject(new Error('broken')) as never
  const tracerOf = (broken: object) => ({ getTracer: () => ({ startSpan: () => ({ ...span, ...broken }) }) })

  it.each<[string, TracingOptions]>([
    ['topicTemplate', { topicTemplate: fails }],
    ['startSpan', { tracerProvider: { getTracer: () => ({ startSpan: fails }) } }],
    ['an async startSpan', { tracerProvider: { getTracer: () => ({ startSpan: rejects }) } }],
    ...Object.keys(span).map((method): [string, TracingOptions] => [
      method,
      { tracerProvider: tracerOf({ [method]: fails }) },
    ]),
  ])('%s: messages go out all the same, and a fault names it', async (name, options) => {
    const hub = createHub({ tracing: { publish: 'always', ...options } })
    const faults: string[] = []
    hub.events.on('fault', ({ where, error }) => faults.push(`${where}: ${(error as Error).message}`))
    const connection = new FakeConnection()
    connection.client = hub.registerClient('c', connection)
    hub.subscribe('c', 't')
    expect(await hub.publish('t', 'x')).toMatchObject({ matched: 1 })
    await hub.send('c', 'y')
    await expect(hub.send('stranger', 'z')).rejects.toThrow(expect.objectContaining({ code: 'CONNECTION_NOT_FOUND' }))
    // Retries alone have events.
    const fault =
      name === 'an async startSpan' ? 'tracing: startSpan must answer at once, got a promise' : 'tracing: broken'
    if (name !== 'addEvent') expect(new Set(faults)).toEqual(new Set([fault]))
    expect(connection.received.map(({ kind }) => kind)).toEqual(['message', 'direct'])
  })
})
