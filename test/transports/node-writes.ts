import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/**
 * Does this Node give each write of bytes a request object? From 24.22 on it has none: then every message goes through
 * the stream of its socket.
 */
async function writesHaveRequests(): Promise<boolean> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const peer = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [socket] = (await once(server, 'connection')) as [Socket]
  const { _handle: handle } = socket as unknown as { _handle: { writeBuffer(request: unknown, data: unknown): number } }
  const { writeBuffer } = handle
  let found: unknown
  handle.writeBuffer = (request, data) => {
    found = request
    return writeBuffer.call(handle, request, data)
  }
  await new Promise(resolve => socket.write(new Uint8Array([1]), resolve))
  peer.destroy()
  socket.destroy()
  server.close()
  return typeof found === 'object' && found !== null
}

export const WRITES_HAVE_REQUESTS = await writesHaveRequests()
