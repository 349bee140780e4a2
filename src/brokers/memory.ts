import type { Broker, Sink } from '../core/broker.ts'

/** One node: what is published comes back at once. */
export function memoryBroker(): Broker {
  let sink: Sink
  return {
    name: 'memory',
    start(to) {
      sink = to
    },
    publish: publication => sink(publication),
    join() {},
    leave() {},
    close() {},
  }
}
