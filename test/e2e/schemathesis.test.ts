import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { expect, it } from 'vitest'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { startTestServer } from '../server/test-server.ts'

const PROGRAM = '.hubline/schemathesis/bin/schemathesis'
const missing = !existsSync(PROGRAM)
const required = process.env.HUBLINE_TEST_REQUIRE_ALL === '1'
if (missing && !required) {
  console.log('Skipped: the check of the API needs schemathesis; npm run setup:schemathesis installs it (pip).')
}

/** Each value at its bounds and beyond, of every operation: the same requests at every run. schemathesis.toml says what is left out. */
const PHASES = ['--phases', 'coverage']

it.skipIf(missing && !required)(
  'schemathesis finds nothing in the API and the public routes',
  { timeout: 180_000 },
  async () => {
    await using server = Object.assign(await startTestServer(), {
      async [Symbol.asyncDispose]() {
        server.hub.events.removeAllListeners('unregister')
        await server.close()
      },
    })
    const { hub } = server
    const connect = (id: string): void => {
      if ([...hub.getActiveClients()].some(client => client.id === id)) return
      hub.registerClient(id, new FakeConnection())
      hub.subscribe(id, 'news/one')
    }
    connect('ada')
    connect('bob')
    // An operation that disconnects them is followed by others that need them.
    hub.events.on('unregister', ({ id }) => {
      if (id === 'ada' || id === 'bob') setImmediate(connect, id)
    })
    hub.routeData('news/one', Buffer.from('{"n":1}'), { contentType: 'application/json' })
    const { code, output } = await run(`${server.url}/api/openapi.json`)
    expect({ code, output: code === 0 ? '' : output }).toEqual({ code: 0, output: '' })
    expect(output).toMatch(/Tested: *\d{2}/)
  },
)

function run(url: string): Promise<{ readonly code: number; readonly output: string }> {
  const args = ['--config-file', 'schemathesis.toml', 'run', url, '--no-color', ...PHASES]
  return new Promise(resolve => {
    execFile(PROGRAM, args, { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), output: stdout + stderr })
    })
  })
}
