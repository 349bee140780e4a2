import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/global-setup.ts'],
    testTimeout: 20_000,
    hookTimeout: 30_000,
    // Some tests measure time, and a build machine has two cores.
    maxWorkers: 2,
    // A test that passes only the second time has found something.
    retry: 0,
  },
})
