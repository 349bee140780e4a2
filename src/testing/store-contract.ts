import assert from 'node:assert/strict'
import { checkValue, having } from '../core/options.ts'
import type { ConnectionRecord, ConnectionStore } from '../stores/connection-store.ts'
import type { ContractCase } from './policy-contract.ts'

export interface StoreHarness {
  /** A new store that holds nothing. The case closes it. */
  store(): ConnectionStore | Promise<ConnectionStore>
  /** The store's clock: wall time, in ms since 1970. */
  now(): number
  /** Moves it on. With a clock that cannot be moved, waits. */
  advance(ms: number): void | Promise<void>
}

/** What a separator, a pattern, an escape or an encoding could take for something else, or for each other. */
const STRANGE = [
  ...['', ' ', '*', ':', '{a}', '"', '\\', '\n', '\0', '%3A', '__proto__', 'null', '0'],
  ...['user', 'user:a', 'node:a', 'a:user', 'é', 'e\u0301', '木', '👩‍🚀', '\ud83d', '\ud83e'],
  'x'.repeat(1000),
]

const RESTORE = {
  url: 'https://example.org/hook?a=1&b=%20',
  headers: { authorization: 'Bearer "é\\"', empty: '' },
  topics: [{ name: 'a/b', after: null }, {}, [], ['👩‍🚀', '\u0000', '\ud83d']],
  limits: { rate: 0.1, bytes: 2 ** 53 - 1, negative: -0.5 },
  on: true,
}

function record(id: string, more: Partial<ConnectionRecord> = {}): ConnectionRecord {
  return { id, node: 'n1', protocol: 'websocket', connectedAt: 1_700_000_000_000, ...more }
}

const ids = (records: readonly ConnectionRecord[]): string[] => records.map(({ id }) => id).sort()

const harnessRule = having('a harness', 'store', 'now', 'advance')

