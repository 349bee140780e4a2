// Prints vitest's JSON report as one line, and fails where a test failed, none ran, or one was skipped that must not be.
import { readFileSync } from 'node:fs'

/** @typedef {{status: string, assertionResults: {status: string}[]}} TestFile */
/** @type {{testResults: TestFile[]}} */
const report = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8'))
const outcomes = report.testResults.flatMap(file => {
  const tests = file.assertionResults.map(({ status }) => status)
  // A file that does not load, or whose hook throws, fails without a test that did.
  return file.status === 'failed' && !tests.includes('failed') ? [...tests, 'failed'] : tests
})
const passed = outcomes.filter(status => status === 'passed').length
const failed = outcomes.filter(status => status === 'failed').length
const skipped = outcomes.length - passed - failed
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`)
if (failed > 0 || passed === 0 || (skipped > 0 && process.env.HUBLINE_TEST_REQUIRE_ALL)) process.exitCode = 1
