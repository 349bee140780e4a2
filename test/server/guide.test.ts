import { describe, expect, it } from 'vitest'
import { configSchema } from '../../src/server/config-schema.ts'
import { guideText } from '../../src/server/guide.ts'
import { startTestServer } from './test-server.ts'

const URL = 'http://127.0.0.1:8000'
const ADMIN = 'http://127.0.0.1:8001'

describe('what there is to try', () => {
  it('needs nothing where nobody has to log in', () => {
    const text = guideText(configSchema.parse({}), URL, URL)
    expect(text).toContain(`curl -N ${URL}/topics/hello\n`)
    expect(text).toContain(`curl ${URL}/api/clients\n`)
    expect(text).not.toMatch(/TOKEN|KEY|authorization/)
  })

  it('brings a token and a key where they are asked for, and names no topic that is refused', () => {
    const config = configSchema.parse({ unknownTopics: 'refuse', sessions: { mode: 'jwt' } })
    const text = guideText(config, URL, ADMIN)
    expect(text).toContain(`curl -N -H "authorization: Bearer $TOKEN" ${URL}/topics/TOPIC\n`)
    expect(text).toContain(`curl -H "authorization: Bearer $KEY" ${ADMIN}/api/clients\n`)
    expect(text).not.toMatch(/hello|any name/)
  })

  it('does not tell strangers where operators are', async () => {
    const server = await startTestServer({ admin: { port: 0 } })
    const text = await (await fetch(server.url)).text()
    await server.close()
    expect(text).toContain('/topics/hello')
    expect(text).not.toMatch(/\/api|KEY/)
  })
})
