/**
 * /dev/fuse. The descriptor never blocks who reads it: the poller looks at it while there is
 * something to expect, and a thread of the pool that only waits for it wakes the event loop.
 *
 * Libuv does not take such descriptors, and a thread of its own for reads would cost a change of
 * threads for every request.
 */

import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { lstat, mkdir, open, readdir, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { assert } from '../../base/assert.js';
import {
  type Fuse,
  FuseError,
  type FuseMount,
  type FuseServer,
  type FuseSlots,
  type MountOptions,
  type ServeOptions,
} from '../fuse.js';
import type { Bytes } from '../network.js';
import type { Log } from '../runtime.js';
import { Patience } from './patience.js';
import type { Poller, Source } from './poller.js';
import { runPendingSoftirqs } from './softirqs.js';
import {
  addressOf,
  EAGAIN,
  EFD_CLOEXEC,
  EINTR,
  ENODEV,
  ENOENT,
  EPERM,
  errnoName,
  eventfd,
  lastErrno,
  MNT_DETACH,
  MS_NOSUID_NODEV_NOEXEC,
  mount,
  POLLIN,
  read,
  SIGKILL,
  syncFileSystem,
  unmount,
  unmountLater,
  waitReady,
  write,
  writeLater,
} from './system.js';

const PAGE_BYTES = 4096;
/** `struct fuse_out_header`: so that the data of an answer begins with a page. */
const OUTPUT_AT = PAGE_BYTES - 16;
/** Requests that are read at a time, before others have their turn. */
const BATCH = 16;
/** Of `struct pollfd`: a descriptor; what is asked for and what there is. */
const POLLFD_WORDS = 2;
const TYPE = 'fuse.memrack';
/** Until a folder that is mounted has shown whether anybody serves it. */
const ANSWER_MS = 5_000;
/** What is under way when a mount is closed has so long to end. */
const DRAIN_MS = 5_000;
const DRAIN_LOOK_MS = 5;
/** At the end of a process its threads are waited for. */
const WAIT_MS = 1_000;
/** A look while nobody polls: for when no thread of the pool is free to wait. */
const LOOK_MS = 50;

export class NodeFuse implements Fuse {
  readonly #poller: Poller;
  readonly #log: Log;

  constructor(poller: Poller, log: Log) {
    this.#poller = poller;
    this.#log = log;
  }

  async mount(options: MountOptions): Promise<FuseMount> {
    assert(options.slots > 0);
    const { fd, folder } = await mountFuse(options);
    return new NodeFuseMount(this.#poller, this.#log, fd, { ...options, folder });
  }

  serve(connection: number, options: ServeOptions): FuseMount {
    return new NodeFuseMount(this.#poller, this.#log, connection, options);
  }
}

export interface UnservedMount {
  readonly fd: number;
  readonly folder: string;
  /** The kernel's number of it. */
  readonly connection: number;
}

/** A mount that nobody serves yet; what asks there waits. Rejects with a `FuseError`. */
export async function mountFuse(options: Omit<MountOptions, 'slots'>): Promise<UnservedMount> {
  const { source, dataBytesMax } = options;
  assert(source.includes('memrack'), "a mount's source contains memrack");
  assert(dataBytesMax % PAGE_BYTES === 0);
  const folder = await makeFolder(options.folder);
  const fd = openDevice();
  const who = `fd=${fd},rootmode=40000,user_id=${userId()},group_id=${groupId()}`;
  const wish = `${who},default_permissions,max_read=${dataBytesMax}`;
  if (mount(source, folder, TYPE, MS_NOSUID_NODEV_NOEXEC, wish) === 0) {
    return { fd, folder, connection: Number(mountAt(folder)?.device.split(':')[1]) };
  }
  const errno = lastErrno();
  closeSync(fd);
  throw new FuseError(`${folder} cannot be mounted: ${errnoName(errno)}${mountRemedy(errno)}`);
}

/**
 * Whatever is asked of a mount, or was, fails from now on, also where whoever serves it cannot end.
 * `folder` is for the kernel's controls (Documentation/filesystems/fuse, "Control filesystem"), and
 * gone afterwards.
 */
export function abortFuse(connection: number, folder: string): void {
  mkdirSync(folder, { recursive: true });
  if (mount('fusectl', folder, 'fusectl', MS_NOSUID_NODEV_NOEXEC, '') !== 0) {
    throw new FuseError(`no fusectl: ${errnoName(lastErrno())}`);
  }
  try {
    const path = join(folder, String(connection), 'abort');
    if (existsSync(path)) writeFileSync(path, '1');
  } finally {
    unmount(folder, MNT_DETACH);
    rmdirSync(folder);
  }
}

/** It is gone from its folder, and lives as long as files of it are open. */
export function detachFuse(folder: string): void {
  if (unmount(folder, MNT_DETACH) !== 0) {
    throw new FuseError(`${folder} cannot be unmounted: ${errnoName(lastErrno())}`);
  }
}

/** Is there then, is empty, and nothing is mounted there; as the kernel names it. */
async function makeFolder(path: string): Promise<string> {
  try {
    await mkdir(dirname(path), { recursive: true });
    const folder = join(await realpath(dirname(path)), basename(path));
    await leaveDead(folder);
    await mkdir(folder, { recursive: true });
    const isFree = (await readdir(folder)).length === 0 && mountAt(folder) === undefined;
    if (isFree && !(await lstat(folder)).isSymbolicLink()) return folder;
  } catch (error) {
    if (error instanceof FuseError) throw error;
    throw new FuseError(`no folder to mount at: ${(error as Error).message}`);
  }
  throw new FuseError(`${path} is not empty, a link, or mounted; name another folder`);
}

/** A mount of a process that was killed stays in its folder, and answers nothing. */
async function leaveDead(folder: string): Promise<void> {
  while (mountAt(folder)?.type === TYPE) {
    const answer = await Promise.race([
      readdir(folder).then(
        () => 'served',
        (error: NodeJS.ErrnoException) => error.code ?? '',
      ),
      new Promise<string>((resolve) => setTimeout(resolve, ANSWER_MS, 'silent').unref()),
    ]);
    if (answer !== 'ENOTCONN') {
      throw new FuseError(`another process serves ${folder}: end it, or name another folder`);
    }
    if (unmount(folder, MNT_DETACH) !== 0) return;
  }
}

interface MountEntry {
  readonly type: string;
  /** Of the mount, and of no other one. */
  readonly device: string;
}

/** The uppermost mount at a folder (proc(5), mountinfo); undefined: there is none. */
function mountAt(folder: string): MountEntry | undefined {
  let found: MountEntry | undefined;
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const words = line.split(' ');
    if (unescaped(words[4] ?? '') !== folder) continue;
    found = { type: words[words.indexOf('-') + 1] ?? '', device: words[2] ?? '' };
  }
  return found;
}

/** Blanks and the like are `\040` in tables of the kernel. */
function unescaped(text: string): string {
  return text.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
}

function openDevice(): number {
  try {
    return openSync('/dev/fuse', constants.O_RDWR | constants.O_NONBLOCK);
  } catch (error) {
    const remedy = 'is the kernel module there (modprobe fuse), and may this user open it?';
    throw new FuseError(`${(error as Error).message}; ${remedy}`);
  }
}

const userId = (): number => process.geteuid?.() ?? 0;
const groupId = (): number => process.getegid?.() ?? 0;

function mountRemedy(errno: number): string {
  if (errno === EPERM) return '; it takes root (CAP_SYS_ADMIN)';
  return errno === ENODEV ? '; the kernel has no FUSE (modprobe fuse)' : '';
}

class NodeFuseMount implements FuseMount, Source {
  readonly slots: FuseSlots;
  readonly owner = { uid: userId(), gid: groupId() };
  readonly #poller: Poller;
  readonly #log: Log;
  readonly #fd: number;
  /** Undefined: another process has mounted it, and takes it away. */
  readonly #folder: string | undefined;
  readonly #slotBytes: number;
  readonly #device: string | undefined;
  readonly #inputAt: number[];
  readonly #free: number[];
  readonly #patience = new Patience();
  #server: FuseServer | undefined;
  /** Two descriptors that a thread of the pool waits for: this one, and what ends the wait. */
  readonly #waited = new Int32Array(2 * POLLFD_WORDS);
  readonly #waitedAt: number;
  readonly #ender: number;
  #isWaiting = false;
  /** There was no slot to read into when nobody looked any more. */
  #isStarved = false;
  #isLeaving = false;
  #isClosed = false;
  #closing: Promise<void> | undefined;
  #looks: NodeJS.Timeout | undefined;
  #areClosed = false;
  /** Writes of `tell` under way. */
  #telling = 0;

  constructor(poller: Poller, log: Log, fd: number, options: ServeOptions & Partial<MountOptions>) {
    this.#poller = poller;
    this.#log = log;
    this.#fd = fd;
    this.#folder = options.folder;
    this.#device = options.folder === undefined ? undefined : mountAt(options.folder)?.device;
    this.#slotBytes = PAGE_BYTES + options.dataBytesMax;
    const buffer = new ArrayBuffer(options.slots * this.#slotBytes);
    // So that it is there: a request that cannot be put somewhere fails.
    new Uint8Array(buffer).fill(0);
    const at = Array.from({ length: options.slots }, (_, slot) => slot * this.#slotBytes);
    this.slots = {
      count: options.slots,
      input: at.map((start) => bytesOf(buffer, start, this.#slotBytes)),
      output: at.map((start) => bytesOf(buffer, start + OUTPUT_AT, this.#slotBytes - OUTPUT_AT)),
    };
    const base = addressOf(new Uint8Array(buffer));
    this.#inputAt = at.map((start) => base + start);
    this.#free = at.map((_, slot) => slot);
    this.#ender = eventfd(0, EFD_CLOEXEC);
    if (this.#ender < 0) {
      if (options.folder !== undefined) unmount(options.folder, MNT_DETACH);
      closeSync(fd);
      throw new FuseError(`no eventfd: ${errnoName(lastErrno())}`);
    }
    this.#waited.set([fd, POLLIN, this.#ender, POLLIN]);
    this.#waitedAt = addressOf(new Uint8Array(this.#waited.buffer));
  }

  begin(server: FuseServer): void {
    assert(this.#server === undefined, 'a mount has one server');
    this.#server = server;
    this.#poller.addSource(this);
    this.#looks = setInterval(() => this.#isWaiting && this.look(), LOOK_MS).unref();
    this.settle();
  }

  reply(slot: number, bytes: number): void {
    if (this.#isClosed) return;
    const address = (this.#inputAt[slot] as number) + OUTPUT_AT;
    if (write(this.#fd, address, bytes) >= 0) {
      runPendingSoftirqs();
      return;
    }
    const errno = lastErrno();
    // Who asked is gone, or the mount is.
    if (errno === ENOENT || errno === ENODEV) return;
    this.#log.write('error', 'the kernel refused an answer', {
      code: 'FILE_ANSWER_REFUSED',
      folder: this.#folder,
      reason: errnoName(errno),
    });
  }

  free(slot: number): void {
    this.#free.push(slot);
    if (!this.#isStarved) return;
    this.#isStarved = false;
    if (!this.#heat(performance.now())) this.settle();
  }

  async tell(bytes: Uint8Array): Promise<boolean> {
    if (this.#isClosed) return false;
    this.#telling += 1;
    const written = await writeLater(this.#fd, addressOf(bytes), bytes.length);
    this.#telling -= 1;
    if (this.#isClosed) this.#closeAll();
    return written === bytes.length;
  }

  isBeingKilled(thread: number): boolean {
    return thread !== 0 && hasPending(thread, SIGKILL);
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeInOrder();
    return this.#closing;
  }

  /** An unmount takes away what is not written yet, so that is written, and answered, first. */
  async #closeInOrder(): Promise<void> {
    const folder = this.#folder;
    // What comes from now on is for who serves next.
    this.#isLeaving = folder === undefined;
    if (!this.#isClosed) {
      if (folder !== undefined) await writeBack(folder);
      const end = performance.now() + DRAIN_MS;
      while (!this.#isClosed && this.#isBusy() && performance.now() < end) {
        await new Promise((resolve) => setTimeout(resolve, DRAIN_LOOK_MS));
      }
    }
    if (folder !== undefined && this.#isOurs(folder)) {
      if (!(await unmountLater(folder))) unmount(folder, MNT_DETACH);
    }
    this.#end();
  }

  #isOurs(folder: string): boolean {
    const top = mountAt(folder)?.device;
    return top !== undefined && top === this.#device;
  }

  #isBusy(): boolean {
    return this.look() || this.#free.length < this.slots.count;
  }

  // --------------------------------------------------------------------------------- requests

  look(): boolean {
    if (this.#isLeaving) return false;
    let hasFound = false;
    for (let i = 0; i < BATCH && this.#free.length > 0 && !this.#isClosed; i++) {
      const slot = this.#free.at(-1) as number;
      const bytes = read(this.#fd, this.#inputAt[slot] as number, this.#slotBytes);
      if (bytes < 0 && !this.#mayReadOn(lastErrno())) break;
      if (bytes < 0) continue;
      this.#free.pop();
      hasFound = true;
      this.#server?.received(slot, bytes);
    }
    if (hasFound) this.#arrived();
    return hasFound;
  }

  /** After a read that failed. ENOENT: who asked has gone again in that moment. */
  #mayReadOn(errno: number): boolean {
    if (errno === EINTR || errno === ENOENT) return true;
    if (errno === EAGAIN) return false;
    if (errno !== ENODEV) {
      this.#log.write('error', 'requests for files cannot be read', {
        code: 'FILE_REQUESTS_LOST',
        folder: this.#folder,
        reason: errnoName(errno),
      });
    }
    this.#end();
    return false;
  }

  #arrived(): void {
    const now = performance.now();
    this.#patience.arrived(now, !this.#isWaiting);
    this.#heat(now);
  }

  #heat(now: number): boolean {
    return this.#poller.heatSources(now, now + this.#patience.ms);
  }

  settle(): void {
    if (this.#isClosed || this.#isWaiting || this.#isLeaving) return;
    // Something may have come since, if this thread did not run: waiting for it takes longer.
    if (this.look() && this.#heat(performance.now())) return;
    this.#patience.waitedInVain();
    if (this.#free.length === 0) {
      this.#isStarved = true;
      return;
    }
    this.#isWaiting = true;
    void waitReady(this.#waitedAt, 2, WAIT_MS).then(() => process.nextTick(this.#woken));
  }

  readonly #woken = (): void => {
    this.#isWaiting = false;
    if (this.#isClosed) {
      this.#closeAll();
      return;
    }
    this.look();
    if (!this.#heat(performance.now())) this.settle();
  };

  // -------------------------------------------------------------------------------------- end

  #end(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#poller.removeSource(this);
    clearInterval(this.#looks);
    if (this.#isWaiting) {
      // What is waited for stays open until the wait is over.
      const one = new Uint8Array(new BigUint64Array([1n]).buffer);
      write(this.#ender, addressOf(one), one.length);
    } else this.#closeAll();
    this.#server?.ended();
  }

  /** Nobody uses the numbers of descriptors that are closed. */
  #closeAll(): void {
    if (this.#isWaiting || this.#telling > 0 || this.#areClosed) return;
    this.#areClosed = true;
    closeSync(this.#fd);
    closeSync(this.#ender);
  }
}

function bytesOf(buffer: ArrayBuffer, start: number, length: number): Bytes {
  return {
    // A Buffer, because that is what copies fastest.
    bytes: Buffer.from(buffer, start, length),
    view: new DataView(buffer, start, length),
    words: new Int32Array(buffer, start, length / 4),
  };
}

/** What programs have written to files that they mapped; waits for answers to it. */
async function writeBack(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r');
    await syncFileSystem(handle.fd);
    await handle.close();
  } catch {
    // Nobody knows what is in it: then nothing of it is open.
  }
}

/** Whether a signal is on its way to a thread, or to all of its process (proc(5), `status`). */
function hasPending(thread: number, signal: number): boolean {
  let status: string;
  try {
    status = readFileSync(`/proc/${thread}/status`, 'latin1');
  } catch {
    return false;
  }
  const bit = 1n << BigInt(signal - 1);
  for (const [, mask = '0'] of status.matchAll(/^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)$/gm)) {
    if ((BigInt(`0x${mask}`) & bit) !== 0n) return true;
  }
  return false;
}
