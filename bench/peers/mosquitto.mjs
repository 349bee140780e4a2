import { missingOf, printed, startWith } from './debian.mjs'
import { freePort } from './process.mjs'

const MOSQUITTO = '/usr/sbin/mosquitto'
const byte = (...codes) => String.fromCharCode(...codes)
const mqttString = text => byte(text.length >> 8, text.length & 255) + text
const MQTT_CONNECT = {
  send: `${byte(0x10, 12)}${mqttString('MQTT')}${byte(4, 2, 0, 0, 0, 0)}`,
  until: byte(0x20, 2, 0, 0),
}

function mqttSubscribe(topics) {
  const body = byte(0, 1) + topics.map(topic => mqttString(`t${topic}`) + byte(0)).join('')
  const length = body.length < 128 ? [body.length] : [(body.length & 127) | 128, body.length >> 7]
  return { send: byte(0x82, ...length) + body, until: byte(0x90) }
}

/** @type {import('./peer.mjs').Peer} */
export const mosquitto = {
  name: 'mosquitto',
  title: 'mosquitto, MQTT over TCP',
  many: true,
  version: () => printed(MOSQUITTO, '-h'),
  missing: () => missingOf(MOSQUITTO),
  subscribe: { websocket: topics => [MQTT_CONNECT, mqttSubscribe(topics)] },
  publish: () => ({ encoder: 'mqtt', connections: [[MQTT_CONNECT]] }),
  async start({ cpu }) {
    const port = await freePort()
    return startWith({
      command: MOSQUITTO,
      args: file => ['-c', file],
      // Without limits, for it drops what is over them. As root it wants to become someone else, unless told this.
      config: () => `
listener ${port} 127.0.0.1
user root
allow_anonymous true
set_tcp_nodelay true
max_queued_messages 0
max_queued_bytes 0
sys_interval 0
connection_messages false
log_dest stderr
log_type error
`,
      cpu,
      port,
    })
  },
}
