import { createSocket, type Socket } from 'node:dgram'
import type { LookupAddress } from 'node:dns'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { nameResolver } from '../../src/transports/name-resolver.ts'

const sockets: Socket[] = []
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close()
})

const IPV4_QUESTION = 1
const NO_SUCH_NAME = 0x8183
const FOUND = 0x8180

/** A name server (RFC 1035) that answers questions for IPv4 with `address`, all others with nothing; or never answers. */
async function nameServer(address: readonly number[] | 'unknown' | 'silent'): Promise<string> {
  const socket = createSocket('udp4')
  sockets.push(socket)
  socket.on('message', (question, { port }) => {
    if (address === 'silent') return
    const kind = question.readUInt16BE(question.indexOf(0, 12) + 1)
    const known = address !== 'unknown' && kind === IPV4_QUESTION
    const end = question.indexOf(0, 12) + 5
    const answer = known ? [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...address] : []
    const reply = Buffer.concat([question.subarray(0, end), Buffer.from(answer)])
    reply.writeUInt16BE(address === 'unknown' ? NO_SUCH_NAME : FOUND, 2)
    reply.writeUInt16BE(known ? 1 : 0, 6)
    reply.writeUInt32BE(0, 8)
    socket.send(reply, port, '127.0.0.1')
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return `127.0.0.1:${(socket.address() as AddressInfo).port}`
}

async function addressesOf(hostname: string, server: string): Promise<LookupAddress[] | string | undefined> {
  const resolve = nameResolver({ servers: [server], timeoutMs: 100 })
  return new Promise(done =>
    resolve(hostname, { all: true }, (error, addresses) => done(error ? error.code : addresses)),
  )
}

describe('the addresses of a name', () => {
  it('are what DNS says', async () => {
    expect(await addressesOf('hook.example.org', await nameServer([192, 0, 2, 7]))).toEqual([
      { address: '192.0.2.7', family: 4 },
    ])
  })

  it('are what the system says where DNS knows no such name, as with /etc/hosts', async () => {
    const found = await addressesOf('localhost', await nameServer('unknown'))
    expect(found).toContainEqual({ address: '127.0.0.1', family: 4 })
  })

  it('are not asked of the system where no name server answers: that would take one of its few threads', async () => {
    // The system would know this one.
    expect(await addressesOf('localhost', await nameServer('silent'))).toBe('ETIMEOUT')
  })
})
