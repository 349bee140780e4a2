import { checkPublication } from '../core/arguments.ts'
import type { Broker, Publication, RouteResult } from '../core/broker.ts'
import { HubError } from '../core/errors.ts'
import { nameOf } from '../core/guarded-codec.ts'
import { parseTopicName, positionRule } from '../core/ids.ts'
import { checkValue, integer, json, object, type Rule, shown, text } from '../core/options.ts'

type Answer = RouteResult | undefined

const topicName: Rule = value =>
  parseTopicName(value as string) === value ? undefined : 'a topic name without leading slashes'
const count = integer(0)

/**
 * Checks what a custom broker gives to the sink and what it answers. A wrong publication is an error for the broker and
 * a fault. A wrong answer is INTERNAL for the publisher.
 */
export function checkedBroker(broker: Broker): Broker {
  return {
    name: nameOf(broker),
    start: (sink, fault) =>
      broker.start(publication => {
        try {
          checkGiven(publication)
        } catch (error) {
          fault?.(`sink of broker '${nameOf(broker)}'`, error)
          throw error
        }
        return sink(publication)
      }),
    publish(publication) {
      // A mistake of the publisher is not the broker's.
      checkPublication(publication)
      const answer: unknown = broker.publish(publication)
      if (typeof (answer as PromiseLike<unknown> | null | undefined)?.then !== 'function') return read(answer, broker)
      // A promise of another library becomes one of Node's.
      return Promise.resolve(answer).then(known => read(known, broker))
    },
    join: topic => broker.join(topic),
    leave: topic => broker.leave(topic),
    close: () => broker.close(),
  }
}

/** Throws TOPIC_INVALID, INVALID_MESSAGE, REQUEST_INVALID. */
function checkGiven(publication: Publication): void {
  checkValue(publication, object, 'publication')
  checkValue(publication.topic, topicName, 'topic')
  checkPublication(publication)
  const { client, info } = publication.publisher ?? {}
  if (client !== undefined) checkValue(client, text, 'publisher.client')
  if (info !== undefined) checkValue(info, json, 'publisher.info')
}

/** Throws INTERNAL. */
function read(answer: unknown, broker: Broker): Answer {
  if (answer === undefined || isRouteResult(answer)) return answer
  throw new HubError(
    'INTERNAL',
    `publish of broker ${shown(nameOf(broker))} must answer a RouteResult or undefined, got ${shown(answer)}`,
  )
}

function isRouteResult(answer: unknown): answer is RouteResult {
  if (typeof answer !== 'object' || answer === null) return false
  const { position, matched, behind, unsupported } = answer as Partial<RouteResult>
  const wrong = [positionRule(position, ''), ...[matched, behind, unsupported].map(each => count(each, ''))]
  return wrong.every(words => words === undefined)
}
