import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { describe, expect, it, vi } from 'vitest'
import { keepAlive } from '../../../src/server/api/event-stream.ts'
import { ManualHeartbeat } from '../../transports/client-peer.ts'

describe('the keep-alive of a stream of events', () => {
  function setUp() {
    const heartbeat = new ManualHeartbeat()
    const response = new ServerResponse(new IncomingMessage(new Socket()))
    const failed = vi.fn()
    const write = vi.spyOn(response, 'write')
    response.on('error', failed)
    keepAlive(response, heartbeat)
    return { heartbeat, response, failed, write }
  }

  it('is a comment at each heartbeat, until the response closes', () => {
    const { heartbeat, response, write } = setUp()
    heartbeat.beat()
    heartbeat.beat()
    expect(write.mock.calls).toEqual([[':\n\n'], [':\n\n']])
    response.emit('close')
    expect(heartbeat.clients).toBe(0)
  })

  it('writes nothing behind the end of a response that its peer has not read yet', async () => {
    const { heartbeat, response, failed, write } = setUp()
    response.end()
    heartbeat.beat()
    await new Promise(setImmediate)
    expect(write).not.toHaveBeenCalled()
    expect(failed).not.toHaveBeenCalled()
  })
})
