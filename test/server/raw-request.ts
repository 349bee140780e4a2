import { connect } from 'node:net'

export interface RawAnswer {
  readonly status: number
  readonly head: string
  readonly body: string
}

/** Sends exactly these bytes and reads until the server closes, or for as long as the answer's own length says. */
export function rawRequest(url: string, text: string | Buffer): Promise<RawAnswer> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(text))
    let data = ''
    const answer = (): RawAnswer | undefined => {
      const end = data.indexOf('\r\n\r\n')
      if (end === -1) return undefined
      const head = data.slice(0, end)
      return { status: Number(head.split(' ')[1]), head, body: data.slice(end + 4) }
    }
    socket.on('data', piece => {
      data += piece.toString('latin1')
      const now = answer()
      const length = Number(/content-length: (\d+)/i.exec(now?.head ?? '')?.[1] ?? Number.NaN)
      if (now && (now.status === 101 || now.body.length >= length)) socket.destroy()
    })
    socket.on('close', () => {
      const last = answer()
      if (last) resolve(last)
      else reject(new Error(`no answer, only ${JSON.stringify(data)}`))
    })
    socket.on('error', () => {})
  })
}

export function upgradeRequest(
  path: string,
  headers: Record<string, string> = {},
  line = `GET ${path} HTTP/1.1`,
): string {
  const all = {
    Host: 'localhost',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version': '13',
    ...headers,
  }
  const lines = Object.entries(all).flatMap(([name, value]) => (value === '' ? [] : [`${name}: ${value}`]))
  return `${[line, ...lines].join('\r\n')}\r\n\r\n`
}
