// Garbage is not what an idle connection costs: the bench asks each server with a collector to collect before it reads its memory.
process.on('SIGWINCH', () => {
  globalThis.gc?.()
  globalThis.Bun?.gc(true)
})
