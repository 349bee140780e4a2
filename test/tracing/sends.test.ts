import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Broker, RouteResult, Sink } from '../../src/core/broker.ts'
import { HubError } from '../../src/core/errors.ts'
import { createHub } from '../../src/hub.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import type { TracingOptions } from '../../src/tracing/tracing.ts'
import { RecordedSpans, registerContext } from './recorded-spans.ts'

let unregister: () => void
beforeAll(() => {
  unregister = registerContext()
})
afterAll(() => unregister())

function setUp(options: TracingOptions = {}, broker?: Broker) {
  const spans = new RecordedSpans()
  const scheduler = new ManualScheduler()
  const tracing = { tracerProvider: spans.provider, ...options }
  const hub = createHub({ scheduler, tracing, ...(broker && { broker }) })
  const connection = new FakeConnection()
  connection.client = hub.registerClient('ada', connection)
  const settled = <T>(work: Promise<T>): Promise<T> => {
    scheduler.settle()
    return work
  }
  return { spans, hub, settled, scheduler }
}

const bytes = Buffer.from('hello')

describe('a send', () => {
  it('is a span of a producer, named after the protocol and never after the client', async () => {
    const { spans, hub, settled } = setUp()
    await settled(hub.send('ada', 'hello', { id: 'm1', correlationId: 'order-7' }))
    expect(spans.all).toMatchObject([{ name: 'send fake', kind: 'PRODUCER', parent: undefined, error: undefined }])
    expect(spans.all[0]?.attributes).toEqual({
      'messaging.system': 'hubline',
      'messaging.operation.type': 'send',
      'messaging.operation.name': 'send',
      'messaging.destination.name': 'ada',
      'messaging.destination.temporary': true,
      'messaging.hubline.client.protocol': 'fake',
      'messaging.message.id': 'm1',
      'messaging.message.body.size': 5,
      'messaging.message.conversation_id': 'order-7',
    })
  })

  it('is part of the trace that it is called in', async () => {
    const { spans, hub, settled } = setUp()
    const { id } = await spans.inTrace(() => settled(hub.send('ada', 'hello')))
    expect(spans.named('send fake')).toMatchObject([{ parent: id }])
  })

  it('ends when the message is taken, and not before', async () => {
    const { spans, hub, settled } = setUp()
    const sent = hub.send('ada', 'hello')
    expect(spans.all).toEqual([])
    await settled(sent)
    expect(spans.all).toHaveLength(1)
  })

  it('says with which code it failed', async () => {
    const { spans, hub, scheduler } = setUp()
    const stalled = new FakeConnection({ window: 0 })
    stalled.client = hub.registerClient('stalled', stalled)
    await expect(hub.send('nobody', 'hello')).rejects.toThrow(HubError)
    await expect(hub.send('ada', 10n)).rejects.toThrow(HubError)
    const late = hub.send('stalled', 'hello', { timeoutMs: 100 })
    scheduler.advance(100)
    await expect(late).rejects.toThrow(HubError)
    expect(spans.all.map(({ name, attributes, error }) => [name, attributes['error.type'], error])).toEqual([
      ['send', 'CONNECTION_NOT_FOUND', expect.stringContaining('"nobody"')],
      ['send fake', 'INVALID_MESSAGE', expect.stringContaining('JSON')],
      ['send fake', 'SEND_TIMEOUT', expect.stringContaining('100 ms')],
    ])
  })
})

describe('a broadcast', () => {
  it('is one span, however many it goes to', async () => {
    const { spans, hub, settled } = setUp()
    await settled(hub.broadcast({ protocol: 'fake' }, 'hello', { id: 'm1' }))
    expect(spans.all).toMatchObject([{ name: 'broadcast', kind: 'PRODUCER', error: undefined }])
    expect(spans.all[0]?.attributes).toEqual({
      'messaging.system': 'hubline',
      'messaging.operation.type': 'send',
      'messaging.operation.name': 'broadcast',
      'messaging.hubline.client.count': 1,
      'messaging.message.id': 'm1',
      'messaging.message.body.size': 5,
    })
  })

  it('has failed when it failed for one', async () => {
    const { spans, hub, settled } = setUp()
    await settled(hub.broadcast(['ada', 'nobody'], 'hello'))
    await expect(hub.broadcast(['ada'], 'hello', { concurrency: 0 })).rejects.toThrow(HubError)
    expect(spans.all.map(({ attributes, error }) => [attributes['error.type'], error])).toEqual([
      ['BROADCAST_PARTIAL_FAILURE', expect.stringContaining('1 of 2')],
      ['REQUEST_INVALID', expect.stringContaining('concurrency')],
    ])
  })
})

