import { hubline } from './ours.mjs'
import { bun, nodeHttp, socketIo, uws, ws } from './scripts.mjs'

/** @type {Record<string, import('./peer.mjs').Peer>} by name, ours first */
export const peers = Object.fromEntries(
  [hubline, ws, socketIo, uws, bun, nodeHttp].map(peer => [peer.name, peer]),
)
