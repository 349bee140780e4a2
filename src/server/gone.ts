import { setMaxListeners } from 'node:events'
import type { FastifyReply } from 'fastify'

/** Aborted when the caller has gone before it was answered: nobody waits for what is done for it. */
export function goneSignal({ raw }: FastifyReply): AbortSignal {
  const gone = new AbortController()
  // A broadcast has as many listeners as clients: Node would take that for a leak, and print it.
  setMaxListeners(0, gone.signal)
  raw.on('close', () => {
    if (!raw.writableFinished) gone.abort()
  })
  return gone.signal
}
