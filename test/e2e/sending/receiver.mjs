// Somebody who is called back, to be killed: each message is a line on standard output before it is answered.
import { writeSync } from 'node:fs'
import { createServer } from 'node:http'

const port = Number(process.argv[2])
createServer(async (request, response) => {
  const { 'idempotency-key': id, 'hubline-client': client, 'hubline-event': event } = request.headers
  const body = Buffer.concat(await request.toArray())
  // At once and whole: what is not out when it is killed was not received.
  writeSync(1, `${JSON.stringify({ id, client, event, body: body.toString() })}\n`)
  response.end()
}).listen(port, '127.0.0.1', () => writeSync(1, 'listening\n'))
