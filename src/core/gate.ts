import type { TopicName } from './ids.ts'
import { isPattern, type TopicPattern } from './patterns.ts'
import type { Action, Session, SessionManager } from './sessions.ts'
import { isOpenTo, type TopicRegistry } from './topics.ts'

/**
 * The one place where it is decided who may do what: the session's manager, and then the topic itself. The manager is
 * asked first, so that whoever may not is not told which topics there are.
 */
export class Gate {
  readonly sessions: SessionManager
  readonly #topics: TopicRegistry

  constructor(sessions: SessionManager, topics: TopicRegistry) {
    this.sessions = sessions
    this.#topics = topics
  }

  /**
   * A promise only where the manager has one. Throws or rejects with TOPIC_UNKNOWN, and with what the manager throws.
   */
  permits(session: Session, action: Action, topic: TopicName | TopicPattern): boolean | Promise<boolean> {
    const answer = this.sessions.authorize(session, action, topic)
    // Anything else than true refuses, whatever a manager of somebody's own may answer.
    if (typeof answer !== 'object') return answer === true && this.#isOpen(session, action, topic)
    return Promise.resolve(answer).then(allowed => allowed === true && this.#isOpen(session, action, topic))
  }

  /** Of a pattern, each topic is asked when it is matched (`wildcards`). */
  #isOpen(session: Session, action: Action, topic: TopicName | TopicPattern): boolean {
    if (isPattern(topic)) return true
    const { publish, subscribe } = this.#topics.resolve(topic)
    return isOpenTo(action === 'publish' ? publish : subscribe, session)
  }
}
