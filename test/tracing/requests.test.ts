import { channel } from 'node:diagnostics_channel'
import type { ServerResponse } from 'node:http'
import { context, propagation } from '@opentelemetry/api'
import { AlwaysOffSampler, type Sampler } from '@opentelemetry/sdk-trace-base'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createHub } from '../../src/hub.ts'
import { requestAttributes } from '../../src/tracing/request-span.ts'
import { ApiGatewayClients, type GatewaySdk } from '../../src/transports/api-gateway.ts'
import { CallbackClients, type CallbackOptions } from '../../src/transports/callback.ts'
import { httpReceiver, type Received, type Receiver, rawReceiver } from '../transports/receiver.ts'
import { RecordedSpans, registerContext } from './recorded-spans.ts'

let unregister: () => void
beforeAll(() => {
  unregister = registerContext()
})
afterAll(() => unregister())

const open: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

interface SetUp extends CallbackOptions {
  readonly sampler?: Sampler
  /** Of the URL, after the origin. */
  readonly path?: string
}

/** A hub with one client that is a URL, `shop`, on the topic `orders`. Waits are as short as they can be. */
async function setUp(receiver: Receiver, { sampler, path = '/hook', ...options }: SetUp = {}) {
  const spans = new RecordedSpans(sampler)
  const hub = createHub({ tracing: { tracerProvider: spans.provider } })
  const callbacks = new CallbackClients(hub, { allow: ['127.0.0.1'], random: () => 0, ...options })
  open.push(
    () => receiver[Symbol.asyncDispose](),
    () => callbacks.close(),
    () => hub.close(),
  )
  const url = new URL(path, receiver.url).href
  callbacks.register({ id: 'shop', url, topics: [{ name: 'orders' }] })
  return { spans, hub, callbacks, url }
}

/** Answers with these, one after the other, and with the last of them from then on. */
function answering(...statuses: number[]) {
  let next = 0
  return httpReceiver(response => {
    response.writeHead(statuses[Math.min(next++, statuses.length - 1)]!).end()
  })
}

const traceOf = ({ headers }: Received) => headers.traceparent?.split('-') ?? []

