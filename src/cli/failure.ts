/**
 * Ends the command with a sentence. 1: it was tried and went wrong. 2: what was asked makes no sense, or cannot be
 * read.
 */
export class Failure extends Error {
  readonly exitCode: 1 | 2

  constructor(exitCode: 1 | 2, message: string, options?: ErrorOptions) {
    super(message, options)
    this.exitCode = exitCode
  }
}
