/**
 * Every system call that Node does not offer, declared once. Nothing else imports koffi.
 *
 * Pointers are given as plain numbers (user space addresses stay below 2^47): a base address is
 * asked for once per buffer with `addressOf`, and an offset then costs an addition and no object.
 * Whoever keeps an address must keep the buffer too, or the collector frees the memory under it.
 */

import koffi from 'koffi';
import { assert } from '../../base/assert.js';

const libc = koffi.load(null);

// koffi has no ssize_t and size_t; on the Linux targets we support they are long and unsigned long.
type Transfer = (fd: number, address: number, bytes: number, flags: number) => number;
export const recv: Transfer = libc.func(
  'long recv(int fd, void *buffer, unsigned long bytes, int flags)',
);
export const send: Transfer = libc.func(
  'long send(int fd, void *buffer, unsigned long bytes, int flags)',
);
/** One datagram, to the peer at an address in memory. */
export const sendto: (
  fd: number,
  address: number,
  bytes: number,
  flags: number,
  peer: number,
  peerBytes: number,
) => number = libc.func(
  `long sendto(int fd, void *buffer, unsigned long bytes, int flags, void *peer,
    unsigned int peer_bytes)`,
);
/**
 * Several datagrams at once; `headers` is an array of `struct mmsghdr`. The last argument of
 * recvmmsg, a timeout, is 0 for none.
 */
export const recvmmsg: (
  fd: number,
  headers: number,
  count: number,
  flags: number,
  timeout: number,
) => number = libc.func(
  'int recvmmsg(int fd, void *headers, unsigned int count, int flags, unsigned long timeout)',
);
export const sendmmsg: (fd: number, headers: number, count: number, flags: number) => number =
  libc.func('int sendmmsg(int fd, void *headers, unsigned int count, int flags)');
const setsockopt: (
  fd: number,
  level: number,
  option: number,
  value: number,
  bytes: number,
) => number = libc.func(
  'int setsockopt(int fd, int level, int option, void *value, unsigned int bytes)',
);
const getsockopt: (
  fd: number,
  level: number,
  option: number,
  value: number,
  bytes: number,
) => number = libc.func('int getsockopt(int fd, int level, int option, void *value, void *bytes)');
/** Writes the bytes of a numeric host at an address in memory; 1 if it was one. */
export const inetPton: (family: number, host: string, address: number) => number = libc.func(
  'int inet_pton(int family, const char *host, void *address)',
);
/** 0 where there is none of this name. */
export const interfaceIndex: (name: string) => number = libc.func(
  'unsigned int if_nametoindex(const char *name)',
);
/** Ends the process at once; nothing of Node or the C library is told. */
export const exitNow: (code: number) => void = libc.func('void _exit(int code)');
export const schedYield: () => number = libc.func('int sched_yield()');
export const socket: (domain: number, type: number, protocol: number) => number = libc.func(
  'int socket(int domain, int type, int protocol)',
);

export const epollCreate: (flags: number) => number = libc.func('int epoll_create1(int flags)');
export const epollControl: (epoll: number, operation: number, fd: number, event: number) => number =
  libc.func('int epoll_ctl(int epoll, int operation, int fd, void *event)');
export const epollWait: (epoll: number, events: number, max: number, ms: number) => number =
  libc.func('int epoll_wait(int epoll, void *events, int max, int ms)');

export const memfdCreate: (name: string, flags: number) => number = libc.func(
  'int memfd_create(const char *name, unsigned int flags)',
);
export const fallocate: (fd: number, mode: number, offset: number, bytes: number) => number =
  libc.func('int fallocate(int fd, int mode, int64 offset, int64 bytes)');
export const flock: (fd: number, operation: number) => number = libc.func(
  'int flock(int fd, int operation)',
);
const mmap: (
  address: number,
  bytes: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
) => bigint = libc.func(
  'void *mmap(unsigned long at, unsigned long bytes, int prot, int flags, int fd, int64 offset)',
);

