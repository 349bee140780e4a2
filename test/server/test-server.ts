import type { FastifyInstance } from 'fastify'
import { loadConfig } from '../../src/server/config.ts'
import { type RunningServer, type ServerOptions, startServer } from '../../src/server/server.ts'

export type TestServer = RunningServer & { readonly app: FastifyInstance }

/** A server on a free port of loopback, silent and quickly closed, with whatever flags a test needs. */
export function startTestServer(flags: Record<string, unknown> = {}, options: ServerOptions = {}): Promise<TestServer> {
  const config = loadConfig({ env: {}, flags: { port: 0, logLevel: 'silent', shutdown: { spreadMs: 0 }, ...flags } })
  return startServer(config, options)
}
