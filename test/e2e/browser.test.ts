import { existsSync } from 'node:fs'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { demoPlugin, demoTopics } from '../../src/server/demo/plugin.ts'
import { startTestServer, type TestServer } from '../server/test-server.ts'

const PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
const executablePath = PATHS.find(path => existsSync(path))
/** For what the browser does in its own time. */
const WAIT = { timeout: 15_000 }
const required = process.env.HUBLINE_TEST_REQUIRE_ALL === '1'
if (executablePath === undefined && !required) {
  console.log('Skipped: the browser tests need Chromium; npm run setup:browser installs it (apt-get, as root).')
}

describe.skipIf(executablePath === undefined && !required)('the page, in Chromium', () => {
  let server: TestServer
  let browser: Browser
  let page: Page
  const faults: string[] = []

  beforeAll(async () => {
    server = await startTestServer({}, { plugins: [demoPlugin], topics: demoTopics })
    const args = [
      '--no-sandbox',
      '--disable-gpu',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ]
    browser = await chromium.launch({ executablePath: executablePath!, args })
    page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
    page.on('pageerror', error => faults.push(error.message))
    page.on('console', message => message.type() === 'error' && faults.push(message.text()))
    await page.goto(server.url)
  })
  afterAll(async () => {
    await browser?.close()
    await server?.close()
  })

  const protocols = () => [...server.hub.getActiveClients()].map(({ protocol }) => protocol)

  it('shows telemetry over a WebSocket: the figures change by themselves', async () => {
    const figures = () => page.textContent('#telemetry .meters')
    await expect.poll(figures, WAIT).toMatch(/\d/)
    const first = await figures()
    await expect.poll(figures, WAIT).not.toBe(first)
    expect(protocols()).toContain('websocket')
  })

  it('shows the camera as a live picture over multipart HTTP', async () => {
    const camera = page.locator('#camera img')
    await expect
      .poll(() => page.evaluate("document.querySelector('#camera img').naturalWidth"), WAIT)
      .toBeGreaterThan(100)
    const first = await camera.screenshot()
    await expect.poll(async () => (await camera.screenshot()).equals(first), WAIT).toBe(false)
    expect(protocols()).toContain('multipart')
  })

  it('plays the sound over plain HTTP once asked to', async () => {
    await page.click('#listen')
    await expect.poll(() => page.evaluate("document.querySelector('audio').currentTime"), WAIT).toBeGreaterThan(0.2)
    expect(protocols()).toContain('http-stream')
  })

  it('shows over SSE what each policy does to a client that reads slowly', { timeout: 60_000 }, async () => {
    expect(protocols()).toContain('sse')
    await expect.poll(() => page.locator('#clients .client').count(), WAIT).toBe(7)
    // A quarter of what the camera sends: drop-slow finds its client out, best-effort and latest lose pictures.
    const set = await page.request.post(`${server.url}/demo/speed`, { data: { bytesPerSecond: 40_000 } })
    expect(set.status()).toBe(200)
    await expect.poll(() => server.hub.getConnectionStats().closes.slow ?? 0, WAIT).toBeGreaterThan(0)
    const reasons = () => server.hub.getConnectionStats().drops.map(({ reason }) => reason)
    await expect.poll(reasons, WAIT).toEqual(expect.arrayContaining(['behind', 'conflated']))
    const dropSlow = page.locator('#clients .client', { has: page.locator('h3', { hasText: /^drop-slow$/ }) })
    await expect.poll(() => dropSlow.locator('.figures').textContent(), WAIT).toMatch(/Disconnects\s*[1-9]/)
    const path = process.env.HUBLINE_TEST_SCREENSHOT
    if (path) await page.screenshot({ path, fullPage: true })
  })

  it('says of each dropped message what it was dropped as, or that the client is not told yet', async () => {
    const set = await page.request.post(`${server.url}/demo/speed`, { data: { bytesPerSecond: 0 } })
    expect(set.status()).toBe(200)
    const card = page.locator('#clients .client', { has: page.locator('h3', { hasText: /^best-effort$/ }) })
    const figures = () => card.locator('.figures').textContent()
    await expect.poll(figures, WAIT).toMatch(/not told yet [1-9]/)
    const [, dropped, reasons] = /Dropped\s*(\d+)\D.*Dropped as\s*(.*)/.exec((await figures())!)!
    const sum = [...reasons!.matchAll(/\d+/g)].reduce((total, [count]) => total + Number(count), 0)
    expect(sum).toBe(Number(dropped))
  })

  it('fits a narrow screen', async () => {
    await page.setViewportSize({ width: 400, height: 900 })
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(400)
  })

  it('has no fault in its console, and loads nothing from elsewhere', () => {
    expect(faults).toEqual([])
  })
})
