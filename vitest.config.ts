import { defineConfig } from 'vitest/config'

/** These start programs and browsers, wait for real time, measure their own process, replace a module, or test what a module finds out once. */
const OWN_PROCESS = [
  'test/*.test.ts',
  'test/{abuse,cli,e2e,examples}/**/*.test.ts',
  'test/server/edge/connections.test.ts',
  'test/sessions/{api-keys,server}.test.ts',
  'test/transports/direct-write.test.ts',
]

export default defineConfig({
  test: {
    globalSetup: ['test/global-setup.ts'],
    // A hang is found by it, and nothing else: a test that waits is slower on a busy machine.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { interval: 10, timeout: 30_000 } },
    // A build machine has two cores.
    maxWorkers: 2,
    // A test that passes only the second time has found something.
    retry: 0,
    projects: [
      {
        extends: true,
        test: {
          name: 'shared',
          include: ['test/**/*.test.ts'],
          exclude: OWN_PROCESS,
          // The files of a worker share the modules of src: to load them takes longer than most files.
          isolate: false,
        },
      },
      {
        extends: true,
        test: {
          name: 'own',
          include: OWN_PROCESS,
          // Most of them wait most of the time.
          maxWorkers: 4,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
