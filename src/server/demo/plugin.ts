import type { FastifyPluginAsync } from 'fastify'
import { z } from 'zod'
import { HubError } from '../../core/errors.ts'
import type { Scheduler } from '../../core/scheduler.ts'
import { eventLoop } from '../../event-loop.ts'
import type { Hub } from '../../hub.ts'
import { readInput } from '../read-input.ts'
import { startAudio } from './audio.ts'
import { startCamera } from './camera.ts'
import type { Publish } from './pace.ts'
import { servePage } from './page.ts'
import { MAX_SPEED, Simulation } from './simulation.ts'
import { socketPair } from './socket-connection.ts'
import { startTelemetry } from './telemetry.ts'
import { AUDIO_TOPIC, CAMERA_TOPIC, SIMULATED_TOPIC, TELEMETRY_TOPIC } from './topics.ts'

export { demoTopics } from './topics.ts'

interface DemoOptions {
  readonly hub: Hub
  /** Must be the hub's own. Default: the event loop, as in `createHub`. */
  readonly scheduler?: Scheduler
}

const speedBody = z.strictObject({ bytesPerSecond: z.number().min(0).max(MAX_SPEED) })

/** The demo: live sources, simulated clients that read one of them, and a page that shows both. */
export const demoPlugin: FastifyPluginAsync<DemoOptions> = async (app, { hub, scheduler = eventLoop }) => {
  let demo: { readonly simulation: Simulation; readonly sources: readonly Disposable[] } | undefined

  const failed = (error: unknown): void => {
    if (!(error instanceof HubError && error.code === 'SHUTTING_DOWN'))
      app.log.error({ err: error }, 'demo: not published')
  }
  const publish: Publish = (topic, data, contentType) => {
    hub.publish(topic, data, { contentType }).catch(failed)
  }

  const stop = (): void => {
    for (const source of demo?.sources ?? []) source[Symbol.dispose]()
    demo?.simulation.stop()
    demo = undefined
  }
  app.addHook('onReady', async () => {
    const simulation = new Simulation({
      ...{ hub, scheduler, topic: CAMERA_TOPIC, stateTopic: SIMULATED_TOPIC, publish },
      pair: await socketPair(),
    })
    const publishFrame: Publish = (topic, data, contentType) => {
      simulation.published(data.byteLength)
      publish(topic, data, contentType)
    }
    const sources = [
      startTelemetry(TELEMETRY_TOPIC, hub, publish, scheduler),
      startAudio(AUDIO_TOPIC, publish, scheduler),
      startCamera(CAMERA_TOPIC, publishFrame, scheduler),
    ]
    demo = { simulation, sources }
  })
  // As soon as the server drains: it waits for clients that are behind, and these are behind on purpose. The hooks are
  // for an app without that signal, and for a start that failed half way.
  if (app.hasDecorator('hubContext')) app.hubContext.closing.addEventListener('abort', stop)
  app.addHook('preClose', async () => stop())
  app.addHook('onClose', async () => stop())

  await servePage(app)

  // JSON only: what a form of a foreign page can send without asking must not reach it.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string' }, app.getDefaultJsonParser('error', 'error'))
  app.get('/demo/speed', async () => ({ bytesPerSecond: demo?.simulation.bytesPerSecond ?? null }))
  app.post('/demo/speed', async request => {
    const { bytesPerSecond } = readInput(speedBody, request.body, 'body')
    demo?.simulation.setSpeed(bytesPerSecond)
    return { bytesPerSecond }
  })
}
