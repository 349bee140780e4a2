import type { Broker, Publication, RouteResult } from '../core/broker.ts'
import { HubError } from '../core/errors.ts'
import { nameOf } from '../core/guarded-codec.ts'
import { parseTopicName, positionRule } from '../core/ids.ts'
import { checkValue, integer, json, object, type Rule, shown, text } from '../core/options.ts'
import { notBytes } from '../core/refusals.ts'

type Answer = RouteResult | undefined

const topicName: Rule = value =>
  parseTopicName(value as string) === value ? undefined : 'a topic name without a slash'
const count = integer(0)

/**
 * Checks what an application's own broker hands over, and what it answers. It gets an error for a wrong publication,
 * and a fault is told. A wrong answer is INTERNAL for the publisher.
 */
export function checkedBroker(broker: Broker): Broker {
  return {
    name: nameOf(broker),
    start: (sink, fault) =>
      broker.start(publication => {
        try {
          checkPublication(publication)
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
function checkPublication(publication: Publication): void {
  checkValue(publication, object, 'publication')
  const { topic, data, contentType, key, correlationId, publisher } = publication
  checkValue(topic, topicName, 'topic')
  if (!(data instanceof Uint8Array)) throw notBytes(data)
  checkValue(contentType, text, 'contentType')
  checkOptional({ key, correlationId }, text)
  if (publisher === undefined) return
  checkValue(publisher, object, 'publisher')
  const { client, user, info } = publisher
  checkOptional({ 'publisher.client': client, 'publisher.user': user }, text)
  checkOptional({ 'publisher.info': info }, json)
}

function checkOptional(values: Readonly<Record<string, unknown>>, rule: Rule): void {
  for (const [field, value] of Object.entries(values)) if (value !== undefined) checkValue(value, rule, field)
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
