/**
 * Memory that stays in the machine while it has swap: of processes that serve swap, or the memory
 * behind it, and would wait for themselves.
 *
 * A control group of version 2 does that for all its processes (`memory.swap.max`), version 1 not:
 * whatever looks for cold pages (DAMON, kswapd) takes them there, too. And locking will not do for
 * what V8 manages: of locked memory nothing can be discarded (madvise(2), MADV_DONTNEED), and V8
 * ends the process when it cannot discard (seen with Node 20 at the first code that is made). So
 * that is pinned, as the buffers of an io_uring(7) that nobody uses: the kernel moves and swaps no
 * page that is pinned for a device, and what is discarded is only kept a while. Memory files are
 * locked through a mapping of their own; what a killed process had locked stays locked so by its
 * supervisor.
 */

import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync } from 'node:fs';
import {
  addressOf,
  ioUringRegister,
  ioUringSetup,
  madvise,
  mapAddress,
  mlock2,
  munmap,
  seekInFile,
} from './system.js';

const PAGE_BYTES = 4096;
const LOOK_MS = 1_000;
/** Between pinnings, which hold the process up for some milliseconds: pages get cold in minutes. */
const PIN_MS = 10_000;
/** `struct io_uring_params`. */
const PARAMETERS_BYTES = 120;
const REGISTER_BUFFERS = 0;
const UNREGISTER_BUFFERS = 1;
/** Of one ring. */
const RANGES_MAX = 16_384;
const RANGE_BYTES_MAX = 2 ** 30;
const MADV_POPULATE_READ = 22;
const MLOCK_ONFAULT = 1;
/** Of an entry of /proc/PID/pagemap: the page is there, or in swap. */
const PRESENT_OR_SWAPPED = 0xc0;

/**
 * As long as this process is there, and the machine has swap. `hasFiles`: also memory that a node
 * lends, by whoever keeps it for the node.
 */
export function keepInMemory(hasFiles = false): void {
  const kept = new ResidentMemory(hasFiles);
  const look = (): void => {
    try {
      kept.look();
    } catch {
      // Where there is no /proc, or none of swap, there is nothing to be kept from.
    }
  };
  look();
  setInterval(look, LOOK_MS).unref();
}

/** Whether pages can be pinned: where not, only a control group of version 2 keeps them. */
export function canPin(): boolean {
  const ring = openRing();
  if (ring < 0) return false;
  const isPinned = pin(ring);
  closeSync(ring);
  return isPinned;
}

/** What has gone between the look and the call makes it fail, too. */
function pin(ring: number): boolean {
  const all = residentRanges();
  // Kernels up to 6.4 take no private pages of files.
  return (
    register(ring, all) ||
    register(
      ring,
      all.filter(({ isOfFile }) => !isOfFile),
    )
  );
}

function register(ring: number, ranges: readonly Range[]): boolean {
  const count = Math.min(ranges.length, RANGES_MAX);
  const vector = new BigUint64Array(count * 2);
  for (let i = 0; i < count; i++) {
    const { start, end } = ranges[i] as Range;
    vector[2 * i] = BigInt(start);
    vector[2 * i + 1] = BigInt(end - start);
  }
  const at = addressOf(new Uint8Array(vector.buffer));
  return ioUringRegister(ring, REGISTER_BUFFERS, at, count) === 0;
}

function openRing(): number {
  return ioUringSetup(1, addressOf(new Uint8Array(PARAMETERS_BYTES)));
}

interface Range {
  readonly start: number;
  readonly end: number;
  readonly isOfFile: boolean;
}

class ResidentMemory {
  readonly #ring = openRing();
  readonly #locks = new Map<string, FileLock>();
  readonly #hasFiles: boolean;
  #isPinned = false;
  #pinnedMs = -Infinity;

  constructor(hasFiles: boolean) {
    this.#hasFiles = hasFiles;
  }

