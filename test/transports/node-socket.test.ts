import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { expect, it, vi } from 'vitest'
import { rawCodec } from '../../src/transports/codecs.ts'
import { NodeSocket } from '../../src/transports/node-socket.ts'

/** With a Node whose handles look different this goes red: then everything still works, but below the stream is no shortcut any more. */
it('after the first write of a real socket its stream is passed by, and every byte arrives in order', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const peer = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [socket] = (await once(server, 'connection')) as [Socket]
  const connection = new NodeSocket(socket, { protocol: 'raw', codec: rawCodec, farewell: () => void socket.end() })
  const streamed = vi.spyOn(socket, 'write')
  const texts = Array.from({ length: 20 }, (_, i) => `message ${i}\n`)
  for (const text of texts) expect(connection.write(Buffer.from(text), false)).toBe('ok')
  // The first of all shows how, where no other socket of this process has; the first of each shows that its stream is empty.
  expect(streamed.mock.calls.length).toBeLessThanOrEqual(2)
  connection.close('shutdown')
  let read = ''
  for await (const data of peer) read += data
  expect(read).toBe(texts.join(''))
  server.close()
})

it.each(['slow', 'lost', 'ended'] as const)(
  'a peer that reads nothing and has said its end is let go of when it is %s',
  async reason => {
    const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const peer = connect((server.address() as AddressInfo).port, '127.0.0.1').pause()
    const [socket] = (await once(server, 'connection')) as [Socket]
    const connection = new NodeSocket(socket, { protocol: 'raw', codec: rawCodec, farewell: () => void socket.end() })
    while (connection.write(Buffer.alloc(256 * 1024), false) === 'ok') await new Promise(setImmediate)
    const closed = once(socket, 'close')
    // As Node does when the peer has said its end: ours waits below the stream, behind what is not read.
    socket.end()
    connection.close(reason)
    await closed
    peer.destroy()
    server.close()
    await once(server, 'close')
  },
)
