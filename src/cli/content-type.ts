import { InvalidArgumentError } from '../bundled/commander.ts'

/** For a body of which nobody said what it is: the hub looks at it. */
export const UNSAID = 'application/x-www-form-urlencoded'

export function contentType(text: string): string {
  if (/^[\w!#$&^.+-]+\/[\w!#$&^.+*-]+ *(;[\x20-\x7e]*)?$/.test(text)) return text
  throw new InvalidArgumentError('A content type looks like text/plain or audio/mpeg.')
}