describe('a request for a send', () => {
  it('is a span of a client inside of the send, and its receiver is told of it', async () => {
    const receiver = await answering(204)
    const { spans, hub } = await setUp(receiver)
    await hub.send('shop', 'hello', { id: 'm1', correlationId: 'order-7' })
    const [post, send] = spans.all
    expect(send).toMatchObject({ name: 'send callback', kind: 'PRODUCER' })
    expect(post).toMatchObject({ name: 'POST', kind: 'CLIENT', parent: send?.id, trace: send?.trace, error: undefined })
    expect(post?.attributes).toEqual({
      'http.request.method': 'POST',
      'server.address': '127.0.0.1',
      'server.port': receiver.port,
      'url.scheme': 'http',
      'url.full': `http://127.0.0.1:${receiver.port}/REDACTED`,
      'http.response.status_code': 204,
      'messaging.message.id': 'm1',
      'messaging.message.conversation_id': 'order-7',
    })
    expect(receiver.requests.map(traceOf)).toEqual([['00', post?.trace, post?.id, '01']])
  })

  it('says nothing of a path or a query, which may be the secret of a webhook', async () => {
    const { spans, hub } = await setUp(await answering(200), { path: '/s3cret?key=s3cret' })
    await hub.send('shop', 'hello')
    expect(JSON.stringify(spans.all)).not.toContain('s3cret')
  })

  it('shows a URL that has neither as it is', async () => {
    const { spans, hub, url } = await setUp(await answering(200), { path: '/' })
    await hub.send('shop', 'hello')
    expect(spans.named('POST')[0]?.attributes['url.full']).toBe(url)
  })

  it.each([
    ['https://hooks.example.org/a/b', 'hooks.example.org', 443, 'https'],
    ['http://[2001:db8::1]/', '2001:db8::1', 80, 'http'],
    ['https://10.0.0.1:8443/', '10.0.0.1', 8443, 'https'],
  ])('to %s names its server', (url, address, port, scheme) => {
    expect(requestAttributes(new URL(url))).toMatchObject({
      'server.address': address,
      'server.port': port,
      'url.scheme': scheme,
    })
  })

  it('gives the receiver the trace and not the baggage of the application', async () => {
    const receiver = await answering(200)
    const { hub } = await setUp(receiver)
    const baggage = propagation.createBaggage({ user: { value: 'ada' } })
    await context.with(propagation.setBaggage(context.active(), baggage), () => hub.send('shop', 'hello'))
    expect(receiver.requests[0]?.headers).not.toHaveProperty('baggage')
  })

  it('tells the receiver that a trace is not recorded', async () => {
    const receiver = await answering(200)
    const { spans, hub } = await setUp(receiver, { sampler: new AlwaysOffSampler() })
    await hub.send('shop', 'hello')
    expect(spans.all).toEqual([])
    expect(traceOf(receiver.requests[0]!)).toEqual(['00', expect.any(String), expect.any(String), '00'])
  })

  it('leaves the headers of the hub alone', async () => {
    const receiver = await answering(200)
    const { hub } = await setUp(receiver)
    const traceContext = propagation.fields()
    propagation.disable()
    propagation.setGlobalPropagator({
      inject: (_, carrier: Record<string, string>) => {
        carrier['idempotency-key'] = 'mine'
        carrier.b3 = '1'
      },
      extract: active => active,
      fields: () => ['b3'],
    })
    await hub.send('shop', 'hello', { id: 'm1' })
    unregister()
    unregister = registerContext()
    expect(receiver.requests[0]?.headers).toMatchObject({ 'idempotency-key': 'm1', b3: '1' })
    expect(propagation.fields()).toEqual(traceContext)
  })

  it('is the only span of the request where undici is instrumented as well', async () => {
    const receiver = await answering(200)
    const { spans, hub } = await setUp(receiver)
    const instrumentation = (message: unknown): void => {
      const { request } = message as { request: { addHeader(name: string, value: string): void } }
      const active = context.active()
      spans.provider.getTracer('undici').startSpan('POST', {}, active).end()
      const carrier: Record<string, string> = {}
      propagation.inject(active, carrier)
      for (const [name, value] of Object.entries(carrier)) request.addHeader(name, value)
    }
    channel('undici:request:create').subscribe(instrumentation)
    await spans.inTrace(() => hub.send('shop', 'hello'))
    channel('undici:request:create').unsubscribe(instrumentation)
    expect(spans.named('POST')).toHaveLength(1)
    expect(traceOf(receiver.requests[0]!)[2]).toBe(spans.named('POST')[0]?.id)
  })
})

describe('requests that are made again', () => {
  it('are spans of their own, and events of the send', async () => {
    const { spans, hub } = await setUp(await answering(503, 429, 200))
    await hub.send('shop', 'hello')
    const [send] = spans.named('send callback')
    const posts = spans.named('POST')
    expect(
      posts.map(({ parent, attributes, error }) => [
        parent === send?.id,
        attributes['http.response.status_code'],
        attributes['http.request.resend_count'],
        attributes['error.type'],
        error,
      ]),
    ).toEqual([
      [true, 503, undefined, '503', ''],
      [true, 429, 1, '429', ''],
      [true, 200, 2, undefined, undefined],
    ])
    const retry = (attempts: number, reason: string) => ({
      name: 'retry',
      attributes: {
        'messaging.hubline.client.id': 'shop',
        'messaging.hubline.retry.attempts': attempts,
        'messaging.hubline.retry.reason': reason,
        'messaging.hubline.retry.wait_ms': 0,
      },
    })
    expect(send).toMatchObject({ error: undefined, events: [retry(1, 'status 503'), retry(2, 'status 429')] })
  })

  it('of a broadcast are told by the broadcast', async () => {
    const { spans, hub } = await setUp(await answering(500, 200))
    await hub.broadcast(['shop'], 'hello')
    const [broadcast] = spans.named('broadcast')
    expect(spans.named('POST').map(({ parent }) => parent)).toEqual([broadcast?.id, broadcast?.id])
    expect(broadcast?.events).toMatchObject([{ name: 'retry' }])
  })
})

