import { z } from 'zod'

/** A listener of its own for operators and backends: /api, /metrics, /@connections. */
export const admin = z.strictObject({
  host: z.string().min(1).default('127.0.0.1'),
  /** None: they are on the public port. 0: any free one. */
  port: z.int().min(0).max(65_535).optional(),
})
