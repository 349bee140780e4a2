import { WebSocket } from 'ws'

export interface Answer {
  readonly status: number
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: whatever the server says, for a test to compare
  readonly body: any
}

/** One request and its whole answer, read as JSON where there is any. */
export async function ask(url: string, init?: RequestInit): Promise<Answer> {
  const response = await fetch(url, init)
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: text === '' ? undefined : JSON.parse(text) }
}

export function askJson(url: string, body: unknown, method = 'POST'): Promise<Answer> {
  return ask(url, { method, body: JSON.stringify(body), headers: { 'content-type': 'application/json' } })
}

export interface Listener {
  readonly webSocket: WebSocket
  /** What has come so far: text as it is, binary frames as Buffers. */
  readonly heard: (string | Buffer)[]
  /** How it was closed. */
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>
}

/** A WebSocket on one topic, open. */
export async function listen(serverUrl: string, client: string, topic = 'any', headers = {}): Promise<Listener> {
  const webSocket = new WebSocket(`${serverUrl.replace('http', 'ws')}/topics/${topic}?client=${client}`, { headers })
  const heard: (string | Buffer)[] = []
  webSocket.on('message', (data: Buffer, binary) => heard.push(binary ? data : data.toString()))
  const closed = new Promise<{ code: number; reason: string }>(resolve =>
    webSocket.on('close', (code, reason) => resolve({ code, reason: reason.toString() })),
  )
  await new Promise<void>((resolve, reject) => webSocket.on('open', resolve).on('error', reject))
  return { webSocket, heard, closed }
}

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 5))
}
