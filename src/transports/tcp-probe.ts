import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'

/** What the kernel may hide of one connection; set when it is accepted. Absent: as the system has it. */
export interface TcpBuffers {
  /** TCP_NOTSENT_LOWAT: bytes not sent yet beyond which the kernel takes no more. What is in flight is not counted. */
  readonly notSentLowatBytes?: number | undefined
  /**
   * SO_SNDBUF: bytes sent and not confirmed, and not sent yet; the kernel doubles it for its own books. Fixes the size
   * that it would adapt.
   */
  readonly sendBufferBytes?: number | undefined
}

/**
 * What Node cannot ask the kernel about a TCP socket. No call throws; a socket that is closed, or no TCP socket,
 * answers undefined.
 */
export interface TcpProbe {
  /** SIOCOUTQ: bytes that the peer's host has not confirmed. One system call, under a microsecond. */
  unacknowledged(socket: Socket): number | undefined
  /** The shortest round trip that the kernel saw, in ms (tcpi_min_rtt of TCP_INFO, 0.001 ms steps). */
  roundTrip(socket: Socket): number | undefined
  /**
   * For how long the peer's host has confirmed nothing although it was asked more than once, in ms; 0 while it does.
   * Who reads nothing is not silent: its host goes on to confirm that. Undefined where the kernel cannot be asked.
   */
  silence(socket: Socket): number | undefined
  tune(socket: Socket, buffers: TcpBuffers): void
  /**
   * TCP_NOTSENT_LOWAT in force: the socket's own, or else the system's (net.ipv4.tcp_notsent_lowat). 4294967295: no
   * bound.
   */
  notSentLowat(socket: Socket): number | undefined
}

/** Numbers of Linux on the processors below; on others some differ. */
const LINUX = {
  SIOCOUTQ: 0x5411,
  SOL_SOCKET: 1,
  SO_SNDBUF: 7,
  IPPROTO_TCP: 6,
  TCP_INFO: 11,
  TCP_NOTSENT_LOWAT: 25,
}
const PROCESSORS: readonly string[] = ['x64', 'arm64', 'arm', 'ia32', 'riscv64', 'loong64']
/** Where struct tcp_info (linux/tcp.h) has tcpi_min_rtt, and how much of it is asked for, in 32-bit words. */
const MIN_RTT_WORD = 37
/** Of the same: tcpi_retransmits and tcpi_probes, in bytes, and tcpi_last_ack_recv (ms), in words. */
const RETRANSMITS_BYTE = 2
const PROBES_BYTE = 3
const LAST_ACK_WORD = 14
/** Attempts in a row without an answer. The first may be on its way. */
const UNANSWERED = 2
const TCP_INFO_WORDS = 38
/** The greatest of its type: no round trip yet, or no bound. */
const NEVER = 0xffffffff

type Loaded =
  | { readonly probe: TcpProbe; readonly missing?: undefined }
  | { readonly missing: string; readonly probe?: undefined }
let loaded: Loaded | undefined

/** The probe, loaded at the first call; undefined where there is none, and `missingTcpProbe` says why. */
export function tcpProbe(): TcpProbe | undefined {
  loaded ??= load()
  return loaded.probe
}

export function missingTcpProbe(): string | undefined {
  loaded ??= load()
  return loaded.missing
}

/**
 * koffi calls the C library. Its binary for this processor is an optional dependency of its own: the package `koffi`
 * has an install script, about which npm warns. Whatever goes wrong here, the hub works without.
 */
function load(): Loaded {
  if (process.platform !== 'linux') return { missing: `it is made for Linux, and this is ${process.platform}` }
  if (!PROCESSORS.includes(process.arch)) return { missing: `it does not know ${process.arch}` }
  try {
    return { probe: bind(createRequire(import.meta.url)(`@koromix/koffi-linux-${process.arch}`)) }
  } catch (error) {
    return { missing: `the package koffi cannot be loaded: ${(error as Error).message.split('\n')[0]}` }
  }
}

function bind(koffi: typeof import('koffi')): TcpProbe {
  const c = koffi.load(null)
  // The buffers are made once and used at once: Node calls from one thread, and each call ends before the next.
  const ioctl = c.func('int ioctl(int fd, unsigned long request, void *value)')
  const getsockopt = c.func('int getsockopt(int fd, int level, int name, void *value, void *length)')
  const setsockopt = c.func('int setsockopt(int fd, int level, int name, const void *value, unsigned int length)')
  const value = new Int32Array(1)
  const length = new Uint32Array(1)
  const info = new Uint32Array(TCP_INFO_WORDS)
  const bytes = new Uint8Array(info.buffer)
  const readInfo = (socket: Socket): boolean => {
    const fd = descriptor(socket)
    length[0] = info.byteLength
    return fd !== undefined && getsockopt(fd, LINUX.IPPROTO_TCP, LINUX.TCP_INFO, info, length) === 0
  }
  const systemLowat = systemNotSentLowat()
  const set = (fd: number, level: number, name: number, to: number | undefined): void => {
    if (to === undefined) return
    value[0] = to
    setsockopt(fd, level, name, value, value.byteLength)
  }
  return {
    unacknowledged(socket) {
      const fd = descriptor(socket)
      return fd !== undefined && ioctl(fd, LINUX.SIOCOUTQ, value) === 0 ? value[0]! : undefined
    },
    roundTrip(socket) {
      return readInfo(socket) && info[MIN_RTT_WORD] !== NEVER ? info[MIN_RTT_WORD]! / 1000 : undefined
    },
    silence(socket) {
      if (!readInfo(socket)) return undefined
      const unanswered = Math.max(bytes[RETRANSMITS_BYTE]!, bytes[PROBES_BYTE]!)
      return unanswered < UNANSWERED ? 0 : info[LAST_ACK_WORD]!
    },
    notSentLowat(socket) {
      const fd = descriptor(socket)
      length[0] = value.byteLength
      if (fd === undefined || getsockopt(fd, LINUX.IPPROTO_TCP, LINUX.TCP_NOTSENT_LOWAT, value, length) !== 0)
        return undefined
      return value[0]! >>> 0 || systemLowat
    },
    tune(socket, { notSentLowatBytes, sendBufferBytes }) {
      const fd = descriptor(socket)
      if (fd === undefined) return
      set(fd, LINUX.IPPROTO_TCP, LINUX.TCP_NOTSENT_LOWAT, notSentLowatBytes)
      set(fd, LINUX.SOL_SOCKET, LINUX.SO_SNDBUF, sendBufferBytes)
    },
  }
}

function systemNotSentLowat(): number {
  try {
    return Number(readFileSync('/proc/sys/net/ipv4/tcp_notsent_lowat', 'utf8'))
  } catch {
    return NEVER
  }
}

/**
 * Node does not document the descriptor, and has kept it there since its first version; a TLS socket's handle answers
 * that of the socket below. It is read at each call, because a closed socket's number soon belongs to another one.
 */
function descriptor(socket: Socket): number | undefined {
  const { _handle: handle } = socket as Socket & { _handle?: { fd?: number } | null }
  return handle?.fd
}
