/**
 * `hubline/testing`: fakes on a clock of your own, and the contracts that every policy, transport, broker and store
 * must keep.
 */
export { type BrokerHarness, brokerContract } from './broker-contract.ts'
export {
  FakeConnection,
  type FakeConnectionOptions,
  FakeRequestConnection,
  fakeCodec,
  type Received,
} from './fake-connection.ts'
export { ManualScheduler } from './manual-scheduler.ts'
export {
  type Answer,
  type Answers,
  type HubCall,
  type HubMethod,
  MockConnectionManager,
} from './mock-connection-manager.ts'
export { mayRead, type Pace, PacedReader } from './pace.ts'
export { type ContractCase, type PolicyHarness, policyContract } from './policy-contract.ts'
export { type PeerEnd, SlowPeer, type SlowPeerOptions } from './slow-peer.ts'
export { type StoreHarness, storeContract } from './store-contract.ts'
export { type TransportHarness, type TransportPeer, transportContract } from './transport-contract.ts'
