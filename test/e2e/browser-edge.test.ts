import { existsSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { demoPlugin, demoTopics } from '../../src/server/demo/plugin.ts'
import { startTestServer, type TestServer } from '../server/test-server.ts'

const PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
const executablePath = PATHS.find(path => existsSync(path))
const required = process.env.HUBLINE_TEST_REQUIRE_ALL === '1'
if (executablePath === undefined && !required) {
  console.log('Skipped: the browser tests need Chromium; npm run setup:browser installs it (apt-get, as root).')
}

/** Names that resolve to this machine in the browser: pages of other sites, and one whose name was rebound. */
const NAMES = ['evil.example', 'app.example', 'rebound.example']

describe.skipIf(executablePath === undefined && !required)('pages of other sites, in Chromium', () => {
  let sites: Server
  let sitePort: number
  let server: TestServer
  let port: string
  let browser: Browser
  let page: Page
  const dialogs: string[] = []

  beforeAll(async () => {
    // The same empty page under any name.
    sites = createServer((_request, response) => response.setHeader('content-type', 'text/html').end('<!doctype html>'))
    await new Promise<void>(resolve => sites.listen(0, '127.0.0.1', resolve))
    sitePort = (sites.address() as AddressInfo).port
    server = await startTestServer({ origins: [`http://app.example:${sitePort}`] })
    port = new URL(server.url).port
    const rules = NAMES.map(name => `MAP ${name} 127.0.0.1`).join(', ')
    const args = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking']
    browser = await chromium.launch({
      executablePath: executablePath!,
      args: [...args, `--host-resolver-rules=${rules}`],
    })
  })
  beforeEach(async () => {
    page = await browser.newPage()
    page.on('dialog', dialog => {
      dialogs.push(dialog.message())
      void dialog.dismiss()
    })
  })
  afterEach(() => page.close())
  afterAll(async () => {
    await browser?.close()
    await server?.close()
    sites?.close()
  })

  const visit = (name: string) => page.goto(`http://${name}:${sitePort}/`, { waitUntil: 'domcontentloaded' })
  const stats = () => {
    const { published, clientsTotal } = server.hub.getConnectionStats()
    return [published, clientsTotal]
  }
  const opened = (path: string) =>
    page.evaluate(
      url =>
        new Promise<string>(resolve => {
          // biome-ignore lint/suspicious/noExplicitAny: of the page, where there is a DOM
          const socket = new (globalThis as any).WebSocket(url)
          socket.onopen = () => resolve('open')
          socket.onerror = () => resolve('error')
        }),
      `ws://127.0.0.1:${port}${path}`,
    )
  /** What a fetch of the page comes to: a status that it may read, or an error. */
  const fetched = (path: string, init: object = {}) =>
    page.evaluate(
      ([url, options]) =>
        fetch(url as string, options as RequestInit).then(
          ({ type, status }) => `${type} ${status}`,
          (error: Error) => error.name,
        ),
      [`http://127.0.0.1:${port}${path}`, init] as const,
    )

  it('F10: open no WebSocket, unless they are listed', async () => {
    const before = stats()
    await visit('evil.example')
    expect([await opened('/topics/a?role=both'), await opened('/connection/websocket')]).toEqual(['error', 'error'])
    await visit('127.0.0.1')
    expect([await opened('/topics/a?role=both'), await opened('/connection/websocket')]).toEqual(['error', 'error'])
    expect(stats()).toEqual(before)
    await visit('app.example')
    expect([await opened('/topics/a?role=both'), await opened('/connection/websocket')]).toEqual(['open', 'open'])
  })

  it('send nothing by a request that needs no leave, and by a form', async () => {
    const before = stats()
    await visit('evil.example')
    const simple = { method: 'POST', mode: 'no-cors', body: '{"filter":{"all":true},"text":"x"}' }
    for (const path of ['/topics/a', '/api/broadcast', '/@connections/x', '/api/clients']) {
      expect([path, await fetched(path, simple)]).toEqual([path, 'opaque 0'])
      expect([path, await fetched(path, { ...simple, credentials: 'include' })]).toEqual([path, 'opaque 0'])
    }
    expect(server.app.hubContext.edge.refused.origins).toBeGreaterThanOrEqual(8)
    for (const path of ['/topics/a', '/api/broadcast']) {
      await visit('evil.example')
      const [answer] = await Promise.all([
        page.waitForResponse(response => response.url().endsWith(path)),
        page.evaluate(url => {
          // biome-ignore lint/suspicious/noExplicitAny: as above
          const { document } = globalThis as any
          document.body.innerHTML = `<form method="post" action="${url}" enctype="text/plain"><input name="x" value="y"></form>`
          document.forms[0].submit()
        }, `http://127.0.0.1:${port}${path}`),
      ])
      await page.waitForURL(`**${path}`)
      expect([path, answer.status()]).toEqual([path, 403])
    }
    expect(stats()).toEqual(before)
  })

  it('get no stream by an element that asks without saying who', async () => {
    const before = stats()
    await visit('evil.example')
    const shown = await page.evaluate(
      url =>
        new Promise<string>(resolve => {
          // biome-ignore lint/suspicious/noExplicitAny: as above
          const image = new (globalThis as any).Image()
          image.onload = () => resolve('shown')
          image.onerror = () => resolve('error')
          image.src = url
        }),
      `http://127.0.0.1:${port}/topics/camera`,
    )
    expect([shown, stats()]).toEqual(['error', before])
  })

  it('read answers with cookies if they are listed, and may ask first with the headers of the API', async () => {
    const headers = { authorization: 'Bearer x', 'idempotency-key': 'k', 'content-type': 'application/json' }
    const put = { method: 'PUT', credentials: 'include', headers, body: '{"name":"latest"}' }
    await visit('app.example')
    expect(await fetched('/api/stats', { credentials: 'include' })).toBe('cors 200')
    expect(await fetched('/api/topics/cors/policy', put)).toBe('cors 200')
    expect(await fetched('/api/topics/cors/policy', { method: 'DELETE', credentials: 'include' })).toBe('cors 204')
    expect(await fetched('/api/nothing', { credentials: 'include' })).toBe('TypeError')
    await visit('evil.example')
    expect(await fetched('/api/stats', { credentials: 'include' })).toBe('TypeError')
    expect(await fetched('/api/stats')).toBe('TypeError')
    expect(await fetched('/api/topics/cors/policy', put)).toBe('TypeError')
  })

  it('read event streams, if they are listed', async () => {
    const stream = () =>
      page.evaluate(
        url =>
          new Promise<string>(resolve => {
            // biome-ignore lint/suspicious/noExplicitAny: as above
            const source = new (globalThis as any).EventSource(url, { withCredentials: true })
            const end = (how: string) => {
              source.close()
              resolve(how)
            }
            source.onopen = () => end('open')
            source.onerror = () => end('error')
          }),
        `http://127.0.0.1:${port}/events?topic=a`,
      )
    await visit('app.example')
    expect(await stream()).toBe('open')
    await visit('evil.example')
    expect(await stream()).toBe('error')
  })

  it('that were made to resolve to this machine are told that it is not called so', async () => {
    const answer = await page.goto(`http://rebound.example:${port}/`)
    expect([answer?.status(), await answer?.json()]).toMatchObject([421, { error: { code: 'HOST_DENIED' } }])
    expect(await opened('/topics/a')).toBe('error')
    const read = await page.evaluate(async () => (await fetch('/api/clients')).status)
    expect(read).toBe(421)
  })

  it('G4: what publishers and clients say is text, wherever a browser is led', async () => {
    const evil = '<!doctype html><img src=x onerror="alert(1)"><script>alert(2)</script>'
    const html = { 'content-type': 'text/html' }
    await fetch(`${server.url}/topics/page`, { method: 'POST', headers: html, body: evil })
    await page.goto(`${server.url}/topics/page?client=shown`, { waitUntil: 'commit' })
    while (server.hub.getTopic('page')?.subscribers !== 1) await page.waitForTimeout(10)
    await fetch(`${server.url}/topics/page`, { method: 'POST', headers: html, body: evil })
    // The picture that is none has been tried by then, and its handler is not run. Asked again and again: a page that loads for ever, and
    // may run no script, draws no frames that could be waited for.
    await expect.poll(() => page.evaluate('document.images.length'), { timeout: 15_000 }).toBe(1)
    for (const path of [
      '/api/clients',
      '/api/topics',
      `/nothing${encodeURIComponent(evil)}`,
      `/topics/${encodeURI(evil)}`,
    ]) {
      const answer = await page.goto(server.url + path)
      expect(answer?.headers()['x-content-type-options']).toBe('nosniff')
      expect(answer?.headers()['content-type']).toMatch(/^application\/json/)
    }
    expect(dialogs).toEqual([])
  })
})

describe.skipIf(executablePath === undefined && !required)('the page of the demo, in Chromium', () => {
  it('may be shown in no frame, and runs with no script or style but its own', async () => {
    const server = await startTestServer({}, { plugins: [demoPlugin], topics: demoTopics })
    const browser = await chromium.launch({ executablePath: executablePath!, args: ['--no-sandbox', '--disable-gpu'] })
    const page = await browser.newPage()
    const faults: string[] = []
    page.on('console', message => message.type() === 'error' && faults.push(message.text()))
    const answer = await page.goto(server.url, { waitUntil: 'domcontentloaded' })
    const headers = answer!.headers()
    expect(headers['content-security-policy']).toContain("default-src 'self'")
    expect(headers['content-security-policy']).toContain("frame-ancestors 'none'")
    expect(headers['content-security-policy']).not.toContain('unsafe')
    expect(headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer' })
    await expect.poll(() => page.textContent('#telemetry .meters'), { timeout: 15_000 }).toMatch(/\d/)
    expect(faults).toEqual([])
    await browser.close()
    await server.close()
  })
})
