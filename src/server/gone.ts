import type { FastifyReply } from 'fastify'

/** Aborted when the caller has gone before it was answered: nobody waits for what is done for it. */
export function goneSignal({ raw }: FastifyReply): AbortSignal {
  const gone = new AbortController()
  raw.on('close', () => {
    if (!raw.writableFinished) gone.abort()
  })
  return gone.signal
}
