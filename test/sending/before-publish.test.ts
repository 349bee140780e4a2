import { describe, expect, it, vi } from 'vitest'
import type { Broker } from '../../src/core/broker.ts'
import { HubError } from '../../src/core/errors.ts'
import { createHub } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import type { BeforePublish } from '../../src/sending/before-publish.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'

function setUp(beforePublish: BeforePublish) {
  const hub = createHub({ beforePublish, topics: openTopics({ maxMessageBytes: 100 }) })
  const fault = vi.fn()
  hub.events.on('fault', fault)
  const said = (topic = 'a') => hub.history(topic).messages.map(({ payload }) => Buffer.from(payload).toString())
  return { hub, fault, said }
}

/** A hook that answers when the test says so, in any order. */
function held() {
  const asked: { text: string; answer: (change?: object) => void; refuse: (error: unknown) => void }[] = []
  const hook: BeforePublish = ({ data }) =>
    new Promise((resolve, reject) => {
      asked.push({ text: Buffer.from(data).toString(), answer: change => resolve(change), refuse: reject })
    })
  return { hook, asked }
}

describe('beforePublish', () => {
  it('sees the whole publication, and no change publishes it as it is', async () => {
    const hook = vi.fn()
    const { hub, said } = setUp(hook)
    const publisher = { client: 'phone', session: { user: 'ann' } }
    await hub.publish('/a', { n: 1 }, { key: 'k', correlationId: 'c', publisher })
    expect(hook).toHaveBeenCalledExactlyOnceWith({
      topic: 'a',
      data: new TextEncoder().encode('{"n":1}'),
      ...{ contentType: 'application/json', key: 'k', correlationId: 'c', publisher },
    })
    expect(said()).toEqual(['{"n":1}'])
  })

  it('changes data, type and key, at once or later', async () => {
    const change = { data: { masked: true }, contentType: 'application/vnd.x+json', key: 'other' }
    for (const hook of [() => change, async () => change]) {
      const { hub } = setUp(hook)
      await hub.publish('a', 'secret', { key: 'k' })
      expect(hub.history('a').messages).toMatchObject([{ contentType: change.contentType, key: 'other' }])
      expect(Buffer.from(hub.history('a').messages[0]!.payload).toString()).toBe('{"masked":true}')
    }
  })

  it('what it makes is checked like any publication', async () => {
    const { hub } = setUp(() => ({ data: 'x'.repeat(101) }))
    await expect(hub.publish('a', 'x')).rejects.toMatchObject({ code: 'MESSAGE_TOO_LARGE' })
  })

  it('refuses with a HubError, which the publisher gets, and with it only that publication', async () => {
    const refuse = new HubError('PERMISSION_DENIED', 'text: no swearing here')
    for (const hook of [
      ({ data }: { data: Uint8Array }) => {
        if (data.byteLength > 3) throw refuse
      },
      async ({ data }: { data: Uint8Array }) => {
        if (data.byteLength > 3) throw refuse
      },
    ] satisfies BeforePublish[]) {
      const { hub, fault, said } = setUp(hook)
      const results = await Promise.allSettled([
        hub.publish('a', 'one'),
        hub.publish('a', 'damn'),
        hub.publish('a', 'two'),
      ])
      expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
      expect(results[1]).toMatchObject({ reason: refuse })
      expect(said()).toEqual(['one', 'two'])
      expect(fault).not.toHaveBeenCalled()
    }
  })

  it.each<[string, BeforePublish]>([
    [
      'throws',
      () => {
        throw new Error('postgres://user:password@db')
      },
    ],
    ['rejects', async () => Promise.reject(new Error('postgres://user:password@db'))],
    ['answers false', () => false as unknown as undefined],
    ['answers a promise of true', async () => true as unknown as undefined],
    ['makes what has no form in JSON', () => ({ data: { n: 1n } })],
  ])('one that %s refuses that publication, as a fault, and says nothing of why', async (_, hook) => {
    const { hub, fault, said } = setUp(hook)
    const error = await hub.publish('a', 'x').catch(each => each)
    expect(error).toMatchObject({ code: 'INTERNAL' })
    expect(error.message).not.toContain('password')
    expect(said()).toEqual([])
    expect(fault).toHaveBeenCalledWith(expect.objectContaining({ where: 'beforePublish' }))
  })

  it('of one publisher are in their order, whatever the hook takes; others do not wait', async () => {
    const { hook, asked } = held()
    const { hub, said } = setUp(hook)
    const ann = { client: 'ann' }
    const published = [
      hub.publish('a', 'ann 1', { publisher: ann }),
      hub.publish('a', 'ann 2', { publisher: ann }),
      hub.publish('a', 'bob 1', { publisher: { client: 'bob' } }),
    ]
    expect(asked.map(({ text }) => text)).toEqual(['ann 1', 'bob 1'])
    asked[1]!.answer()
    await published[2]
    expect(said()).toEqual(['bob 1'])
    asked[0]!.refuse(new HubError('PERMISSION_DENIED', 'no'))
    await expect(published[0]).rejects.toThrow('no')
    await vi.waitFor(() => expect(asked).toHaveLength(3))
    asked[2]!.answer()
    await published[1]
    expect(said()).toEqual(['bob 1', 'ann 2'])
  })

  it('a hook that is asynchronous for some keeps the order of the program', async () => {
    const { hook, asked } = held()
    const { hub, said } = setUp(draft => (draft.key === 'now' ? undefined : hook(draft)))
    const first = hub.publish('a', 'first')
    const second = hub.publish('a', 'second', { key: 'now' })
    asked[0]!.answer()
    await Promise.all([first, second])
    await hub.publish('a', 'third', { key: 'now' })
    expect(said()).toEqual(['first', 'second', 'third'])
  })

  describe('a hook that never settles', () => {
    function setUpHung(options: { beforePublishTimeoutMs?: number } = {}) {
      const { hook, asked } = held()
      const scheduler = new ManualScheduler()
      const hub = createHub({ beforePublish: hook, scheduler, ...options })
      const faults: { where: string; error: unknown }[] = []
      hub.events.on('fault', fault => faults.push(fault))
      const said = () => hub.history('a').messages.map(({ payload }) => Buffer.from(payload).toString())
      return { hub, asked, scheduler, faults, said }
    }

    it('costs its publication alone: 5 s later it is INTERNAL, a fault, and the next one follows in its order', async () => {
      const { hub, asked, scheduler, faults, said } = setUpHung()
      const timersBefore = scheduler.timers
      const published = Promise.allSettled(['hung', 'second', 'third'].map(text => hub.publish('a', text)))
      scheduler.advance(4999)
      expect(faults).toEqual([])
      scheduler.advance(1)
      expect(faults).toEqual([{ where: 'beforePublish', error: expect.objectContaining({ code: 'INTERNAL' }) }])
      await vi.waitFor(() => expect(asked).toHaveLength(2))
      asked[1]!.answer()
      await vi.waitFor(() => expect(asked).toHaveLength(3))
      asked[2]!.answer()
      const message = 'publication: beforePublish must settle within 5000 ms (beforePublishTimeoutMs)'
      const [hung, ...rest] = await published
      expect(hung).toMatchObject({ status: 'rejected', reason: { code: 'INTERNAL', message } })
      expect(rest.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled'])
      expect(asked.map(({ text }) => text)).toEqual(['hung', 'second', 'third'])
      expect(said()).toEqual(['second', 'third'])
      expect(scheduler.timers).toBe(timersBefore)
    })

    it.each(['answers', 'rejects'])('once it %s after all, that is ignored', async how => {
      const { hub, asked, scheduler, faults, said } = setUpHung({ beforePublishTimeoutMs: 10 })
      const published = expect(hub.publish('a', 'hung')).rejects.toMatchObject({ code: 'INTERNAL' })
      scheduler.advance(10)
      await published
      if (how === 'answers') asked[0]!.answer()
      else asked[0]!.refuse(new Error('too late'))
      const next = hub.publish('a', 'next')
      asked[1]!.answer()
      await next
      expect([said(), faults.length]).toEqual([['next'], 1])
    })

    it('the time is that of each call, not of the line that it waits in', async () => {
      const { hub, asked, scheduler, faults, said } = setUpHung({ beforePublishTimeoutMs: 10 })
      const published = Promise.all([hub.publish('a', 'first'), hub.publish('a', 'second')])
      scheduler.advance(9)
      asked[0]!.answer()
      await vi.waitFor(() => expect(asked).toHaveLength(2))
      scheduler.advance(9)
      asked[1]!.answer()
      await published
      expect([said(), faults]).toEqual([['first', 'second'], []])
    })

    it.each([0, -1, Number.NaN, 2 ** 31])('beforePublishTimeoutMs %s is refused', beforePublishTimeoutMs => {
      const error = `beforePublishTimeoutMs must be a number over 0 and at most 2147483647, got ${beforePublishTimeoutMs}`
      expect(() => createHub({ beforePublishTimeoutMs })).toThrow(error)
    })
  })

  it('what waits of one publisher is bounded, in messages and bytes', async () => {
    let open = (): void => {}
    const gate = new Promise<void>(resolve => {
      open = resolve
    })
    const hub = createHub({ beforePublish: () => gate, topics: openTopics({ maxMessageBytes: 16 * 1024 * 1024 }) })
    const waiting = Array.from({ length: 1000 }, () => hub.publish('a', 'x'))
    await expect(hub.publish('a', 'x')).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
    const [ann, large] = [{ client: 'ann' }, Buffer.alloc(9 * 1024 * 1024)]
    waiting.push(hub.publish('a', large, { publisher: ann }))
    await expect(hub.publish('a', 'x', { publisher: ann })).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
    open()
    await Promise.all(waiting)
    await hub.publish('a', 'x')
    expect(hub.getTopic('a')?.position.seq).toBe(1002)
  })

  it('makes room with each publication that it answers, while others wait', async () => {
    const { hook, asked } = held()
    const hub = createHub({ beforePublish: hook, topics: openTopics({ maxMessageBytes: 16 * 1024 * 1024 }) })
    const half = Buffer.alloc(4 * 1024 * 1024)
    const [first] = [hub.publish('a', half), hub.publish('a', half)]
    await expect(hub.publish('a', half)).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
    asked[0]!.answer()
    await first
    const third = hub.publish('a', half)
    await vi.waitFor(() => expect(asked.length).toBe(2))
    asked[1]!.answer()
    await vi.waitFor(() => expect(asked.length).toBe(3))
    asked[2]!.answer()
    expect(await third).toMatchObject({ position: { seq: 3 } })
  })

  it('is asked about the next publication while the broker still has the one before', async () => {
    const accept: (() => void)[] = []
    const broker: Broker = {
      ...{ name: 'slow', start() {}, join() {}, leave() {}, close() {} },
      publish: () => new Promise(resolve => accept.push(() => resolve(undefined))),
    }
    const { hook, asked } = held()
    const hub = createHub({ beforePublish: hook, broker })
    const published = [hub.publish('a', 'one'), hub.publish('a', 'two')]
    asked[0]!.answer()
    await vi.waitFor(() => expect(asked).toHaveLength(2))
    expect(accept).toHaveLength(1)
    asked[1]!.answer()
    await vi.waitFor(() => expect(accept).toHaveLength(2))
    for (const each of accept) each()
    await Promise.all(published)
  })

  it('routeData is not asked about', () => {
    const hook = vi.fn()
    const { hub, said } = setUp(hook)
    hub.routeData('a', Buffer.from('x'))
    expect([hook.mock.calls, said()]).toEqual([[], ['x']])
  })

  it('is not asked once the hub drains, nor about what is no topic', async () => {
    const hook = vi.fn()
    const { hub } = setUp(hook)
    await expect(hub.publish('a//b', 'x', { contentType: 'text/plain' })).rejects.toMatchObject({
      code: 'TOPIC_INVALID',
    })
    hub.drain()
    await expect(hub.publish('a', 'x')).rejects.toMatchObject({ code: 'SHUTTING_DOWN' })
    expect(hook).not.toHaveBeenCalled()
  })
})
