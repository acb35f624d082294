/**
 * A mounted folder with a file for each device: the kernel's requests, one to a slot, answered in
 * any order. Files keep their size and their names; only their bytes change.
 */

import { Status } from '../../base/status.js';
import { Histogram, type HistogramCounts } from '../../base/histogram.js';
import type { Clock, Timer, Timers } from '../../runtime/clock.js';
import type { FuseKernel, FuseServer, FuseSlots } from '../../runtime/fuse.js';
import { type BlockBackend, type BlockSink, Change } from '../backend.js';
import {
  Errno,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  FallocateIn,
  FATTR_GID,
  FATTR_MODE,
  FATTR_SIZE,
  FATTR_UID,
  FOPEN_DIRECT_IO,
  FOPEN_PARALLEL_DIRECT_WRITES,
  FUSE_ROOT_ID,
  HANDLE,
  IN_BYTES,
  IN_OPCODE,
  IN_PID,
  IN_UNIQUE,
  InitOut,
  INTERRUPT_UNIQUE,
  O_DSYNC,
  Opcode,
  OPEN_OUT_BYTES,
  OPEN_OUT_FLAGS,
  OUT_BYTES,
  ReadIn,
  SetattrIn,
  WRITE_OUT_BYTES,
  WriteIn,
} from './abi.js';
import { type Agreed, agree } from './agreement.js';
import { errnoOf, openErrnoOf } from './errors.js';
import { type File, type FileFacts, Files, type FileSource } from './files.js';
import { Lane, Lanes } from './lanes.js';
import {
  invalidation,
  nameOf,
  nodeOf,
  type Owner,
  putAttrOut,
  putDirents,
  putEntryOut,
  putHeader,
  putNumber,
  putStatfsOut,
  putStatxOut,
  readNumber,
  refusalOf,
} from './messages.js';
import { Transfers } from './transfers.js';

export interface FuseSessionParts {
  readonly kernel: FuseKernel;
  readonly timers: Timers;
  readonly clock: Clock;
  readonly source: FileSource;
  readonly owner: Owner;
  /** Of data in one request. */
  readonly dataBytesMax: number;
  /** Of swap: the kernel keeps no pages of it, lets nobody map it, and no other host has it. */
  readonly isUncached?: boolean;
  /** It serves a mount that has begun already. */
  readonly agreed?: Agreed;
  readonly ended?: () => void;
}

/** Until something is tried again for which there was no room at the device. */
const AGAIN_MS = 5;
/** Between looks whether those whose reads were interrupted are being killed. */
const KILLED_MS = 500;

/** Of reads and writes, since the session began; bytes of those that ended well. */
export interface FileTraffic {
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** Reads that ended with an error. */
  readonly failedReads: number;
  /** From when a read came until it was answered. */
  readonly readMicros: HistogramCounts;
}

/** Bounds of 1 us to 67 s. */
const MICROS_BUCKETS = 27;

export class FuseSession implements FuseServer, BlockSink {
  /** Undefined: not begun yet. */
  agreed: Agreed | undefined;
  readonly files: Files;
  readonly #parts: FuseSessionParts;
  readonly #slots: FuseSlots;
  readonly #transfers: Transfers;
  /** Of reads and writes: bytes that were asked for. 0: it is neither. */
  readonly #bytes: Uint32Array;
  /** Answered before the device has: nobody waited any more. */
  readonly #isInterrupted: Uint8Array;
  readonly #lanes: Lanes;
  /** When each read came. */
  readonly #cameMs: Float64Array;
  readonly #readMicros = new Histogram(1, MICROS_BUCKETS);
  #readBytes = 0;
  #writtenBytes = 0;
  #failedReads = 0;
  /** Of lookups and openings, which may wait for the controller, or for a lease. */
  readonly #names = new Lane();
  /** Reads that a signal has interrupted, as the kernel numbers them. */
  readonly #signalled = new Set<string>();
  #killedTimer: Timer | undefined;
  /** Of open folders: what was in them when they were opened. */
  readonly #folders = new Map<number, readonly FileFacts[]>();
  #lastFolder = 0;
  #hasEnded = false;