  look(): void {
    const hasSwap = readFileSync('/proc/swaps', 'latin1').trim().includes('\n');
    if (!hasSwap) {
      this.#unpin();
      for (const lock of this.#locks.values()) lock.end();
      this.#locks.clear();
      return;
    }
    if (this.#hasFiles) this.#lockFiles();
    const now = performance.now();
    if (now - this.#pinnedMs >= PIN_MS) this.#pin();
  }

  #pin(): void {
    if (this.#ring < 0) return;
    this.#unpin();
    this.#isPinned = pin(this.#ring);
    // Else at the next look.
    if (this.#isPinned) this.#pinnedMs = performance.now();
  }

  #unpin(): void {
    if (this.#isPinned) ioUringRegister(this.#ring, UNREGISTER_BUFFERS, 0, 0);
    this.#isPinned = false;
    this.#pinnedMs = -Infinity;
  }

  #lockFiles(): void {
    const found = memoryFiles();
    for (const [name, fd] of found) {
      const lock = this.#locks.get(name) ?? FileLock.of(fd);
      if (lock === undefined) continue;
      this.#locks.set(name, lock);
      lock.more(fd);
    }
    for (const [name, lock] of this.#locks) {
      if (found.has(name)) continue;
      lock.end();
      this.#locks.delete(name);
    }
  }
}

/** What there is of memory files of this process, by what the system calls each. */
function memoryFiles(): Map<string, number> {
  const found = new Map<string, number>();
  for (const name of readdirSync('/proc/self/fd')) {
    try {
      const path = readlinkSync(`/proc/self/fd/${name}`);
      if (path.startsWith('/memfd:memrack-frames')) found.set(path, Number(name));
    } catch {
      // It was closed.
    }
  }
  return found;
}

/** A mapping of a file that nobody looks through. */
class FileLock {
  readonly #address: number;
  readonly #bytes: number;

  private constructor(address: number, bytes: number) {
    this.#address = address;
    this.#bytes = bytes;
  }

  /** Undefined: it is empty, or this user may not. */
  static of(fd: number): FileLock | undefined {
    const bytes = seekInFile(fd, 0, 'end');
    if (bytes <= 0) return undefined;
    const address = mapAddress(fd, bytes);
    if (address === undefined) return undefined;
    if (mlock2(address, bytes, MLOCK_ONFAULT) === 0) return new FileLock(address, bytes);
    munmap(address, bytes);
    return undefined;
  }

  /** What was put there since: a hole stays one. */
  more(fd: number): void {
    for (let at = 0; at < this.#bytes; ) {
      const data = seekInFile(fd, at, 'data');
      if (data < 0) return;
      const hole = seekInFile(fd, data, 'hole');
      const end = hole < 0 ? this.#bytes : Math.min(hole, this.#bytes);
      madvise(this.#address + data, end - data, MADV_POPULATE_READ);
      at = end;
    }
  }

  end(): void {
    munmap(this.#address, this.#bytes);
  }
}

/** What is there of all that can be written, but of files of memory: those are locked. */
function residentRanges(): Range[] {
  const pagemap = openSync('/proc/self/pagemap', 'r');
  const ranges: Range[] = [];
  try {
    for (const mapping of writableMappings(readFileSync('/proc/self/maps', 'latin1'))) {
      addResident(ranges, pagemap, mapping);
    }
  } finally {
    closeSync(pagemap);
  }
  return ranges;
}

/** Of the text of /proc/PID/maps (proc(5)). */
export function writableMappings(text: string): Range[] {
  const lines = text.matchAll(/^([0-9a-f]+)-([0-9a-f]+) (.w..) \S+ \S+ \d+ *(.*)$/gm);
  const mappings: Range[] = [];
  for (const [, start = '', end = '', rights = '', path = ''] of lines) {
    if (path.startsWith('/memfd:memrack-frames')) continue;
    const isShared = rights.endsWith('s');
    const isMemory = !path.startsWith('/') || path.startsWith('/memfd:');
    // What is shared of a file on a disk goes there, and to no swap.
    if (isShared && !isMemory) continue;
    const at = { start: Number.parseInt(start, 16), end: Number.parseInt(end, 16) };
    mappings.push({ ...at, isOfFile: !isMemory });
  }
  return mappings;
}

function addResident(ranges: Range[], pagemap: number, { start, end, isOfFile }: Range): void {
  const pages = (end - start) / PAGE_BYTES;
  const entries = Buffer.alloc(pages * 8);
  const read = readSync(pagemap, entries, 0, entries.length, (start / PAGE_BYTES) * 8);
  let from = -1;
  for (let page = 0; page <= pages; page++) {
    const isThere =
      page * 8 < read && ((entries[page * 8 + 7] as number) & PRESENT_OR_SWAPPED) !== 0;
    const at = start + page * PAGE_BYTES;
    if (isThere && from < 0) from = at;
    const isFull = from >= 0 && at - from >= RANGE_BYTES_MAX;
    if (from >= 0 && (!isThere || isFull)) {
      ranges.push({ start: from, end: at, isOfFile });
      from = isThere ? at : -1;
    }
  }
}
