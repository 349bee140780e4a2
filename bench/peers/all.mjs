import { icecast } from './icecast.mjs'
import { mosquitto } from './mosquitto.mjs'
import { nats } from './nats.mjs'
import { nchan } from './nchan.mjs'
import { hubline } from './ours.mjs'
import { bun, nodeHttp, socketIo, uws, ws } from './scripts.mjs'

/** @type {Record<string, import('./peer.mjs').Peer>} by name, ours first */
export const peers = Object.fromEntries(
  [hubline, ws, socketIo, uws, bun, nodeHttp, nchan, nats, mosquitto, icecast].map(peer => [peer.name, peer]),
)
