import { describe, expect, it } from 'vitest'
import { memoryStore } from '../../src/stores/memory.ts'
import { RecordIndex } from '../../src/stores/record-index.ts'

const record = (id: string, more: object = {}) => ({ id, node: 'n', protocol: 'websocket', connectedAt: 0, ...more })

describe('memoryStore', () => {
  it('frees records that nobody asks for, a few with every put', async () => {
    let now = 0
    const store = memoryStore({ now: () => now })
    for (let i = 0; i < 1000; i++) await store.put(record(`short ${i}`, { expiresAt: 100 }))
    expect(store.size).toBe(1000)
    now = 100
    for (let i = 0; i < 250; i++) await store.put(record(`long ${i}`))
    expect(store.size).toBe(250)
  })

  it('cannot be filled by records that nobody asks for', async () => {
    let now = 0
    const store = memoryStore({ now: () => now })
    let most = 0
    for (now = 0; now < 5000; now++) {
      await store.put(record(`${now}`, { expiresAt: now + 100 }))
      most = Math.max(most, store.size)
    }
    // 100 are alive at any time; a round over all of them takes 100 / 8 puts.
    expect(most).toBeLessThan(130)
  })

  it('frees what it meets, with its places in the indexes', async () => {
    let now = 0
    const store = memoryStore({ now: () => now })
    for (const id of ['a', 'b', 'c', 'd']) await store.put(record(id, { user: 'ada', expiresAt: 100 }))
    now = 100
    await store.get('a')
    await store.touch([{ id: 'b', lastSendAt: 1 }])
    await store.delete('c')
    expect(store.size).toBe(1)
    await store.listByUser('ada')
    expect(store.size).toBe(0)
    // Were they still in an index, a clock that goes back would bring them to light.
    now = 0
    expect([await store.listByUser('ada'), await store.listByNode('n')]).toEqual([[], []])
  })

  it('holds nothing once closed', async () => {
    const store = memoryStore()
    await store.put(record('a', { user: 'ada' }))
    await store.close()
    expect(store.size).toBe(0)
    expect(await store.listByUser('ada')).toEqual([])
  })
})

describe('RecordIndex', () => {
  it('has no set for an owner without records', () => {
    const index = new RecordIndex()
    const [a, b] = [record('a'), record('b')]
    for (const each of [a, b]) index.add('ada', each)
    index.add('bob', a)
    expect(index.size).toBe(2)
    index.remove('ada', a)
    index.remove('bob', a)
    index.remove('nobody', a)
    expect([index.size, index.of('ada')]).toEqual([1, [b]])
    index.remove('ada', b)
    expect(index.size).toBe(0)
  })
})
