import type { FastifyInstance } from 'fastify'
import { HubError } from '../core/errors.ts'
import { MAX_JSON_DEPTH, nestsTooDeep } from '../wire/json.ts'

/**
 * Bodies of this scope are JSON and nothing else: a text/plain body could come from a form on any page. What nests without end is refused
 * before it is parsed, for whoever walks it later may recurse.
 */
export function takeJsonOnly(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (nestsTooDeep(body)) {
      done(new HubError('REQUEST_INVALID', `body: JSON nests at most ${MAX_JSON_DEPTH} levels here`))
    } else {
      void parse(request, body, done)
    }
  })
}