describe('a publication', () => {
  it('is a span where it is part of a trace, and begins none', async () => {
    const { spans, hub } = setUp()
    void hub.publishBytes('/orders/7', bytes)
    expect(spans.all).toEqual([])
    const { id } = await spans.inTrace(() => {
      void hub.publishBytes('/orders/7', bytes, { correlationId: 'order-7' })
    })
    const epoch = hub.getTopic('orders/7')!.position.epoch
    expect(spans.named('publish')).toMatchObject([{ kind: 'PRODUCER', parent: id, error: undefined }])
    expect(spans.named('publish')[0]?.attributes).toEqual({
      'messaging.system': 'hubline',
      'messaging.operation.type': 'send',
      'messaging.operation.name': 'publish',
      'messaging.destination.name': 'orders/7',
      'messaging.message.id': `${epoch}-2`,
      'messaging.message.body.size': 5,
      'messaging.message.conversation_id': 'order-7',
    })
  })

  it('is one always, or never, if the options say so', async () => {
    const always = setUp({ publish: 'always' })
    void always.hub.publishBytes('news', bytes)
    expect(always.spans.named('publish')).toHaveLength(1)
    const never = setUp({ publish: 'never' })
    await never.spans.inTrace(() => never.hub.publishBytes('news', bytes) as RouteResult)
    expect(never.spans.named('publish')).toEqual([])
  })

  it('has in its name what the topic is called with others like it', () => {
    const template = (topic: string) => (topic.startsWith('orders/') ? 'orders/{order}' : undefined)
    const { spans, hub } = setUp({ publish: 'always', topicTemplate: template })
    void hub.publishBytes('orders/7', bytes)
    void hub.publishBytes('news', bytes)
    expect(spans.all.map(({ name, attributes }) => [name, attributes['messaging.destination.template']])).toEqual([
      ['publish orders/{order}', 'orders/{order}'],
      ['publish', undefined],
    ])
  })

  it('says why it was refused, without what a stranger took for a topic', () => {
    const { spans, hub } = setUp({ publish: 'always', topicTemplate: topic => topic })
    expect(() => hub.publishBytes('a//b', bytes)).toThrow(HubError)
    expect(spans.all).toMatchObject([{ name: 'publish', attributes: { 'error.type': 'TOPIC_INVALID' } }])
    expect(spans.all[0]?.attributes).not.toHaveProperty('messaging.destination.name')
  })

  it('lasts until the broker has it, and what the broker does is part of it', async () => {
    let accept!: (result: RouteResult | undefined) => void
    let refuse!: (error: Error) => void
    const spans = new RecordedSpans()
    const broker: Broker = {
      name: 'far',
      start(_: Sink) {},
      publish() {
        spans.provider.getTracer('driver').startSpan('PUBLISH').end()
        return new Promise((resolve, reject) => {
          accept = resolve
          refuse = reject
        })
      },
      join() {},
      leave() {},
      close() {},
    }
    const { hub } = setUp({ publish: 'always', tracerProvider: spans.provider }, broker)
    const published = hub.publishBytes('news', bytes)
    expect(spans.all.map(({ name }) => name)).toEqual(['PUBLISH'])
    accept(undefined)
    expect(await published).toEqual({ position: { epoch: '', seq: 0 }, matched: 0, behind: 0, unsupported: 0 })
    const [driver, publish] = spans.all
    expect(driver?.parent).toBe(publish?.id)

    const lost = hub.publishBytes('news', bytes)
    refuse(new RangeError('far away'))
    await expect(lost).rejects.toThrow('far away')
    expect(spans.named('publish')[1]).toMatchObject({ error: 'far away', attributes: { 'error.type': 'RangeError' } })
  })
})
