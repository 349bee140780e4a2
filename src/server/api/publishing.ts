import type { FastifyReply } from 'fastify'
import { z } from 'zod'
import type { RouteOptions } from '../../core/contract.ts'
import { HubError } from '../../core/errors.ts'
import { parseTopicName } from '../../core/ids.ts'
import { mismatch } from '../../core/refusals.ts'
import type { Hub } from '../../hub.ts'
import type { JsonText } from '../../wire/json.ts'
import type { HubContext } from '../context.ts'
import { correlate } from '../correlation.ts'
import { errorBody, toHubError } from '../errors.ts'
import { resultBody } from '../publisher.ts'
import { Turn } from '../turn.ts'
import { callerOf } from './idempotency.ts'
import type { Api } from './route.ts'
import {
  anyTopicName,
  content,
  count,
  defaultType,
  failure,
  published,
  SAY_WHAT,
  SAY_WHAT_FORMS,
  saysWhatOnce,
} from './schemas.ts'

const MAX_PUBLICATIONS = 1000
/** Of the whole request. One message may be larger than that alone, and JSON writes a byte as up to six. */
const BATCH_BYTES = 8 * 1024 * 1024
const JSON_FACTOR = 6
/** What is wrong with a batch: as many of its items as an answer lists. */
const MAX_FAULTS = 100

const publication = z
  .strictObject({
    topic: anyTopicName,
    key: z
      .string()
      .max(255)
      .optional()
      .meta({ description: 'What the message is the newest value of (policy latest).' }),
    ...content,
  })
  .refine(saysWhatOnce, SAY_WHAT)
  .meta(SAY_WHAT_FORMS)
const publishBody = z.strictObject({
  publications: z
    .array(publication)
    .min(1)
    .max(MAX_PUBLICATIONS, `a request has at most ${MAX_PUBLICATIONS} publications; send several`),
})
type Publication = z.infer<typeof publication>

const publishResult = z.object({
  published: count,
  failed: count,
  results: z.array(published.extend({ error: failure.optional() })),
})

/** One publication, checked, and its bytes. */
interface Checked {
  readonly topic: string
  readonly data: Uint8Array
  readonly contentType: string
  readonly key: string | undefined
}

/** `POST /api/publish`: many messages in one request. */
export function publishingRoutes(api: Api, context: HubContext): void {
  const { hub, idempotency, maxMessageBytes } = context
  api.add({
    method: 'POST',
    path: '/api/publish',
    tag: 'Publishing',
    access: 'publish',
    summary: 'Publishes up to 1,000 messages, in their order',
    description:
      'All are checked before the first is published: if one is wrong, none is, and `faults` tells which. With a header idempotency-key the same request within five minutes is answered as the first was, and publishes nothing.',
    body: publishBody,
    bodyLimit: Math.max(BATCH_BYTES, JSON_FACTOR * maxMessageBytes),
    answers: {
      200: { description: 'All are published, in the order of the request.', schema: publishResult },
      207: { description: 'Some were refused when their turn came: a limit, or the broker.', schema: publishResult },
    },
    errors: [
      'TOPIC_INVALID',
      'TOPIC_UNKNOWN',
      'MESSAGE_TOO_LARGE',
      'SCHEMA_MISMATCH',
      'IDEMPOTENCY_CONFLICT',
      'SHUTTING_DOWN',
    ],
    handler: async ({ body, request, reply }) => {
      const texts = request.jsonText!.member('publications')!.items()
      const { checked, faults } = await checkAll(hub, body.publications, texts)
      const [first] = faults
      if (first !== undefined) return refuse(reply, first, faults)
      const correlationId = correlate(request, reply)
      const parts = checked.flatMap(({ topic, contentType, key, data }) => [topic, contentType, key, data])
      return idempotency.once(request, reply, callerOf(request), parts, async () => {
        if (hub.draining) throw new HubError('SHUTTING_DOWN', 'the hub is shutting down')
        const results = []
        const turn = new Turn()
        const publisher = { session: { backend: true, key: request.apiKey?.name } }
        for (const each of checked) {
          await turn.after(each.data.byteLength)
          results.push(await publish(hub, each, { correlationId, publisher }))
        }
        const failed = results.filter(result => 'error' in result).length
        const body = { published: results.length - failed, failed, results }
        return { status: failed > 0 ? 207 : 200, body, nothing: body.published === 0 }
      })
    },
  })
}

/** The first that is wrong, and by their index all that are. */
function refuse(reply: FastifyReply, { index, error }: Fault, faults: readonly Fault[]): object {
  const told = new HubError(error.code, `publications.${index}: ${error.message}; nothing was published`)
  reply.code(error.status)
  return {
    ...errorBody(told),
    faults: faults.slice(0, MAX_FAULTS).map(({ index, error }) => ({ index, ...errorBody(error) })),
  }
}

async function publish(hub: Hub, { topic, data, contentType, key }: Checked, by: RouteOptions) {
  try {
    return { topic, ...resultBody(await hub.publishBytes(topic, data, { ...by, contentType, key })) }
  } catch (error) {
    return { topic, ...errorBody(toHubError(error)) }
  }
}

interface Fault {
  readonly index: number
  readonly error: HubError
}

async function checkAll(
  hub: Hub,
  publications: readonly Publication[],
  texts: Iterator<JsonText>,
): Promise<{ checked: Checked[]; faults: Fault[] }> {
  const faults: Fault[] = []
  const checked: Checked[] = []
  const turn = new Turn()
  for (const [index, publication] of publications.entries()) {
    const text: JsonText = texts.next().value
    try {
      checked.push(check(hub, publication, text))
    } catch (error) {
      faults.push({ index, error: toHubError(error) })
    }
    await turn.after(text.length)
  }
  return { checked, faults }
}

/**
 * Everything that can be known of a message before it is published. `json`: the text of the publication, whose `data`
 * goes on as it stands.
 */
function check(hub: Hub, { topic: name, key, text, base64, ...rest }: Publication, json: JsonText): Checked {
  const topic = parseTopicName(name)
  const spec = hub.resolveTopic(topic)
  const { maxMessageBytes, contentType: known } = spec
  const said = rest.contentType ?? known
  const written = base64 ?? text ?? json.member('data')!.text
  const encoding = base64 === undefined ? 'utf8' : 'base64'
  const bytes = Buffer.byteLength(written, encoding)
  if (bytes > maxMessageBytes) {
    const size = `${bytes} bytes are more than the ${maxMessageBytes} that ${topic} takes in one message`
    throw new HubError('MESSAGE_TOO_LARGE', `data: ${size}`)
  }
  const payload = Buffer.from(written, encoding)
  const contentType = said ?? defaultType({ text, base64 })
  const wrong = mismatch(spec, payload, contentType)
  if (wrong) throw wrong
  return { topic, data: payload, contentType, key }
}
