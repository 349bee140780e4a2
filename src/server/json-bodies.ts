import { StringDecoder } from 'node:string_decoder'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { HubError } from '../core/errors.ts'
import { JsonText, MAX_JSON_DEPTH, nestsTooDeep } from '../wire/json.ts'
import { type JsonFault, JsonRefused, MAX_JSON_TOKEN, MAX_JSON_VALUES, parseInSteps } from '../wire/json-steps.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The text of a body of JSON: what it says of a message goes on as it stands. */
    jsonText: JsonText | undefined
  }
}

/**
 * A body of more bytes is decoded and parsed in several turns of the event loop. Its number of values is bounded too.
 */
const LARGE = 64 * 1024
/** Bytes that one turn decodes. */
const DECODED = 256 * 1024

/** A byte order mark. */
const MARK = 0xfeff

const REFUSALS: Readonly<Record<Exclude<JsonFault, 'invalid'>, string>> = {
  deep: `body: JSON nests at most ${MAX_JSON_DEPTH} levels here`,
  many: `body: JSON has at most ${MAX_JSON_VALUES} values here, where a member of an object counts as four; send several requests, or POST a large message to /topics/{topic}, which takes it as it is`,
  long: `body: a key, a number or white space of JSON has at most ${MAX_JSON_TOKEN} characters here`,
}

const POISON = 'body: a key "__proto__", or "prototype" within "constructor", is not taken in JSON here'

type Parse = (text: string) => unknown

/**
 * Bodies of this scope are JSON and nothing else: a text/plain body could come from a form on any page. An empty body
 * is none, whatever its type. A body that nests too deep, or has too many values, is refused: parsing it would hold up
 * all other clients.
 */
export function takeJsonOnly(app: FastifyInstance): void {
  const parser = app.getDefaultJsonParser('error', 'error')
  app.decorateRequest('jsonText', undefined)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, async (request: FastifyRequest, body: Buffer) => {
    const parse: Parse = text => {
      // The parser takes a second mark, but the text would keep it.
      let wrong = text.charCodeAt(0) === MARK
      let value: unknown
      void parser(request, text, (error, parsed) => {
        wrong ||= error !== null
        value = parsed
      })
      if (!wrong) return value
      JSON.parse(text)
      // The parser refuses names that would change the prototype of an object, and does not say so.
      throw new HubError('REQUEST_INVALID', POISON)
    }
    if (body.byteLength === 0) return undefined
    const { text, value, ends } = body.byteLength > LARGE ? await readLarge(body, parse) : readSmall(body, parse)
    request.jsonText = new JsonText(text, ends)
    return value
  })
}

interface Read {
  readonly text: string
  readonly value: unknown
  readonly ends?: ReadonlyMap<number, number>
}

function readSmall(body: Buffer, parse: Parse): Read {
  const text = withoutMark(body.toString())
  if (nestsTooDeep(text)) throw refusal('deep')
  try {
    return { text, value: parse(text) }
  } catch (error) {
    if (error instanceof HubError) throw error
    throw invalid((error as Error).message.slice(0, 120))
  }
}

/** No turn of the event loop is long: others are served between two. */
async function readLarge(body: Buffer, parse: Parse): Promise<Read> {
  const text = withoutMark(await decode(body))
  const steps = parseInSteps(text, { parse })
  try {
    for (;;) {
      await nextTurn()
      const { done, value } = steps.next()
      if (done) return { text, ...value }
    }
  } catch (error) {
    if (!(error instanceof JsonRefused)) throw error
    const { fault, at, cause } = error
    if (cause instanceof HubError) throw cause
    throw fault === 'invalid' ? invalid(`after character ${at}`) : refusal(fault)
  }
}

async function decode(body: Buffer): Promise<string> {
  const decoder = new StringDecoder('utf8')
  let text = ''
  for (let from = 0; from < body.byteLength; from += DECODED) {
    text += decoder.write(body.subarray(from, from + DECODED))
    await nextTurn()
  }
  return text + decoder.end()
}

/** Some programs begin a text with a byte order mark. */
function withoutMark(text: string): string {
  return text.charCodeAt(0) === MARK ? text.slice(1) : text
}

function refusal(fault: keyof typeof REFUSALS): HubError {
  return new HubError('REQUEST_INVALID', REFUSALS[fault])
}

function invalid(where: string): HubError {
  return new HubError('REQUEST_INVALID', `body: it is not valid JSON (${where})`)
}
