// Prints vitest's result as one line, and fails where a test failed, was skipped, or none ran.
import { readFileSync } from 'node:fs'

const result = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const skipped = result.numPendingTests + result.numTodoTests
console.log(`${result.numPassedTests} passed, ${result.numFailedTests} failed, ${skipped} skipped`)
if (result.numFailedTests > 0 || result.numPassedTests === 0) process.exit(1)
if (skipped > 0 && process.env.HUBLINE_TEST_REQUIRE_ALL) process.exit(1)
