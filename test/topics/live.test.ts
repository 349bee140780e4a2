import { describe, expect, it } from 'vitest'
import { createHub } from '../../src/hub.ts'
import { latest } from '../../src/policies/latest.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { type TopicRulesOptions, topicRules } from '../../src/topics/registry.ts'
import { expectPositionsAlone } from '../positions-alone.ts'

/** A hub whose rules change while it runs, as the server's do. */
function setUp(options: TopicRulesOptions) {
  const scheduler = new ManualScheduler()
  const rules = topicRules(options)
  const hub = createHub({ scheduler, topics: rules })
  rules.onChange(() => hub.refreshTopics())
  const connection = new FakeConnection()
  connection.client = hub.registerClient('one', connection)
  const publish = (topic: string, text = '{}', contentType?: string) =>
    hub.routeData(topic, new TextEncoder().encode(text), { contentType })
  return { scheduler, rules, hub, connection, publish }
}

const code = (act: () => unknown): string => {
  try {
    act()
  } catch (error) {
    return (error as { code: string }).code
  }
  return 'nothing was thrown'
}

describe('rules that change while topics are in use', () => {
  it('hold for them at once, and end at once', () => {
    const { rules, hub, publish } = setUp({ rules: { 'a/**': {} } })
    hub.subscribe('one', 'a/b')
    rules.set('a/*', { policy: latest(), maxMessageBytes: 1 })
    expect([hub.getDeliveryPolicy('a/b').name, code(() => publish('a/b'))]).toEqual(['latest', 'MESSAGE_TOO_LARGE'])
    rules.delete('a/*')
    expect([hub.getDeliveryPolicy('a/b').name, publish('a/b').matched]).toEqual(['buffered', 1])
  })

  it('a topic that is no longer known takes no message and no subscriber, and has lost those that it had', () => {
    const { scheduler, rules, hub, connection, publish } = setUp({
      rules: { a: { presence: true }, b: {} },
      unknownTopics: 'refuse',
    })
    hub.subscribe('one', 'a')
    publish('a', '1')
    rules.delete('a')
    scheduler.advance(1)
    // What was published before is theirs.
    expect(connection.seqs('a')).toEqual([1])
    expect(hub.getSubscription('one', 'a')).toBeUndefined()
    expect(code(() => publish('a'))).toBe('TOPIC_UNKNOWN')
    expect(code(() => hub.subscribe('one', 'a'))).toBe('TOPIC_UNKNOWN')
    expect(code(() => hub.presence('a'))).toBe('TOPIC_UNKNOWN')
    scheduler.advance(62_000)
    expect(hub.getTopic('a')).toBe(null)
    expectPositionsAlone(hub)
    expect(publish('b').position.seq).toBe(1)
  })

  it('one that is known again begins anew, in another epoch: nobody can take an old position for one of it', () => {
    const { rules, publish } = setUp({ rules: { a: {} }, unknownTopics: 'refuse' })
    const { position } = publish('a')
    rules.delete('a')
    expect(code(() => publish('a'))).toBe('TOPIC_UNKNOWN')
    rules.set('*', {})
    const again = publish('a').position
    expect([again.seq, again.epoch === position.epoch]).toEqual([1, false])
  })

  it('a schema holds for what is published from then on', () => {
    const { rules, publish } = setUp({ rules: {} })
    publish('a', 'no JSON')
    rules.set('*', { schema: { type: 'object', required: ['id'] } })
    expect(code(() => publish('a', '{}'))).toBe('SCHEMA_MISMATCH')
    expect(code(() => publish('a', '{"id":1}', 'text/plain'))).toBe('SCHEMA_MISMATCH')
    expect(publish('a', '{"id":1}').position.seq).toBe(2)
  })
})