describe('a request that fails', () => {
  /** The spans of one send that fails. */
  async function failed(
    receiver: Receiver,
    { meanwhile, ...options }: SetUp & { meanwhile?: () => Promise<void> } = {},
  ) {
    const { spans, hub } = await setUp(receiver, { retry: { retries: 0 }, ...options })
    await meanwhile?.()
    const code = await hub.send('shop', 'hello').then(
      () => undefined,
      error => error.code,
    )
    const [post, send] = spans.all
    expect(send?.attributes['error.type']).toBe(code)
    return { type: post?.attributes['error.type'], error: post?.error, code, status: post?.attributes }
  }

  it.each([
    [302, 'SEND_FAILED'],
    [404, 'SEND_FAILED'],
    [410, 'CONNECTION_STALE'],
    [500, 'SEND_FAILED'],
  ])('with %i has the status for its error', async (status, code) => {
    const failure = await failed(await answering(status))
    expect(failure).toMatchObject({ type: `${status}`, error: '', code })
  })

  it('because nobody listens has the code of Node', async () => {
    const receiver = await answering(200)
    const meanwhile = () => receiver[Symbol.asyncDispose]()
    expect(await failed(receiver, { meanwhile })).toMatchObject({ type: 'ECONNREFUSED', error: 'ECONNREFUSED' })
  })

  it('because the answer breaks off has the status beside the error', async () => {
    const receiver = await rawReceiver(socket => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf'))
    const { type, status } = await failed(receiver)
    expect([type, status?.['http.response.status_code']]).toEqual([expect.stringMatching(/^UND_ERR_/), 200])
  })

  it('because nothing came in time is a timeout', async () => {
    const receiver = await httpReceiver((_: ServerResponse) => {})
    expect(await failed(receiver, { timeoutMs: 50 })).toMatchObject({ type: 'timeout', code: 'SEND_TIMEOUT' })
  })
})

describe("a request for a topic's message", () => {
  it('is part of the trace in which the message was published', async () => {
    const receiver = await answering(500, 200)
    const { spans, hub } = await setUp(receiver)
    const { id } = await spans.inTrace(() => void hub.publishBytes('orders', Buffer.from('tea')))
    await expect.poll(() => spans.named('POST')).toHaveLength(2)
    const [publish] = spans.named('publish')
    expect(publish?.parent).toBe(id)
    const messageId = receiver.requests[0]?.headers['webhook-id']
    expect(publish?.attributes['messaging.message.id']).toBe(messageId)
    for (const post of spans.named('POST')) {
      expect(post).toMatchObject({ parent: publish?.id, attributes: { 'messaging.message.id': messageId } })
    }
  })

  it('begins a trace where the message was published outside of one', async () => {
    const { spans, hub } = await setUp(await answering(200))
    void hub.publishBytes('orders', Buffer.from('tea'), { correlationId: 'order-7' })
    await expect.poll(() => spans.all).toHaveLength(1)
    expect(spans.all).toMatchObject([
      { name: 'POST', parent: undefined, attributes: { 'messaging.message.conversation_id': 'order-7' } },
    ])
  })
})

describe('a request to an API Gateway', () => {
  it('is a span as well', async () => {
    const statuses = [200, 503, 410]
    class Api {
      async send(): Promise<void> {
        const httpStatusCode = statuses.shift()
        if (httpStatusCode !== 200) throw Object.assign(new Error('no'), { $metadata: { httpStatusCode } })
      }
      destroy(): void {}
    }
    class Command {}
    const sdk = {
      ApiGatewayManagementApiClient: Api,
      PostToConnectionCommand: Command,
      GetConnectionCommand: Command,
      DeleteConnectionCommand: Command,
    } as unknown as GatewaySdk
    const spans = new RecordedSpans()
    const hub = createHub({ tracing: { tracerProvider: spans.provider } })
    open.push(() => hub.close())
    const endpoint = 'https://abc.execute-api.eu-west-1.amazonaws.com/prod'
    const gateway = new ApiGatewayClients(hub, sdk, { endpoints: [endpoint], random: () => 0 })
    gateway.register({ id: 'shop', endpoint, connectionId: 'x' })
    await hub.send('shop', 'hello')
    await expect(hub.send('shop', 'hello')).rejects.toMatchObject({ code: 'CONNECTION_STALE' })
    expect(spans.all.map(({ name, attributes }) => [name, attributes['http.response.status_code']])).toEqual([
      ['POST', 200],
      ['send api-gateway', undefined],
      ['POST', 503],
      ['POST', 410],
      ['send api-gateway', undefined],
    ])
    expect(spans.all[0]?.attributes).toMatchObject({
      'server.address': 'abc.execute-api.eu-west-1.amazonaws.com',
      'server.port': 443,
      'url.scheme': 'https',
      'url.full': 'https://abc.execute-api.eu-west-1.amazonaws.com/REDACTED',
    })
  })
})
