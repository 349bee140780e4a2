import { spawnSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { listen } from '../server/http.ts'
import { startTestServer } from '../server/test-server.ts'

const PROGRAM = 'promtool'
const missing = spawnSync(PROGRAM, ['--version']).error !== undefined
const required = process.env.HUBLINE_TEST_REQUIRE_ALL === '1'
if (missing && !required) {
  console.log(
    'Skipped: the check of the metrics needs promtool; npm run setup:promtool installs it (apt-get, as root).',
  )
}

it.skipIf(missing && !required)('promtool finds nothing in the metrics of a hub that was used', async () => {
  await using server = Object.assign(await startTestServer(), {
    async [Symbol.asyncDispose]() {
      await server.close()
    },
  })
  const { webSocket } = await listen(server.url, 'ada', 'news')
  await fetch(`${server.url}/topics/news`, { method: 'POST', body: 'x' })
  await fetch(`${server.url}/api/clients/ada/send`, { method: 'POST', body: 'x' })
  await fetch(`${server.url}/api/clients/nobody/send`, { method: 'POST', body: 'x' })
  await fetch(`${server.url}/topics/news`, { method: 'POST', body: 'x', headers: { host: 'evil.example' } })
  webSocket.terminate()
  const metrics = await (await fetch(`${server.url}/metrics`)).text()
  const { status, stdout, stderr } = spawnSync(PROGRAM, ['check', 'metrics'], { input: metrics, encoding: 'utf8' })
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' })
})
