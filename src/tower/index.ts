/**
 * `hubline/tower`: the Tower HTTP contract, an internet radio's connection manager, as an adapter and a policy on a
 * hub.
 */
export { fromWorker, type WorkerTower } from './from-worker.ts'
export {
  type AddOptions,
  HTTPConnectionManager,
  type TowerOptions,
  type TowerStats,
} from './http-connection-manager.ts'
export type { TowerSocket } from './listener.ts'
export type { SendSocket } from './send-socket.ts'