  constructor(parts: FuseSessionParts) {
    this.#parts = parts;
    this.#slots = parts.kernel.slots;
    this.agreed = parts.agreed;
    this.files = new Files(
      parts.source,
      () => parts.clock.wall(),
      parts.isUncached === true ? undefined : (file) => this.#changed(file),
    );
    const { count } = this.#slots;
    this.#lanes = new Lanes(count);
    this.#transfers = new Transfers(count, (slot, status) => this.#transferred(slot, status));
    this.#bytes = new Uint32Array(count);
    this.#isInterrupted = new Uint8Array(count);
    this.#cameMs = new Float64Array(count);
  }

  get traffic(): FileTraffic {
    const readMicros = this.#readMicros.counts();
    return {
      ...{ readBytes: this.#readBytes, writtenBytes: this.#writtenBytes },
      ...{ failedReads: this.#failedReads, readMicros },
    };
  }

  received(slot: number, bytes: number): void {
    const input = this.#input(slot);
    this.#bytes[slot] = 0;
    this.#isInterrupted[slot] = 0;
    if (bytes < IN_BYTES || input.view.getUint32(0, true) !== bytes) {
      this.#fail(slot, Errno.EINVAL);
      return;
    }
    this.#begin(slot, bytes);
  }

  /** Now, or when others of its lane have ended. */
  #begin(slot: number, bytes: number): void {
    const input = this.#input(slot);
    const lane = this.#laneOf(input.view.getUint32(IN_OPCODE, true), nodeOf(input));
    const request = input.bytes.subarray(0, bytes);
    if (lane !== undefined && !this.#lanes.enter(slot, lane, request))
      this.#parts.kernel.free(slot);
    else this.#dispatch(slot, bytes);
  }

  #laneOf(opcode: number, node: number): Lane | undefined {
    switch (opcode) {
      case Opcode.READ:
      case Opcode.WRITE:
      case Opcode.FSYNC:
      case Opcode.FALLOCATE:
        return this.files.find(node)?.lane;
      case Opcode.LOOKUP:
      case Opcode.OPENDIR:
      case Opcode.STATFS:
      case Opcode.OPEN:
        return this.#names;
      default:
        return undefined;
    }
  }

  /** Of a request that has ended: the next of its lane has the slot. */
  #free(slot: number): void {
    const next = this.#lanes.leave(slot);
    if (next === undefined) return this.#parts.kernel.free(slot);
    this.#input(slot).bytes.set(next);
    this.#parts.timers.soon(() => this.received(slot, next.length));
  }

  ended(): void {
    this.#hasEnded = true;
    this.#killedTimer?.cancel();
    this.files.close();
    this.#parts.ended?.();
  }

