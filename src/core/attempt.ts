import { checkValue, type Rule } from './options.ts'

/**
 * Runs code that is not the hub's. `failed` gets what it throws, and what its promise rejects with: an unhandled
 * rejection would end the process. Returns what the code returns, or undefined where it throws.
 */
export function attempt<T>(run: () => T, failed: (error: unknown) => void): T | undefined {
  try {
    const answer = run()
    if (answer instanceof Promise) answer.catch(failed)
    return answer
  } catch (error) {
    failed(error)
    return undefined
  }
}

/**
 * Returns what code that is not the hub's has answered. Throws a TypeError for a promise, which the hub cannot wait for
 * here. Its rejection is caught, or it would end the process.
 */
export function atOnce<T>(answer: T, what: string): T {
  if (typeof answer !== 'object' || !(answer instanceof Promise)) return answer
  answer.catch(() => {})
  throw new TypeError(`${what} must answer at once, got a promise`)
}

/**
 * Returns what code that is not the hub's has answered, where it is undefined or passes the rule. Throws a HubError for
 * another value, and a TypeError for a promise.
 */
export function answered<T>(answer: T, rule: Rule, what: string): T {
  if (atOnce(answer, what) !== undefined) checkValue(answer, rule, what)
  return answer
}
