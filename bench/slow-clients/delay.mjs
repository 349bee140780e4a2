// A cable with a delay: makes two TUN devices and hands each packet of one to the other some milliseconds later. Needs root, Linux and
// koffi. It is what `tc netem delay` does, for kernels that are built without it: TCP on both sides is the kernel's, and sees the delay.
import { closeSync, openSync } from 'node:fs'
import { createRequire } from 'node:module'

const [near, far, ms] = process.argv.slice(2)
const TUNSETIFF = 0x400454ca
const IFF_TUN_NO_PI = 0x1001
const O_RDWR_NONBLOCK = 0x802
const POLLIN = 1
const MAX_PACKET = 65_536

const c = createRequire(import.meta.url)('koffi').load(null)
const ioctl = c.func('int ioctl(int fd, unsigned long request, void *value)')
const poll = c.func('int poll(void *fds, unsigned long count, int timeout)')
const read = c.func('long read(int fd, void *data, size_t length)')
const write = c.func('long write(int fd, const void *data, size_t length)')

/** @param {string} name */
function device(name) {
  const fd = openSync('/dev/net/tun', O_RDWR_NONBLOCK)
  const request = Buffer.alloc(40)
  request.write(name, 0, 'latin1')
  request.writeUInt16LE(IFF_TUN_NO_PI, 16)
  if (ioctl(fd, TUNSETIFF, request) === 0) return fd
  closeSync(fd)
  throw new Error(`${name}: the kernel makes no TUN device`)
}

/**
 * @typedef {object} Direction
 * @property {number} from
 * @property {number} to
 * @property {{ due: number, packet: Uint8Array }[]} underway
 */
const ends = [device(String(near)), device(String(far))]
const directions = ends.map((from, i) => /** @type {Direction} */ ({ from, to: ends[1 - i], underway: [] }))
// struct pollfd: fd, events, revents
const fds = new Int32Array(ends.flatMap(fd => [fd, POLLIN]))
const buffer = new Uint8Array(MAX_PACKET)
console.log('there')

/** @param {Direction} direction */
function take({ from, underway }) {
  for (;;) {
    const bytes = Number(read(from, buffer, MAX_PACKET))
    if (bytes <= 0) return
    underway.push({ due: performance.now() + Number(ms), packet: buffer.slice(0, bytes) })
  }
}

/** @param {Direction} direction */
function deliver({ to, underway }) {
  const now = performance.now()
  let count = 0
  while (count < underway.length && /** @type {{ due: number }} */ (underway[count]).due <= now) count++
  for (const { packet } of underway.splice(0, count)) write(to, packet, packet.byteLength)
}

for (;;) {
  const next = Math.min(...directions.map(({ underway: [first] }) => first?.due ?? Number.POSITIVE_INFINITY))
  const wait = Number.isFinite(next) ? Math.max(0, Math.ceil(next - performance.now())) : 1000
  poll(fds, fds.length / 2, wait)
  for (const direction of directions) take(direction)
  for (const direction of directions) deliver(direction)
}
