import type { FastifyInstance } from 'fastify'
import { HubError } from '../core/errors.ts'
import { MAX_JSON_DEPTH, MAX_JSON_VALUES, measureJson } from '../wire/json.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The text of a body of JSON: what it says of a message goes on as it stands. */
    jsonText: string
  }
}

/** A body of so many characters takes its own turn of the event loop to be parsed. */
const LARGE = 64 * 1024

const REFUSALS = {
  deep: `body: JSON nests at most ${MAX_JSON_DEPTH} levels here`,
  many: `body: JSON has at most ${MAX_JSON_VALUES} values here, where a member of an object counts as four; send several requests, or POST a large message to /topics/{topic}, which takes it as it is`,
} as const

/**
 * Bodies of this scope are JSON and nothing else: a text/plain body could come from a form on any page. An empty body is none, whatever its
 * type. A body that nests without end, or has very many values, is refused before it is parsed: both would hold up everybody else.
 */
export function takeJsonOnly(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.decorateRequest('jsonText', '')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (request, body, done) => {
    request.jsonText = body
    if (body === '') {
      done(null)
      return
    }
    const wrong = measureJson(body)
    if (wrong !== undefined) {
      done(new HubError('REQUEST_INVALID', REFUSALS[wrong]))
      return
    }
    void parse(request, body, (error, value) => {
      if (error !== null) done(new HubError('REQUEST_INVALID', faultOf(body)))
      else if (body.length < LARGE) done(null, value)
      // What is done with it has a turn of its own.
      else setImmediate(done, null, value)
    })
  })
}

/** The parser refuses names that would change the prototype of an object, and does not say so. */
function faultOf(body: string): string {
  try {
    JSON.parse(body)
    return 'body: a key "__proto__", or "prototype" within "constructor", is not taken in JSON here'
  } catch (error) {
    return `body: it is not valid JSON (${(error as Error).message.slice(0, 120)})`
  }
}
