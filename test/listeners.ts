import type { HubEvents } from '../src/core/events.ts'
import type { Hub } from '../src/hub.ts'

/** Hears of the event before everybody who listens already. */
export function firstListener<E extends keyof HubEvents>(
  { events }: Hub,
  event: E,
  listener: (...args: HubEvents[E]) => void,
): void {
  const others = events.listeners(event)
  events.removeAllListeners(event)
  for (const each of [listener, ...others]) events.on(event, each as never)
}