type Asynchronous = { async(...parameters: unknown[]): void };

/** In a thread of libuv's pool; resolves to what the call returns. Why it failed is not known. */
function inPool(call: unknown, ...parameters: readonly (number | string)[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, result: number): void => {
      if (error === null) resolve(result);
      else reject(error);
    };
    (call as Asynchronous).async(...parameters, done);
  });
}

const msync = libc.func('int msync(unsigned long at, unsigned long bytes, int flags)');
const MS_SYNC = 4;

/** Of mapped memory at a multiple of 4,096; false if it failed, for whatever reason. */
export async function flushMapped(address: number, bytes: number): Promise<boolean> {
  return (await inPool(msync, address, bytes, MS_SYNC)) === 0;
}

const libcRead = libc.func('long read(int fd, void *bytes, unsigned long count)');
const libcWrite = libc.func('long write(int fd, void *bytes, unsigned long count)');
const libcPoll = libc.func('int poll(void *descriptors, unsigned long count, int ms)');
export const read: (fd: number, address: number, bytes: number) => number = libcRead;
export const write: (fd: number, address: number, bytes: number) => number = libcWrite;
/** Of what lasts until it lasts no more: it holds up nobody but who waits for it. */
export function writeLater(fd: number, address: number, bytes: number): Promise<number> {
  return inPool(libcWrite, fd, address, bytes);
}
export const POLLIN = 1;
/** Until one of an array of `struct pollfd` is ready, or so long. */
export function waitReady(address: number, count: number, ms: number): Promise<number> {
  return inPool(libcPoll, address, count, ms);
}
const syncfs = libc.func('int syncfs(int fd)');
/** All that is to be written of the file system in which a file is. */
export function syncFileSystem(fd: number): Promise<number> {
  return inPool(syncfs, fd);
}
export const eventfd: (count: number, flags: number) => number = libc.func(
  'int eventfd(unsigned int count, int flags)',
);
export const EFD_CLOEXEC = 0x80000;

const lseek = libc.func('int64 lseek(int fd, int64 offset, int whence)');
const SEEKS = { end: 2, data: 3, hole: 4 } as const;
/** Where the next stretch of a file begins that holds something, or does not; -1: none. Its end. */
export function seekInFile(fd: number, offset: number, kind: keyof typeof SEEKS): number {
  return Number(lseek(fd, offset, SEEKS[kind]));
}
export const madvise: (address: number, bytes: number, advice: number) => number = libc.func(
  'int madvise(uintptr_t address, unsigned long bytes, int advice)',
);
export const mlock2: (address: number, bytes: number, flags: number) => number = libc.func(
  'int mlock2(uintptr_t address, unsigned long bytes, unsigned int flags)',
);

const SYS_IO_URING_SETUP = 425;
const SYS_IO_URING_REGISTER = 427;
const syscall3 = libc.func('long syscall(long number, unsigned int entries, uintptr_t parameters)');
const syscall5 = libc.func(
  `long syscall(long number, int fd, unsigned int operation, uintptr_t argument,
    unsigned int count)`,
);
/** The descriptor of a ring, or -1. The numbers of these calls are those of every architecture. */
export function ioUringSetup(entries: number, parameters: number): number {
  return Number(syscall3(SYS_IO_URING_SETUP, entries, parameters));
}
export function ioUringRegister(
  fd: number,
  operation: number,
  argument: number,
  count: number,
): number {
  return Number(syscall5(SYS_IO_URING_REGISTER, fd, operation, argument, count));
}
export const swapon: (path: string, flags: number) => number = libc.func(
  'int swapon(const char *path, int flags)',
);
export const mount: (
  source: string,
  folder: string,
  type: string,
  flags: number,
  options: string,
) => number = libc.func(
  `int mount(const char *source, const char *folder, const char *type, unsigned long flags,
    const char *options)`,
);
export const unmount: (folder: string, flags: number) => number = libc.func(
  'int umount2(const char *folder, int flags)',
);
/** With all that is to be written to it; false where it is in use, or is no mount. */
export async function unmountLater(folder: string): Promise<boolean> {
  return (await inPool(unmount, folder, 0)) === 0;
}
/** Nothing in it runs, belongs to another user, or is a device. */
export const MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8;
/** It is gone from its folder at once, and for good when nobody uses it any more. */
export const MNT_DETACH = 2;

