import { prepare } from '../scripts/prepare/steps.mjs'

/** Tests that start the command line run what is built: for `npx vitest`, which no pretest script goes before. */
export const setup = (): Promise<void> => prepare()
