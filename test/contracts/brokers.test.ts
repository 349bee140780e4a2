import { describe, it } from 'vitest'
import { memoryBroker } from '../../src/brokers/memory.ts'
import { brokerContract } from '../../src/testing/broker-contract.ts'

describe('broker contract: memory', () => {
  for (const { name, run } of brokerContract({ broker: memoryBroker, settled: async () => {} })) it(name, run)
})