const posixFallocate = libc.func('int posix_fallocate(int fd, int64 offset, int64 bytes)');

/** Resolves to 0, or to the number of an error. */
export function allocateFile(fd: number, bytes: number): Promise<number> {
  return inPool(posixFallocate, fd, 0, bytes);
}

const posixFadvise = libc.func('int posix_fadvise(int fd, int64 offset, int64 bytes, int advice)');
const POSIX_FADV_DONTNEED = 4;

/** The machine lets go of the pages of the file that are clean and that nobody has mapped. */
export async function dropCached(fd: number): Promise<void> {
  await inPool(posixFadvise, fd, 0, 0, POSIX_FADV_DONTNEED);
}

const mincore: (address: number, bytes: number, states: Uint8Array) => number = libc.func(
  'int mincore(unsigned long at, unsigned long bytes, _Out_ uint8_t *states)',
);

/** Whether the machine keeps any page of the file in memory; `bytes` are multiples of 4,096. */
export function isCached(fd: number, bytes: number): boolean {
  for (let at = 0; at < bytes; at += VIEW_BYTES_MAX) {
    const length = Math.min(VIEW_BYTES_MAX, bytes - at);
    const address = Number(mapped(0, length, PROT_READ, MAP_SHARED, fd, at));
    const states = new Uint8Array(length / 4096);
    const result = mincore(address, length, states);
    munmap(address, length);
    if (result !== 0) throw new Error(`mincore failed: ${errnoName(lastErrno())}`);
    if (states.some((state) => (state & 1) !== 0)) return true;
  }
  return false;
}

const fcntlLock: (fd: number, command: number, lock: Uint8Array) => number = libc.func(
  'int fcntl(int fd, int command, _Inout_ uint8_t *lock)',
);
const F_OFD_SETLK = 37;
export const LOCK_READ = 0;
export const LOCK_WRITE = 1;
export const LOCK_NONE = 2;

/** Locks a byte for this opening of the file; false where others hold it. */
export function lockByte(fd: number, byte: number, type: number): boolean {
  const lock = new Uint8Array(32);
  const view = new DataView(lock.buffer);
  // struct flock: short type, short whence, long start, long bytes, int process.
  view.setInt16(0, type, true);
  view.setBigInt64(8, BigInt(byte), true);
  view.setBigInt64(16, 1n, true);
  if (fcntlLock(fd, F_OFD_SETLK, lock) === 0) return true;
  const errno = lastErrno();
  if (errno === EAGAIN || errno === EACCES) return false;
  throw new Error(`a file cannot be locked: ${errnoName(errno)}`);
}

export const munmap: (address: number, bytes: number) => number = libc.func(
  'int munmap(unsigned long at, unsigned long bytes)',
);
/** The third argument is an int, or not looked at. */
export const fcntl: (fd: number, command: number, argument: number) => number = libc.func(
  'int fcntl(int fd, int command, int argument)',
);

export const prctl: (option: number, a: number, b: number, c: number, d: number) => number =
  libc.func(
    'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
  );

