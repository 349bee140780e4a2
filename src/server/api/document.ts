import { readFile } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { openApiDocument } from './openapi.ts'
import type { Api } from './route.ts'

/** web/ lies beside src/ and beside dist/, three levels up from this file in either. */
const FOLDER = new URL('../../../web/', import.meta.url)

/**
 * The page that shows the document: files of the package, the same for everybody, so they need no key. The document
 * does.
 */
const FILES: Readonly<Record<string, readonly [file: string, type: string]>> = {
  '/api/docs': ['api/docs.html', 'text/html; charset=utf-8'],
  '/api/docs/page.js': ['api/docs.js', 'text/javascript; charset=utf-8'],
  '/api/docs/page.css': ['api/docs.css', 'text/css; charset=utf-8'],
  '/api/docs/icon.svg': ['icon.svg', 'image/svg+xml'],
}

/** What the API is, for programs and for people. Rejects when a file is missing: at start, not at the first visit. */
export async function documentRoutes(app: FastifyInstance, api: Api): Promise<void> {
  const { version } = JSON.parse(await readFile(new URL('../package.json', FOLDER), 'utf8')) as { version: string }
  let document: object | undefined
  api.add({
    method: 'GET',
    path: '/api/openapi.json',
    tag: 'Operation',
    summary: 'This document',
    answers: { 200: { description: 'OpenAPI 3.1.', schema: z.looseObject({ openapi: z.string() }) } },
    // Made when somebody asks: by then all operations are there.
    handler: () => {
      document ??= openApiDocument(api.operations, version, app.prefix)
      return document
    },
  })
  for (const [path, [file, type]] of Object.entries(FILES)) {
    const bytes = await readFile(new URL(file, FOLDER))
    app.get(path, { config: { access: 'open' } }, (_request, reply) => {
      reply.header('cache-control', 'no-cache').type(type).send(bytes)
    })
  }
}
