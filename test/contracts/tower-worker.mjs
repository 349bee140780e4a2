// One of several threads that use one tower at once: see tower-http-connection-manager.test.ts.
import { workerData } from 'node:worker_threads'
import { fromWorker } from '../../dist/tower/index.js'

const { number, rounds, port } = workerData
const tower = fromWorker(port)

/** Takes three bytes at a time, where a broadcast has two: something is always left over. */
class Listener {
  /** @type {number[]} */
  bytes = []

  /** @param {Uint8Array} data */
  send(data) {
    const part = data.subarray(0, 3)
    this.bytes.push(...part)
    return part.byteLength
  }
}

const stays = new Listener()
await tower.addClient(stays, `stays-${number}`)
const result = { number, refused: 0, removedTwice: 0, stays: /** @type {number[]} */ ([]) }
for (let round = 0; round < rounds; round++) {
  const id = `worker-${number}-${round}`
  const added = tower.addClient(new Listener(), id)
  const sent = tower.broadcast(Buffer.from([number, round]))
  const removed = tower.removeClient(id)
  const again = tower.removeClient(id)
  if (!(await added) || (await sent) === undefined || !(await removed)) result.refused++
  if (await again) result.removedTwice++
}
workerData.done.postMessage(result)
workerData.done.on('message', () => {
  workerData.done.postMessage({ ...result, stays: stays.bytes })
})
