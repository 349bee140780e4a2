import { describe, expect, it } from 'vitest'
import { HubError } from '../../src/core/errors.ts'
import { Gate } from '../../src/core/gate.ts'
import { parseTopicName } from '../../src/core/ids.ts'
import { parsePattern } from '../../src/core/patterns.ts'
import { openSessions, type Session, type SessionManager } from '../../src/core/sessions.ts'
import type { TopicDefaults, TopicRegistry } from '../../src/core/topics.ts'
import { openTopics } from '../../src/open-topics.ts'

const asking = (answer: unknown): SessionManager => ({ ...openSessions, authorize: () => answer as boolean })
const topic = parseTopicName('a/b')
const anyone: Session = {}
const ann: Session = { user: 'ann' }
const backend: Session = { backend: true }

describe('the gate', () => {
  it.each([
    ['true', true, true],
    ['false', false, false],
    ['nothing', undefined, false],
    ['something true', 'yes', false],
    ['null', null, false],
    ['an object', {}, false],
    ['a promise of true', Promise.resolve(true), true],
    ['a promise of something else', Promise.resolve('yes'), false],
  ])('lets through where the manager says true, and nothing else: %s', async (_, answer, allowed) => {
    expect(await new Gate(asking(answer), openTopics()).permits(anyone, 'publish', topic)).toBe(allowed)
  })

  it('answers at once where the manager does', () => {
    expect(new Gate(openSessions, openTopics()).permits(anyone, 'publish', topic)).toBe(true)
    expect(new Gate(asking(false), openTopics()).permits(anyone, 'publish', topic)).toBe(false)
  })

  it('tells whoever may not nothing of which topics there are', async () => {
    const asked: string[] = []
    const topics: TopicRegistry = {
      resolve(name) {
        asked.push(name)
        throw new HubError('TOPIC_UNKNOWN', `topic: ${name} is unknown`)
      },
    }
    expect(new Gate(asking(false), topics).permits(anyone, 'subscribe', topic)).toBe(false)
    expect(await new Gate(asking(Promise.resolve(false)), topics).permits(anyone, 'subscribe', topic)).toBe(false)
    expect(asked).toEqual([])
    expect(() => new Gate(openSessions, topics).permits(anyone, 'subscribe', topic)).toThrow(/unknown/)
    await expect(new Gate(asking(Promise.resolve(true)), topics).permits(anyone, 'subscribe', topic)).rejects.toThrow()
  })

  it('what the manager throws is for its caller', async () => {
    const why = new HubError('AUTH_UNAVAILABLE', 'auth: away')
    const throwing: SessionManager = {
      ...openSessions,
      authorize() {
        throw why
      },
    }
    expect(() => new Gate(throwing, openTopics()).permits(anyone, 'publish', topic)).toThrow(why)
    const gate = new Gate(asking(Promise.reject(why)), openTopics())
    await expect(gate.permits(anyone, 'publish', topic)).rejects.toBe(why)
  })

  const rules: [TopicDefaults, 'subscribe' | 'publish', [boolean, boolean, boolean]][] = [
    [{}, 'subscribe', [true, true, true]],
    [{ subscribe: 'users' }, 'subscribe', [false, true, true]],
    [{ subscribe: 'nobody' }, 'subscribe', [false, false, true]],
    [{ subscribe: 'nobody' }, 'publish', [true, true, true]],
    [{ publish: 'users' }, 'publish', [false, true, true]],
    [{ publish: 'nobody' }, 'publish', [false, false, true]],
    [{ publish: 'nobody', subscribe: 'anyone' }, 'subscribe', [true, true, true]],
  ]
  it.each(rules)('topic %j, %s: anyone, users, backends', (rule, action, expected) => {
    const gate = new Gate(openSessions, openTopics(rule))
    expect([anyone, ann, backend].map(session => gate.permits(session, action, topic))).toEqual(expected)
  })

  it('presence and history are for whoever may subscribe', () => {
    const gate = new Gate(openSessions, openTopics({ subscribe: 'users', publish: 'anyone' }))
    for (const action of ['presence', 'history'] as const) {
      expect([anyone, ann].map(session => gate.permits(session, action, topic))).toEqual([false, true])
    }
  })

  it('a pattern is asked of the manager alone: the topics are when they are matched', () => {
    const gate = new Gate(openSessions, openTopics({ subscribe: 'nobody' }))
    expect(gate.permits(anyone, 'subscribe', parsePattern('a/*'))).toBe(true)
    expect(new Gate(asking(false), openTopics()).permits(anyone, 'subscribe', parsePattern('a/*'))).toBe(false)
  })
})
