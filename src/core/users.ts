import type { Registration } from './client.ts'
import { HubError } from './errors.ts'
import { shown } from './options.ts'

/**
 * Throws REQUEST_INVALID for a user that is not a string. Undefined is a mistake: it does not mean clients without a
 * user.
 */
export function checkUser(user: unknown): void {
  if (typeof user === 'string') return
  const why = `user must be a string, got ${shown(user)}; clients without a user are reached by their ids`
  throw new HubError('REQUEST_INVALID', why)
}

/**
 * Who is connected as which user. The way back is `client.session.user`; the two are changed together, by the manager
 * alone. A user has few clients (HubLimits.maxClientsPerUser), so one alone is kept without a list, and a list is
 * searched through.
 */
export class Users {
  readonly #clients = new Map<string, Registration | Registration[]>()

  /** Users with at least one client. */
  get size(): number {
    return this.#clients.size
  }

  has(user: string): boolean {
    return this.#clients.has(user)
  }

  count(user: string): number {
    return this.of(user).length
  }

  /** A copy: whoever walks it may end clients meanwhile. */
  of(user: string): Registration[] {
    const known = this.#clients.get(user)
    if (known === undefined) return []
    return Array.isArray(known) ? [...known] : [known]
  }

  names(): Iterable<string> {
    return this.#clients.keys()
  }

  add(client: Registration): void {
    const { user } = client.session
    if (user === undefined) return
    const known = this.#clients.get(user)
    if (known === undefined) this.#clients.set(user, client)
    else if (Array.isArray(known)) known.push(client)
    else this.#clients.set(user, [known, client])
  }

  remove(client: Registration): void {
    const { user } = client.session
    if (user === undefined) return
    const known = this.#clients.get(user)
    if (known === client) this.#clients.delete(user)
    if (!Array.isArray(known)) return
    const at = known.indexOf(client)
    if (at !== -1) known.splice(at, 1)
    if (known.length === 1) this.#clients.set(user, known[0]!)
  }
}
