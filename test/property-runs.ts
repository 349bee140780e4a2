/**
 * How many runs a property test makes: `count`, or what HUBLINE_PROPERTY_RUNS says for all of them. The only reader of that variable.
 */
export function runs(count: number): { readonly numRuns: number } {
  return { numRuns: Number(process.env.HUBLINE_PROPERTY_RUNS ?? count) }
}
