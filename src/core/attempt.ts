/**
 * Runs code that is not the hub's. What it throws goes to `failed`, and so does what its promise rejects with: nobody else would catch that,
 * and the process would end. Answers what the code answers; undefined where it throws.
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
