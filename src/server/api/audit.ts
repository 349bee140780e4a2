import type { FastifyRequest } from 'fastify'

/**
 * Writes down who changed what: one line for each change, also for those that were refused. The logger escapes what a
 * line must not have in it. No body is told: there may be a secret in it.
 */
export function audit(
  request: FastifyRequest,
  action: string,
  target: Readonly<Record<string, unknown>>,
  outcome: string,
): void {
  const { apiKey, ip, log } = request
  log.info({ audit: action, by: apiKey?.name ?? 'anyone', address: ip, target, outcome }, 'audit')
}