/** What every connection store must keep. */
export function storeContract(harness: StoreHarness): ContractCase[] {
  checkValue(harness, harnessRule, 'harness')
  const { store: newStore, now, advance } = harness
  function contractCase(name: string, check: (store: ConnectionStore) => Promise<void>): ContractCase {
    return {
      name,
      async run() {
        const store = await newStore()
        try {
          await check(store)
        } finally {
          await store.close()
        }
      },
    }
  }

  return [
    contractCase('gives back what was put, field for field', async store => {
      const full = record('a', {
        user: 'ada',
        lastSendAt: 1_700_000_000_001,
        expiresAt: now() + 60_000,
        restore: RESTORE,
      })
      const least = record('b', { node: 'n2' })
      await store.put(full)
      await store.put(least)
      assert.deepEqual(await store.get('a'), full)
      assert.deepEqual(await store.get('b'), least)
      assert.deepEqual(await store.listByUser('ada'), [full])
      assert.deepEqual(await store.listByNode('n2'), [least])
    }),

    contractCase('gives back every kind of JSON as what is to be restored', async store => {
      for (const restore of [null, false, 0, '', 'text', [], {}, [null, { a: [] }]]) {
        await store.put(record('a', { restore }))
        assert.deepEqual(await store.get('a'), record('a', { restore }))
      }
    }),

    contractCase('keeps what it was given, whatever becomes of the objects', async store => {
      const put = { ...record('a'), restore: { topics: ['x'] } }
      await store.put(put)
      put.restore.topics.push('y')
      for (const got of [await store.get('a'), ...(await store.listByNode('n1'))])
        (got!.restore as typeof put.restore).topics.push('z')
      assert.deepEqual((await store.get('a'))?.restore, { topics: ['x'] })
    }),

    contractCase('finds nothing where nothing is', async store => {
      assert.equal(await store.get('a'), undefined)
      assert.equal(await store.delete('a'), false)
      assert.deepEqual(await store.listByUser('a'), [])
      assert.deepEqual(await store.listByNode('a'), [])
      await store.touch([])
    }),

    contractCase('replaces a record as a whole, and moves it to its new user and node', async store => {
      await store.put(record('a', { user: 'ada', lastSendAt: 1, expiresAt: now() + 1000, restore: 1 }))
      await store.put(record('a', { user: 'bob', node: 'n2' }))
      assert.deepEqual(await store.get('a'), record('a', { user: 'bob', node: 'n2' }))
      assert.deepEqual([await store.listByUser('ada'), await store.listByNode('n1')], [[], []])
      assert.deepEqual(ids(await store.listByUser('bob')), ['a'])
      await store.put(record('a', { node: 'n2' }))
      assert.deepEqual(await store.listByUser('bob'), [])
      assert.deepEqual(ids(await store.listByNode('n2')), ['a'])
      await advance(2000)
      assert.deepEqual(await store.get('a'), record('a', { node: 'n2' }))
      assert.deepEqual(ids(await store.listByNode('n2')), ['a'])
    }),

    contractCase('touch changes what each names, and nothing else', async store => {
      const [a, b] = [record('a', { user: 'ada', restore: RESTORE }), record('b', { lastSendAt: 1 })]
      await store.put(a)
      await store.put(b)
      const expiresAt = now() + 60_000
      await store.touch([{ id: 'a', lastSendAt: 5 }, { id: 'b', expiresAt }, { id: 'a' }])
      assert.deepEqual(await store.get('a'), { ...a, lastSendAt: 5 })
      assert.deepEqual(await store.get('b'), { ...b, expiresAt })
      await store.touch([{ id: 'a', lastSendAt: 6, expiresAt }])
      assert.deepEqual(await store.listByUser('ada'), [{ ...a, lastSendAt: 6, expiresAt }])
    }),

    contractCase('touch passes over what is not there, and makes nothing of it', async store => {
      await store.put(record('a'))
      await store.put(record('gone', { user: 'ada' }))
      await store.delete('gone')
      const expiresAt = now() + 60_000
      await store.touch(['unknown', 'gone', 'a'].map(id => ({ id, lastSendAt: 7, expiresAt })))
      assert.deepEqual([await store.get('unknown'), await store.get('gone')], [undefined, undefined])
      assert.deepEqual(await store.listByNode('n1'), [record('a', { lastSendAt: 7, expiresAt })])
      assert.deepEqual(await store.listByUser('ada'), [])
    }),

    contractCase('delete says whether it was there, and takes it out of every list', async store => {
      await store.put(record('a', { user: 'ada' }))
      await store.put(record('b', { user: 'ada' }))
      assert.deepEqual([await store.delete('a'), await store.delete('a')], [true, false])
      assert.equal(await store.get('a'), undefined)
      assert.deepEqual(ids(await store.listByUser('ada')), ['b'])
      assert.deepEqual(ids(await store.listByNode('n1')), ['b'])
    }),

    contractCase('lists by user and by node', async store => {
      await store.put(record('a', { user: 'ada' }))
      await store.put(record('b', { user: 'ada', node: 'n2' }))
      await store.put(record('c', { user: 'bob' }))
      await store.put(record('d'))
      assert.deepEqual(ids(await store.listByUser('ada')), ['a', 'b'])
      assert.deepEqual(ids(await store.listByUser('bob')), ['c'])
      assert.deepEqual(ids(await store.listByNode('n1')), ['a', 'c', 'd'])
      assert.deepEqual(ids(await store.listByNode('n2')), ['b'])
    }),

    contractCase('does not find a record whose time has come, by any method', async store => {
      const expiresAt = now() + 1000
      for (const id of ['got', 'touched', 'deleted', 'listed']) await store.put(record(id, { user: 'ada', expiresAt }))
      await store.put(record('stays', { user: 'ada' }))
      assert.equal((await store.listByUser('ada')).length, 5)
      await advance(1000)
      assert.equal(await store.get('got'), undefined)
      await store.touch([{ id: 'touched', lastSendAt: 1, expiresAt: now() + 60_000 }])
      assert.equal(await store.get('touched'), undefined)
      assert.equal(await store.delete('deleted'), false)
      assert.deepEqual(ids(await store.listByUser('ada')), ['stays'])
      assert.deepEqual(ids(await store.listByNode('n1')), ['stays'])
      assert.equal(await store.delete('stays'), true)
    }),

    contractCase('touch moves the time of a record, either way', async store => {
      const expiresAt = now() + 1000
      for (const id of ['longer', 'shorter', 'as before']) await store.put(record(id, { user: 'ada', expiresAt }))
      await store.put(record('now with an end', { user: 'ada' }))
      await store.touch([
        { id: 'longer', expiresAt: expiresAt + 60_000 },
        { id: 'shorter', expiresAt: expiresAt - 500 },
        { id: 'as before', lastSendAt: 1 },
        { id: 'now with an end', expiresAt },
      ])
      await advance(500)
      assert.deepEqual(ids(await store.listByUser('ada')), ['as before', 'longer', 'now with an end'])
      await advance(500)
      assert.deepEqual(ids(await store.listByUser('ada')), ['longer'])
      assert.deepEqual(ids(await store.listByNode('n1')), ['longer'])
    }),

    contractCase('refuses a time that is no number, and changes nothing', async store => {
      const a = record('a', { user: 'ada', expiresAt: now() + 60_000 })
      await store.put(a)
      await store.put(record('b'))
      for (const time of [Number.NaN, Number.POSITIVE_INFINITY]) {
        await assert.rejects(store.put({ ...a, user: 'bob', expiresAt: time }), /expiresAt/)
        await assert.rejects(store.put({ ...a, user: 'bob', connectedAt: time }), /connectedAt/)
        const touches = [
          { id: 'b', lastSendAt: 1 },
          { id: 'a', lastSendAt: time },
        ]
        await assert.rejects(store.touch(touches), /lastSendAt/)
      }
      assert.deepEqual([await store.get('a'), await store.get('b')], [a, record('b')])
      assert.deepEqual([ids(await store.listByUser('ada')), await store.listByUser('bob')], [['a'], []])
    }),

    contractCase('takes any text for an id, a user and a node, and mixes none of them up', async store => {
      for (const text of STRANGE) await store.put(record(text, { user: text, node: text, protocol: text }))
      for (const text of STRANGE) {
        const expected = record(text, { user: text, node: text, protocol: text })
        assert.deepEqual(await store.get(text), expected)
        assert.deepEqual(await store.listByUser(text), [expected])
        assert.deepEqual(await store.listByNode(text), [expected])
      }
      await store.touch(STRANGE.map((id, i) => ({ id, lastSendAt: i })))
      for (const [i, text] of STRANGE.entries()) assert.equal((await store.get(text))?.lastSendAt, i)
      for (const text of STRANGE) assert.equal(await store.delete(text), true)
      for (const text of STRANGE) assert.deepEqual(await store.listByUser(text), [])
    }),

    contractCase('takes a thousand records at once', async store => {
      const all = Array.from({ length: 1000 }, (_, i) => record(`c${i}`, { user: `u${i % 10}`, node: `n${i % 2}` }))
      await Promise.all(all.map(each => store.put(each)))
      assert.deepEqual(await Promise.all(all.map(({ id }) => store.get(id))), all)
      assert.equal((await store.listByUser('u3')).length, 100)
      await store.touch(all.map(({ id }) => ({ id, lastSendAt: 9 })))
      const touched = await store.listByNode('n1')
      assert.deepEqual([touched.length, touched.every(({ lastSendAt }) => lastSendAt === 9)], [500, true])
      const deleted = await Promise.all(all.map(({ id }) => store.delete(id)))
      assert.ok(deleted.every(Boolean))
      assert.deepEqual([await store.listByUser('u3'), await store.listByNode('n1')], [[], []])
    }),

    contractCase('does what one caller asks in the order of the calls, awaited or not', async store => {
      const asked: Promise<unknown>[] = []
      for (let i = 0; i < 50; i++) {
        asked.push(store.put(record('last deleted', { user: `u${i % 3}`, node: `n${i % 2}` })))
        asked.push(store.delete('last deleted'))
        asked.push(store.delete('last put'))
        asked.push(store.put(record('last put', { user: `u${i % 3}`, node: `n${i % 2}` })))
      }
      await Promise.all(asked)
      assert.equal(await store.get('last deleted'), undefined)
      assert.deepEqual(await store.get('last put'), record('last put', { user: 'u1', node: 'n1' }))
      const users = await Promise.all(['u0', 'u1', 'u2'].map(user => store.listByUser(user)))
      const nodes = await Promise.all(['n0', 'n1'].map(node => store.listByNode(node)))
      assert.deepEqual(
        [users.map(ids), nodes.map(ids)],
        [
          [[], ['last put'], []],
          [[], ['last put']],
        ],
      )
    }),

    contractCase('can be closed more than once', async store => {
      await store.put(record('a'))
      await Promise.all([store.close(), store.close()])
      await store.close()
    }),
  ]
}
