import type { TopicName } from './ids.ts'
import { MAX_PATTERN_DEPTH, type TopicPattern } from './patterns.ts'

/** What begins with the same segments. */
class Node<T> {
  readonly words = new Map<string, Node<T>>()
  /** Behind a `*`. */
  any: Node<T> | undefined
  /** Of the pattern that ends here. */
  here: T | undefined
  /** Of the pattern that ends here with one `**` more. */
  rest: T | undefined

  get empty(): boolean {
    return this.words.size === 0 && this.any === undefined && this.here === undefined && this.rest === undefined
  }
}

/**
 * Values by pattern, looked up by topic: one step per segment, however many patterns there are. At each step there are
 * two ways at most (the word itself, `*`), so a look-up visits fewer than 2^(MAX_PATTERN_DEPTH + 1) nodes.
 */
export class PatternTrie<T> {
  readonly #root = new Node<T>()
  /** Nodes that look-ups have visited: what they cost. */
  visited = 0

  set(pattern: TopicPattern, value: T): void {
    const { segments, open } = split(pattern)
    let node = this.#root
    for (const segment of segments) node = child(node, segment)
    if (open) node.rest = value
    else node.here = value
  }

  /** And the nodes that only it needed. */
  delete(pattern: TopicPattern): void {
    const { segments, open } = split(pattern)
    const path = [this.#root]
    for (const segment of segments) {
      const next = segment === '*' ? path.at(-1)!.any : path.at(-1)!.words.get(segment)
      if (next === undefined) return
      path.push(next)
    }
    if (open) path.at(-1)!.rest = undefined
    else path.at(-1)!.here = undefined
    for (let at = segments.length; at > 0 && path[at]!.empty; at--) {
      if (segments[at - 1] === '*') path[at - 1]!.any = undefined
      else path[at - 1]!.words.delete(segments[at - 1]!)
    }
  }

  /** Of the most specific pattern that matches. */
  find(topic: TopicName): T | undefined {
    let found: T | undefined
    this.#walk(this.#root, segmentsOf(topic), 0, value => {
      found = value
      return true
    })
    return found
  }

  /** Of all patterns that match, the most specific first: the order of `bySpecificity`. */
  all(topic: TopicName): T[] {
    const found: T[] = []
    this.#walk(this.#root, segmentsOf(topic), 0, value => {
      found.push(value)
      return false
    })
    return found
  }

  /** Words before `*` before `**`, from the left. Ends, and answers true, once `visit` does. */
  #walk(node: Node<T>, segments: readonly string[], at: number, visit: (value: T) => boolean): boolean {
    this.visited++
    if (at === segments.length) return node.here !== undefined && visit(node.here)
    const word = node.words.get(segments[at]!)
    if (word && this.#walk(word, segments, at + 1, visit)) return true
    if (node.any && this.#walk(node.any, segments, at + 1, visit)) return true
    return node.rest !== undefined && visit(node.rest)
  }
}

/** No pattern looks further. */
function segmentsOf(topic: TopicName): string[] {
  return topic.split('/', MAX_PATTERN_DEPTH + 1)
}

function split(pattern: TopicPattern): { segments: string[]; open: boolean } {
  const segments = pattern.split('/')
  const open = segments.at(-1) === '**'
  return { segments: open ? segments.slice(0, -1) : segments, open }
}

function child<T>(node: Node<T>, segment: string): Node<T> {
  if (segment === '*') {
    node.any ??= new Node()
    return node.any
  }
  let known = node.words.get(segment)
  if (known === undefined) {
    known = new Node()
    node.words.set(segment, known)
  }
  return known
}
