import assert from 'node:assert/strict'
import type { Broker, Publication, RouteResult } from '../core/broker.ts'
import { parseTopicName } from '../core/ids.ts'
import { checkValue, having } from '../core/options.ts'
import type { ContractCase } from './policy-contract.ts'

export interface BrokerHarness {
  /** A new broker, not started. */
  broker(): Broker
  /** Resolves when everything that was published has come back. */
  settled(): Promise<void>
}

const topic = parseTopicName('contract/broker')

function publication(number: number): Publication {
  return {
    topic,
    data: new TextEncoder().encode(`${number}`),
    contentType: 'text/plain',
    key: `k${number}`,
    correlationId: undefined,
  }
}

const harnessRule = having('a harness', 'broker', 'settled')

/** What every broker must keep: own messages come back once, in order, unchanged. */
export function brokerContract(harness: BrokerHarness): ContractCase[] {
  checkValue(harness, harnessRule, 'harness')
  const { broker: newBroker, settled } = harness
  async function start() {
    const broker = newBroker()
    const came: Publication[] = []
    await broker.start((publication): RouteResult => {
      came.push(publication)
      return { position: { epoch: 'e', seq: came.length }, matched: 0, behind: 0, unsupported: 0 }
    })
    return { broker, came }
  }

  return [
    {
      name: 'brings the publisher its own message, once and unchanged',
      async run() {
        const { broker, came } = await start()
        await broker.join(topic)
        await broker.publish(publication(1))
        await settled()
        assert.deepEqual(came, [publication(1)])
        await broker.close()
      },
    },
    {
      name: 'keeps the order of what one publisher published',
      async run() {
        const { broker, came } = await start()
        await broker.join(topic)
        for (let i = 0; i < 100; i++) await broker.publish(publication(i))
        await settled()
        assert.deepEqual(
          came.map(({ key }) => key),
          Array.from({ length: 100 }, (_, i) => `k${i}`),
        )
        await broker.close()
      },
    },
    {
      name: 'can be joined, left and closed more than once',
      async run() {
        const { broker } = await start()
        await broker.join(topic)
        await broker.join(topic)
        await broker.leave(topic)
        await broker.leave(topic)
        await broker.close()
        await broker.close()
      },
    },
  ]
}