  #dispatch(slot: number, bytes: number): void {
    const opcode = this.#input(slot).view.getUint32(IN_OPCODE, true);
    switch (opcode) {
      case Opcode.READ:
        return this.#read(slot);
      case Opcode.WRITE:
        return this.#write(slot, bytes);
      case Opcode.FORGET:
      case Opcode.BATCH_FORGET:
        return this.#free(slot);
      case Opcode.INTERRUPT:
        return this.#interrupt(slot);
      case Opcode.INIT:
        return this.#init(slot, bytes);
      default:
        if (this.agreed === undefined) this.#fail(slot, Errno.EIO);
        else if (nodeOf(this.#input(slot)) === FUSE_ROOT_ID) this.#ofFolder(slot, opcode, bytes);
        else this.#ofFile(slot, opcode);
    }
  }

  #ofFolder(slot: number, opcode: number, bytes: number): void {
    switch (opcode) {
      case Opcode.LOOKUP:
        return void this.#lookup(slot, nameOf(this.#input(slot), bytes));
      case Opcode.GETATTR:
        return this.#reply(slot, putAttrOut(this.#output(slot), this.#parts.owner, undefined));
      case Opcode.STATX:
        return this.#reply(slot, putStatxOut(this.#output(slot), this.#parts.owner, undefined));
      case Opcode.SETATTR:
        return this.#setattr(slot, undefined);
      case Opcode.OPENDIR:
        return void this.#openFolder(slot);
      case Opcode.READDIR:
        return this.#readFolder(slot);
      case Opcode.RELEASEDIR: {
        this.#folders.delete(readNumber(this.#input(slot), IN_BYTES + HANDLE));
        return this.#reply(slot, 0);
      }
      case Opcode.STATFS:
        return void this.#measure(slot);
      case Opcode.FSYNCDIR:
      case Opcode.DESTROY:
        return this.#reply(slot, 0);
      case Opcode.OPEN:
      case Opcode.FALLOCATE:
        return this.#fail(slot, Errno.EISDIR);
      case Opcode.MKNOD:
      case Opcode.CREATE:
      case Opcode.TMPFILE:
      case Opcode.SYMLINK:
      case Opcode.MKDIR:
      case Opcode.RMDIR:
      case Opcode.UNLINK:
      case Opcode.RENAME:
      case Opcode.RENAME2:
      case Opcode.LINK:
        // Files come and go with devices.
        return this.#fail(slot, Errno.EPERM);
      default:
        return this.#fail(slot, Errno.ENOSYS);
    }
  }

  #ofFile(slot: number, opcode: number): void {
    const file = this.files.find(nodeOf(this.#input(slot)));
    if (file === undefined) return this.#fail(slot, Errno.ENOENT);
    switch (opcode) {
      case Opcode.LOOKUP:
      case Opcode.OPENDIR:
        return this.#fail(slot, Errno.ENOTDIR);
      case Opcode.GETATTR:
        return this.#reply(slot, putAttrOut(this.#output(slot), this.#parts.owner, file));
      case Opcode.STATX:
        return this.#reply(slot, putStatxOut(this.#output(slot), this.#parts.owner, file));
      case Opcode.SETATTR:
        return this.#setattr(slot, file);
      case Opcode.OPEN:
        return void this.#open(slot, file);
      case Opcode.RELEASE:
        this.files.release(file);
        return this.#reply(slot, 0);
      case Opcode.STATFS:
        return void this.#measure(slot);
      case Opcode.FSYNC:
      case Opcode.FALLOCATE:
        return this.#ofDevice(slot, opcode, file);
      // FLUSH is not to be sent: nothing waits for a close. And nobody knows for sure what reads as
      // zeros, nor what the kernel has not written yet, so there is no LSEEK.
      default:
        return this.#fail(slot, Errno.ENOSYS);
    }
  }

  #ofDevice(slot: number, opcode: number, { opened }: File): void {
    if (opened === undefined) return this.#fail(slot, Errno.EIO);
    if (opened.isStale) return this.#fail(slot, Errno.ESTALE);
    if (opcode === Opcode.FSYNC) opened.backend.flush(this, slot);
    else this.#allocate(slot, opened.backend);
  }