export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const EPOLL_CLOEXEC = 0x80000;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLLIN = 1;
export const MFD_CLOEXEC = 1;
export const MFD_ALLOW_SEALING = 2;
export const F_ADD_SEALS = 1033;
export const F_GET_SEALS = 1034;
const F_SEAL_SEAL = 1;
const F_SEAL_SHRINK = 2;
const F_SEAL_GROW = 4;
/** Whoever maps the file need not fear that it becomes shorter under the mapping. */
export const SEALS_OF_LENGTH = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW;
export const FALLOC_PUNCH_HOLE_KEEP_SIZE = 0x3;
export const LOCK_EXCLUSIVE_NOW = 2 | 4;
export const PR_SET_PDEATHSIG = 1;
export const SIGKILL = 9;
export const EAGAIN = 11;
export const EINTR = 4;
export const ENOENT = 2;
export const EPERM = 1;
export const ENODEV = 19;
export const ENXIO = 6;
export const EBUSY = 16;
const EACCES = 13;
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
const SOL_SOCKET = 1;
/** Levels of options of their protocols, and what is done about fragments there. */
export const IPPROTO_IP = 0;
export const IPPROTO_IPV6 = 41;
export const IP_MTU_DISCOVER = 10;
export const IPV6_MTU_DISCOVER = 23;
/** No fragments; too long is what the own link does not take, whatever the kernel has heard. */
export const PMTUDISC_PROBE = 3;
export const SO_SNDBUF = 7;
export const SOCK_DGRAM_CLOEXEC = 0x80002;
export const SO_RCVBUF = 8;
export const SO_RCVLOWAT = 18;
/** As the two above and beyond the system's limit, for those who may. */
export const SO_SNDBUFFORCE = 32;
export const SO_RCVBUFFORCE = 33;
/** The time at which each datagram came is told with it; of its message, the type too. */
export const SO_TIMESTAMPNS = 35;
/** What the kernel counts of a socket: nine words, the last of them dropped datagrams. */
export const SO_MEMINFO = 55;
export const MEMINFO_WORDS = 9;
export const MEMINFO_DROPS_WORD = 8;
const PROT_NONE = 0;
const PROT_READ = 1;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
/** Longer views end the whole process instead of throwing. */
const VIEW_BYTES_MAX = 2 ** 30;

/** The reason of the last failed call on this thread; ask at once, or V8 may have made calls. */
export function lastErrno(): number {
  return koffi.errno();
}

export function errnoName(errno: number): string {
  for (const [name, value] of Object.entries(koffi.os.errno)) if (value === errno) return name;
  return `errno ${errno}`;
}

const clockGettime: (clock: number, time: number) => number = libc.func(
  'int clock_gettime(int clock, void *time)',
);
const CLOCK_REALTIME = 0;
const CLOCK_THREAD_CPUTIME_ID = 3;
/** Seconds and nanoseconds, 8 bytes each. */
const timespec = new Int32Array(4);
const timespecAddress = Number(koffi.address(timespec));

/** The processor time that this thread has used. */
export function threadCpuMs(): number {
  clockGettime(CLOCK_THREAD_CPUTIME_ID, timespecAddress);
  return (timespec[0] as number) * 1000 + (timespec[2] as number) / 1e6;
}

/** Of a `struct timespec` at a word. */
export function timespecMs(words: Int32Array, at: number): number {
  const seconds = ((words[at] as number) >>> 0) + (words[at + 1] as number) * 2 ** 32;
  return seconds * 1000 + (words[at + 2] as number) / 1e6;
}

/** The clock by which the kernel says when a datagram came. */
export function realMs(): number {
  clockGettime(CLOCK_REALTIME, timespecAddress);
  return timespecMs(timespec, 0);
}

export const ioctl: (fd: number, request: number, argument: number) => number = libc.func(
  'int ioctl(int fd, unsigned long request, void *argument)',
);
const SIOCGSTAMPNS = 0x8907;

/**
 * When the datagram came that was received last by a socket without `SO_TIMESTAMPNS`, by the clock
 * of `realMs`; 0 where that is not known.
 */
export function lastStampMs(fd: number): number {
  return ioctl(fd, SIOCGSTAMPNS, timespecAddress) === 0 ? timespecMs(timespec, 0) : 0;
}

export function addressOf(bytes: Uint8Array): number {
  return Number(koffi.address(bytes));
}

