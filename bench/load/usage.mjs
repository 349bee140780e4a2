import { readdirSync, readFileSync } from 'node:fs'

/** A process and all that it started. */
export function processTree(pid) {
  const pids = [pid]
  for (const each of pids) {
    for (const task of tasks(each))
      pids.push(...(read(`/proc/${each}/task/${task}/children`)?.trim().split(' ').filter(Boolean).map(Number) ?? []))
  }
  return pids
}

/** CPU time that the processes have used, all threads, in microseconds. Threads that ended meanwhile are not in it. */
export function cpuMicros(pids) {
  let nanos = 0
  for (const pid of pids) {
    for (const task of tasks(pid)) nanos += Number(read(`/proc/${pid}/task/${task}/schedstat`)?.split(' ')[0] ?? 0)
  }
  return nanos / 1000
}

/** Resident memory of the processes in bytes; shared pages count in each. */
export function residentBytes(pids) {
  let kib = 0
  for (const pid of pids) kib += Number(/^VmRSS:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`) ?? '')?.[1] ?? 0)
  return kib * 1024
}

function tasks(pid) {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
}

function read(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
