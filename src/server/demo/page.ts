import { readFile } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'

/** web/ lies beside src/ and beside dist/, three levels up from this file in either. */
const FOLDER = new URL('../../../web/', import.meta.url)

const JAVASCRIPT = 'text/javascript; charset=utf-8'

const FILES: Readonly<Record<string, readonly [file: string, contentType: string]>> = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/style.css': ['style.css', 'text/css; charset=utf-8'],
  '/icon.svg': ['icon.svg', 'image/svg+xml'],
  '/app.js': ['app.js', JAVASCRIPT],
  '/page.js': ['page.js', JAVASCRIPT],
  '/chart.js': ['chart.js', JAVASCRIPT],
  '/telemetry.js': ['telemetry.js', JAVASCRIPT],
  '/media.js': ['media.js', JAVASCRIPT],
  '/simulation.js': ['simulation.js', JAVASCRIPT],
  '/speed.js': ['speed.js', JAVASCRIPT],
}

const HEADERS = {
  'content-security-policy':
    "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-cache',
}

/** Serves the demo's page from memory. Rejects when a file is missing: at start, not at the first visit. */
export async function servePage(app: FastifyInstance): Promise<void> {
  for (const [path, [file, contentType]] of Object.entries(FILES)) {
    const bytes = await readFile(new URL(file, FOLDER))
    app.get(path, (_request, reply) => {
      reply.headers(HEADERS).type(contentType).send(bytes)
    })
  }
}