/** The values of options of sockets, and how many bytes were asked for and came. */
const option = new Int32Array(16);
const optionAddress = Number(koffi.address(option));
const optionBytes = new Int32Array(1);
const optionBytesAddress = Number(koffi.address(optionBytes));

/** Sets a socket's option that is one number; false if the kernel refuses. */
export function setSocketOption(
  fd: number,
  name: number,
  value: number,
  level = SOL_SOCKET,
): boolean {
  option[0] = value;
  return setsockopt(fd, level, name, optionAddress, 4) === 0;
}

/** One of the words that are the value of a socket's option; undefined where it is not known. */
export function socketOption(fd: number, name: number, words = 1, word = 0): number | undefined {
  optionBytes[0] = words * 4;
  const result = getsockopt(fd, SOL_SOCKET, name, optionAddress, optionBytesAddress);
  return result === 0 && (optionBytes[0] as number) > word * 4 ? option[word] : undefined;
}

/** Maps part of a file, shared, for reading and writing. It is never unmapped. */
export function mapShared(
  fd: number,
  offset: number,
  bytes: number,
  access: 'read' | 'write' = 'write',
): ArrayBuffer {
  assert(bytes > 0 && bytes <= VIEW_BYTES_MAX, 'a view longer than 4 GiB ends the process');
  const protection = access === 'read' ? PROT_READ : PROT_READ_WRITE;
  return koffi.view(mapped(0, bytes, protection, MAP_SHARED, fd, offset), bytes);
}

/**
 * Maps part of a file twice in a row, so that what wraps around its end can be seen in one piece:
 * byte `i` and byte `bytes + i` of the result are the same.
 */
export function mapTwice(fd: number, offset: number, bytes: number): ArrayBuffer {
  assert(bytes > 0 && 2 * bytes <= VIEW_BYTES_MAX);
  const nothing = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  const address = mapped(0, 2 * bytes, PROT_NONE, nothing, -1, 0);
  const place = Number(address);
  try {
    const flags = MAP_SHARED | MAP_FIXED;
    mapped(place, bytes, PROT_READ_WRITE, flags, fd, offset);
    mapped(place + bytes, bytes, PROT_READ_WRITE, flags, fd, offset);
  } catch (error) {
    munmap(place, 2 * bytes);
    throw error;
  }
  return koffi.view(address, 2 * bytes);
}

/** A mapping of a whole file that nobody writes through; undefined: there is no room. */
export function mapAddress(fd: number, bytes: number): number | undefined {
  const address = BigInt.asIntN(64, BigInt(mmap(0, bytes, PROT_READ, MAP_SHARED, fd, 0)));
  return address === -1n ? undefined : Number(address);
}

function mapped(
  at: number,
  bytes: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
): bigint {
  const address = mmap(at, bytes, protection, flags, fd, offset);
  if (address === 0n || BigInt.asIntN(64, BigInt(address)) === -1n) {
    throw new Error(`mmap of ${bytes} bytes failed: ${errnoName(lastErrno())}`);
  }
  return address;
}

/** Puts memory of this process alone, all zeros, in the place of what `mapShared` mapped. */
export function unshare(buffer: ArrayBuffer): void {
  const place = addressOf(new Uint8Array(buffer));
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
  const address = mmap(place, buffer.byteLength, PROT_READ_WRITE, flags, -1, 0);
  assert(Number(address) === place, 'a mapping cannot be replaced');
}

const collected = new FinalizationRegistry<{ place: number; bytes: number }>((mapping) => {
  munmap(mapping.place, mapping.bytes);
});

/**
 * The same for mappings that come and go by the thousand: the file is let go of at once, the place
 * when no view of `buffer` can be reached any more.
 */
export function unmapLater(buffer: ArrayBuffer): void {
  unshare(buffer);
  const place = addressOf(new Uint8Array(buffer));
  collected.register(buffer, { place, bytes: buffer.byteLength });
}