  /** What the kernel has of it is not shown any more; nor written, as it is refused here. */
  #changed(file: File): void {
    void this.#parts.kernel.tell(invalidation(file.facts.node));
  }

  #init(slot: number, bytes: number): void {
    const { dataBytesMax } = this.#parts;
    const { errno, agreed } = agree(this.#input(slot), bytes, this.#output(slot), dataBytesMax);
    if (errno !== 0) return this.#fail(slot, errno);
    this.agreed = agreed;
    this.#reply(slot, InitOut.BYTES);
  }

  // ------------------------------------------------------------------------------------ names

  async #lookup(slot: number, name: string): Promise<void> {
    const all = await this.files.look();
    if (this.#hasEnded) return;
    const facts = all?.find((one) => one.name === name);
    if (all === undefined) this.#fail(slot, Errno.EIO);
    else if (facts === undefined) this.#fail(slot, Errno.ENOENT);
    else {
      // One that is open has the size that it had then.
      const known = this.files.find(facts.node) ?? { facts, writtenMs: 0 };
      this.#reply(slot, putEntryOut(this.#output(slot), this.#parts.owner, known));
    }
  }

  async #openFolder(slot: number): Promise<void> {
    const all = await this.files.look();
    if (this.#hasEnded) return;
    if (all === undefined) return this.#fail(slot, Errno.EIO);
    const handle = ++this.#lastFolder;
    this.#folders.set(handle, all);
    this.#opened(slot, handle, 0);
  }

  #readFolder(slot: number): void {
    const input = this.#input(slot);
    const all = this.#folders.get(readNumber(input, IN_BYTES + HANDLE)) ?? [];
    const from = readNumber(input, IN_BYTES + ReadIn.OFFSET);
    const asked = input.view.getUint32(IN_BYTES + ReadIn.SIZE, true);
    const room = Math.min(asked, this.#parts.dataBytesMax);
    this.#reply(slot, putDirents(this.#output(slot), all, from, room));
  }

  async #measure(slot: number): Promise<void> {
    const all = await this.files.look();
    if (this.#hasEnded) return;
    if (all === undefined) this.#fail(slot, Errno.EIO);
    else this.#reply(slot, putStatfsOut(this.#output(slot), all));
  }

  /** Times are nobody's concern; the size is the device's. */
  #setattr(slot: number, file: File | undefined): void {
    const input = this.#input(slot);
    const valid = input.view.getUint32(IN_BYTES + SetattrIn.VALID, true);
    const bytes = readNumber(input, IN_BYTES + SetattrIn.SIZE);
    const isOtherSize = (valid & FATTR_SIZE) !== 0 && bytes !== file?.facts.bytes;
    const isOthers = (valid & (FATTR_MODE | FATTR_UID | FATTR_GID)) !== 0;
    if (isOtherSize || isOthers) this.#fail(slot, Errno.EPERM);
    else this.#reply(slot, putAttrOut(this.#output(slot), this.#parts.owner, file));
  }

  async #open(slot: number, file: File): Promise<void> {
    const status = await this.files.open(file);
    if (this.#hasEnded) return;
    if (status !== Status.Ok) return this.#fail(slot, openErrnoOf(status));
    const isUncached = this.#parts.isUncached === true;
    this.#opened(slot, 0, isUncached ? FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES : 0);
  }

  #opened(slot: number, handle: number, flags: number): void {
    const { bytes, view } = this.#output(slot);
    bytes.fill(0, OUT_BYTES, OUT_BYTES + OPEN_OUT_BYTES);
    putNumber(view, OUT_BYTES + HANDLE, handle);
    view.setUint32(OUT_BYTES + OPEN_OUT_FLAGS, flags, true);
    this.#reply(slot, OPEN_OUT_BYTES);
  }

  // ------------------------------------------------------------------------------------ bytes

  #read(slot: number): void {
    const input = this.#input(slot);
    const backend = this.#backendOf(slot);
    const offset = readNumber(input, IN_BYTES + ReadIn.OFFSET);
    const asked = input.view.getUint32(IN_BYTES + ReadIn.SIZE, true);
    if (backend === undefined) return;
    if (Number.isNaN(offset) || asked > this.#parts.dataBytesMax) {
      return this.#fail(slot, Errno.EINVAL);
    }
    const bytes = Math.max(0, Math.min(asked, backend.bytes - offset));
    if (bytes === 0) return this.#reply(slot, 0);
    const { bytes: buffer } = this.#output(slot);
    this.#bytes[slot] = bytes;
    this.#cameMs[slot] = this.#parts.clock.now();
    this.#transfers.read(slot, backend, offset, bytes, buffer, OUT_BYTES);
  }

  #write(slot: number, received: number): void {
    const input = this.#input(slot);
    const backend = this.#backendOf(slot);
    const offset = readNumber(input, IN_BYTES + WriteIn.OFFSET);
    const bytes = input.view.getUint32(IN_BYTES + WriteIn.SIZE, true);
    const start = IN_BYTES + WriteIn.BYTES;
    if (backend === undefined) return;
    if (Number.isNaN(offset) || start + bytes !== received) return this.#fail(slot, Errno.EINVAL);
    if (offset + bytes > backend.bytes) return this.#fail(slot, Errno.EFBIG);
    this.#bytes[slot] = bytes;
    if (bytes === 0) return this.#transferred(slot, Status.Ok);
    const flags = input.view.getUint32(IN_BYTES + WriteIn.FLAGS, true);
    const change = (flags & O_DSYNC) === 0 ? 0 : Change.DURABLE;
    this.#transfers.write(slot, backend, offset, bytes, input.bytes, start, change);
  }

  /** Undefined: the request was refused. */
  #backendOf(slot: number): BlockBackend | undefined {
    const node = nodeOf(this.#input(slot));
    const opened = this.files.find(node)?.opened;
    if (opened?.isStale === false) return opened.backend;
    const none = opened === undefined ? Errno.EIO : Errno.ESTALE;
    this.#fail(slot, node === FUSE_ROOT_ID ? Errno.EISDIR : none);
    return undefined;
  }

  #transferred(slot: number, status: Status): void {
    if (this.#isInterrupted[slot] !== 0) return this.#free(slot);
    if (status === Status.Busy) return this.#again(slot);
    const bytes = this.#bytes[slot] as number;
    const isWrite = this.#input(slot).view.getUint32(IN_OPCODE, true) === Opcode.WRITE;
    if (status !== Status.Ok) {
      if (!isWrite) this.#failedReads += 1;
      return this.#fail(slot, errnoOf(status));
    }
    if (!isWrite) {
      this.#readBytes += bytes;
      this.#readMicros.add((this.#parts.clock.now() - (this.#cameMs[slot] as number)) * 1000);
      return this.#reply(slot, bytes);
    }
    this.#writtenBytes += bytes;
    const file = this.files.find(nodeOf(this.#input(slot)));
    if (file !== undefined) file.writtenMs = this.#parts.clock.wall();
    const { view } = this.#output(slot);
    view.setUint32(OUT_BYTES, bytes, true);
    view.setUint32(OUT_BYTES + 4, 0, true);
    this.#reply(slot, WRITE_OUT_BYTES);
  }

  /** Of a flush, or of zeros. */
  completed(slot: number, status: Status): void {
    if (status === Status.Ok) this.#reply(slot, 0);
    else if (status === Status.Busy) this.#again(slot);
    else this.#fail(slot, errnoOf(status));
  }

  /** There are too many at the device; the request is as it came. */
  #again(slot: number): void {
    this.#parts.timers.after(AGAIN_MS, () => {
      if (this.#isInterrupted[slot] !== 0) return this.#free(slot);
      this.#dispatch(slot, this.#input(slot).view.getUint32(0, true));
    });
  }

  /**
   * Nobody waits any more for a read of who is being killed: it is answered, and ends by itself.
   * Any signal sends this, once; a read of who goes on is to be answered with its bytes, and who is
   * killed by a later signal is found by looking again. A write may still be done at any time, so
   * whoever asked for it is told when it was.
   */
  #interrupt(slot: number): void {
    const { bytes } = this.#input(slot);
    const at = IN_BYTES + INTERRUPT_UNIQUE;
    this.#signalled.add(uniqueAt(bytes, at));
    this.#parts.kernel.free(slot);
    this.#lookForKilled();
  }

  #lookForKilled(): void {
    const { timers } = this.#parts;
    const seen = new Set<string>();
    for (let slot = 0; slot < this.#slots.count; slot++) {
      if (this.#bytes[slot] === 0 || this.#isInterrupted[slot] !== 0) continue;
      if (!this.#isUnwanted(this.#input(slot).bytes, seen)) continue;
      this.#isInterrupted[slot] = 1;
      const header = putHeader(this.#output(slot), this.#input(slot), 0, Errno.EINTR);
      this.#parts.kernel.reply(slot, header);
    }
    for (const { lane } of this.files.all) {
      this.#lanes.drop(lane, (request) => {
        const isDropped = this.#isUnwanted(request, seen);
        if (isDropped) void this.#parts.kernel.tell(refusalOf(request, Errno.EINTR));
        return isDropped;
      });
    }
    // The others have been answered.
    this.#signalled.clear();
    for (const unique of seen) this.#signalled.add(unique);
    this.#killedTimer?.cancel();
    this.#killedTimer =
      seen.size > 0 ? timers.after(KILLED_MS, () => this.#lookForKilled()) : undefined;
  }

  /** Whether it is a read of who is being killed; one that was only interrupted is noted. */
  #isUnwanted(request: Uint8Array, seen: Set<string>): boolean {
    const unique = uniqueAt(request, IN_UNIQUE);
    if (!this.#signalled.has(unique) || u32(request, IN_OPCODE) !== Opcode.READ) return false;
    if (this.#parts.kernel.isBeingKilled(u32(request, IN_PID))) return true;
    seen.add(unique);
    return false;
  }

  /** Makes holes, and zeros; there is no room to be had in advance. */
  #allocate(slot: number, device: BlockBackend): void {
    const input = this.#input(slot);
    const offset = readNumber(input, IN_BYTES + FallocateIn.OFFSET);
    const length = readNumber(input, IN_BYTES + FallocateIn.LENGTH);
    const flags = input.view.getUint32(IN_BYTES + FallocateIn.MODE, true);
    const mode = flags & ~FALLOC_FL_KEEP_SIZE;
    const isBeyond = offset + length > device.bytes;
    if (isBeyond && mode === flags) return this.#fail(slot, Errno.EFBIG);
    const isKnown = mode === FALLOC_FL_PUNCH_HOLE || mode === FALLOC_FL_ZERO_RANGE;
    const bytes = Math.min(length, device.bytes - offset);
    const isWhole = offset % device.blockMin === 0 && bytes % device.blockMin === 0;
    if (!isKnown || !isWhole) return this.#fail(slot, Errno.EOPNOTSUPP);
    // Where nothing is there is nothing to be taken away.
    if (bytes <= 0) return this.#reply(slot, 0);
    const change = mode === FALLOC_FL_ZERO_RANGE ? Change.NO_HOLE : 0;
    device.writeZeroes(offset, bytes, change, this, slot);
  }

  // ---------------------------------------------------------------------------------- answers

  #input(slot: number) {
    return this.#slots.input[slot] as FuseSlots['input'][number];
  }

  #output(slot: number) {
    return this.#slots.output[slot] as FuseSlots['output'][number];
  }

  #reply(slot: number, bodyBytes: number): void {
    const { kernel } = this.#parts;
    this.#bytes[slot] = 0;
    kernel.reply(slot, putHeader(this.#output(slot), this.#input(slot), bodyBytes, 0));
    this.#free(slot);
  }

  #fail(slot: number, errno: number): void {
    const { kernel } = this.#parts;
    this.#bytes[slot] = 0;
    kernel.reply(slot, putHeader(this.#output(slot), this.#input(slot), 0, errno));
    this.#free(slot);
  }
}

function u32(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);
}

function uniqueAt(bytes: Uint8Array, at: number): string {
  return `${u32(bytes, at)}.${u32(bytes, at + 4)}`;
}
