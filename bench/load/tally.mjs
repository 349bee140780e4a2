import { build } from 'hdr-histogram-js'

/** What the receivers of one round saw. */
export class Tally {
  payloadBytes = 128
  deliveries = 0
  bytes = 0
  lost = 0
  disordered = 0
  closed = 0
  /** Microseconds of the process's clock. */
  last = 0
  #latency = build({
    bitBucketSize: 32,
    lowestDiscernibleValue: 1,
    highestTrackableValue: 120_000_000,
    numberOfSignificantValueDigits: 2,
  })
  #value = -1
  #times = 0

  begin() {
    this.deliveries = this.bytes = this.lost = this.disordered = this.closed = this.last = 0
    this.#latency.reset()
    this.#value = -1
    this.#times = 0
  }

  /**
   * @param {number} micros from publish to here
   * @param {number} step 0: the next of its topic; more: so many were skipped; less: it was here before
   * @param {number} now
   */
  deliver(micros, step, now) {
    this.deliveries++
    this.last = now
    if (step > 0) this.lost += step
    else if (step < 0) this.disordered++
    // Messages of one batch have the same latency or nearly so: recorded together.
    if (micros === this.#value) this.#times++
    else {
      this.#record()
      this.#value = micros
      this.#times = 1
    }
  }

  #record() {
    if (this.#times > 0) this.#latency.recordValueWithCount(Math.max(0, this.#value), this.#times)
    this.#times = 0
  }

  report() {
    this.#record()
    this.#value = -1
    const { deliveries, bytes, lost, disordered, closed } = this
    const at = (/** @type {number} */ percentile) => this.#latency.getValueAtPercentile(percentile) / 1000
    const latencyMs = { p50: at(50), p99: at(99), p999: at(99.9), max: this.#latency.maxValue / 1000 }
    return { deliveries, bytes, lost, disordered, closed, latencyMs }
  }
}
