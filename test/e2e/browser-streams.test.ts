import { existsSync } from 'node:fs'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { startTestServer, type TestServer } from '../server/test-server.ts'

const PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
const executablePath = PATHS.find(path => existsSync(path))
const WAIT = { timeout: 15_000 }
const required = process.env.HUBLINE_TEST_REQUIRE_ALL === '1'
if (executablePath === undefined && !required) {
  console.log('Skipped: the browser tests need Chromium; npm run setup:browser installs it (apt-get, as root).')
}

/** A picture of so many pixels in a row: the simplest format that browsers show. */
function bitmap(width: number): Buffer {
  const row = Math.ceil((width * 3) / 4) * 4
  const bytes = Buffer.alloc(54 + row, 0x80)
  bytes.fill(0, 0, 54)
  bytes.write('BM')
  bytes.writeUInt32LE(bytes.byteLength, 2)
  bytes.writeUInt32LE(54, 10)
  bytes.writeUInt32LE(40, 14)
  bytes.writeInt32LE(width, 18)
  bytes.writeInt32LE(1, 22)
  bytes.writeUInt16LE(1, 26)
  bytes.writeUInt16LE(24, 28)
  return bytes
}

describe.skipIf(executablePath === undefined && !required)('streams, in Chromium', () => {
  let server: TestServer
  let browser: Browser
  let page: Page

  beforeAll(async () => {
    server = await startTestServer({ limits: { maxClients: 1 } })
    const args = [
      '--no-sandbox',
      '--disable-gpu',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-sync',
    ]
    browser = await chromium.launch({ executablePath: executablePath!, args })
  })
  beforeEach(async () => {
    page = await browser.newPage()
    await page.goto(`${server.url}/health/live`)
  })
  afterAll(async () => {
    await browser?.close()
    await server?.close()
  })

  it('an <img> shows the newest picture at once, also where no other follows', async () => {
    const publish = (width: number) => server.hub.routeData('camera', bitmap(width), { contentType: 'image/bmp' })
    publish(1)
    const html = `<img src="${server.url}/topics/camera">`
    await page.route('**/picture', route => route.fulfill({ contentType: 'text/html', body: html }))
    await page.goto(`${server.url}/picture`, { waitUntil: 'commit' })
    await expect.poll(() => server.hub.getTopic('camera')?.subscribers, WAIT).toBe(1)
    const width = () => page.evaluate("document.querySelector('img').naturalWidth")
    for (const pixels of [3, 5, 7]) {
      publish(pixels)
      await expect.poll(width, WAIT).toBe(pixels)
    }
    await page.close()
    await expect.poll(() => server.hub.getConnectionStats().clients, WAIT).toBe(0)
  })

  it('an EventSource comes back by itself after the hub was full', async () => {
    const cut = new AbortController()
    await fetch(`${server.url}/topics/a`, { headers: { accept: 'text/event-stream' }, signal: cut.signal })
    await page.route('**/events-page', route => route.fulfill({ contentType: 'text/html', body: '<p>events</p>' }))
    await page.goto(`${server.url}/events-page`)
    await page.evaluate(`
      window.closes = []
      window.source = new EventSource('/topics/a')
      source.addEventListener('close', ({ data }) => closes.push(JSON.parse(data).code))
    `)
    await expect.poll(() => page.evaluate('closes'), WAIT).toEqual(['LIMIT_EXCEEDED'])
    cut.abort()
    await expect.poll(() => page.evaluate('source.readyState'), WAIT).toBe(1)
    await expect.poll(() => server.hub.getTopic('a')?.subscribers, WAIT).toBe(1)
  })
})
