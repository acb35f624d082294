/**
 * A mounted folder with a file for each device: the kernel's requests, one to a slot, answered in
 * any order. Files keep their size and their names; only their bytes change.
 */

import { Status } from '../../base/status.js';
import type { Timers } from '../../runtime/clock.js';
import type { FuseKernel, FuseServer, FuseSlots } from '../../runtime/fuse.js';
import {
  type BlockBackend,
  type BlockSink,
  Change,
  Extent,
  extentBytes,
  extentState,
} from '../backend.js';
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
  InitOut,
  INTERRUPT_UNIQUE,
  LSEEK_OUT_BYTES,
  LseekIn,
  O_DSYNC,
  Opcode,
  OPEN_OUT_BYTES,
  OPEN_OUT_FLAGS,
  OUT_BYTES,
  ReadIn,
  SEEK_DATA,
  SEEK_HOLE,
  SetattrIn,
  WRITE_OUT_BYTES,
  WriteIn,
} from './abi.js';
import { type Agreed, agree } from './agreement.js';
import { errnoOf, openErrnoOf } from './errors.js';
import { type File, type FileFacts, Files, type FileSource } from './files.js';
import {
  isSameUnique,
  nameOf,
  nodeOf,
  type Owner,
  putAttrOut,
  putDirents,
  putEntryOut,
  putHeader,
  putNumber,
  putStatfsOut,
  readNumber,
} from './messages.js';
import { Transfers } from './transfers.js';

export interface FuseSessionParts {
  readonly kernel: FuseKernel;
  readonly timers: Timers;
  readonly source: FileSource;
  readonly owner: Owner;
  /** Of data in one request. */
  readonly dataBytesMax: number;
  /** The kernel keeps no pages of files, and lets nobody map them: of swap. */
  readonly isUncached?: boolean;
  /** It serves a mount that has begun already. */
  readonly agreed?: Agreed;
  readonly ended?: () => void;
}

/** So many extents are looked at for one question; beyond that it is data. */
const EXTENTS_MAX = 256;
/** Until something is tried again for which there was no room at the device. */
const AGAIN_MS = 5;

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
  /** Of open folders: what was in them when they were opened. */
  readonly #folders = new Map<number, readonly FileFacts[]>();
  #lastFolder = 0;
  #hasEnded = false;

  constructor(parts: FuseSessionParts) {
    this.#parts = parts;
    this.#slots = parts.kernel.slots;
    this.agreed = parts.agreed;
    this.files = new Files(parts.source);
    const { count } = this.#slots;
    this.#transfers = new Transfers(count, (slot, status) => this.#transferred(slot, status));
    this.#bytes = new Uint32Array(count);
    this.#isInterrupted = new Uint8Array(count);
  }

  received(slot: number, bytes: number): void {
    const input = this.#input(slot);
    this.#bytes[slot] = 0;
    this.#isInterrupted[slot] = 0;
    if (bytes < IN_BYTES || input.view.getUint32(0, true) !== bytes) {
      this.#fail(slot, Errno.EINVAL);
      return;
    }
    this.#dispatch(slot, bytes);
  }

  ended(): void {
    this.#hasEnded = true;
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
        return this.#parts.kernel.free(slot);
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
      case Opcode.LSEEK:
        return this.#fail(slot, Errno.EISDIR);
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
        return this.#reply(slot, putAttrOut(this.#output(slot), this.#parts.owner, file.facts));
      case Opcode.SETATTR:
        return this.#setattr(slot, file.facts);
      case Opcode.OPEN:
        return void this.#open(slot, file);
      case Opcode.RELEASE:
        this.files.release(file);
        return this.#reply(slot, 0);
      case Opcode.STATFS:
        return void this.#measure(slot);
      case Opcode.FSYNC:
      case Opcode.FALLOCATE:
      case Opcode.LSEEK:
        return this.#ofDevice(slot, opcode, file);
      // FLUSH is not to be sent: nothing waits for a close.
      default:
        return this.#fail(slot, Errno.ENOSYS);
    }
  }

  #ofDevice(slot: number, opcode: number, { backend }: File): void {
    if (backend === undefined) return this.#fail(slot, Errno.EIO);
    if (opcode === Opcode.FSYNC) backend.flush(this, slot);
    else if (opcode === Opcode.FALLOCATE) this.#allocate(slot, backend);
    else this.#seek(slot, backend);
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
      const known = this.files.find(facts.node)?.facts ?? facts;
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
  #setattr(slot: number, facts: FileFacts | undefined): void {
    const input = this.#input(slot);
    const valid = input.view.getUint32(IN_BYTES + SetattrIn.VALID, true);
    const bytes = readNumber(input, IN_BYTES + SetattrIn.SIZE);
    const isOtherSize = (valid & FATTR_SIZE) !== 0 && bytes !== facts?.bytes;
    const isOthers = (valid & (FATTR_MODE | FATTR_UID | FATTR_GID)) !== 0;
    if (isOtherSize || isOthers) this.#fail(slot, Errno.EPERM);
    else this.#reply(slot, putAttrOut(this.#output(slot), this.#parts.owner, facts));
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
    const range = { file: backend, offset, bytes, buffer, start: OUT_BYTES };
    this.#bytes[slot] = bytes;
    this.#transfers.begin(slot, { ...range, isWrite: false, change: 0 });
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
    const range = { file: backend, offset, bytes, buffer: input.bytes, start };
    this.#transfers.begin(slot, { ...range, isWrite: true, change });
  }

  /** Undefined: the request was refused. */
  #backendOf(slot: number): BlockBackend | undefined {
    const node = nodeOf(this.#input(slot));
    const backend = this.files.find(node)?.backend;
    if (backend === undefined) this.#fail(slot, node === FUSE_ROOT_ID ? Errno.EISDIR : Errno.EIO);
    return backend;
  }

  #transferred(slot: number, status: Status): void {
    const { kernel } = this.#parts;
    if (this.#isInterrupted[slot] !== 0) return kernel.free(slot);
    if (status === Status.Busy) return this.#again(slot);
    if (status !== Status.Ok) return this.#fail(slot, errnoOf(status));
    const bytes = this.#bytes[slot] as number;
    const isWrite = this.#input(slot).view.getUint32(IN_OPCODE, true) === Opcode.WRITE;
    if (!isWrite) return this.#reply(slot, bytes);
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
      if (this.#isInterrupted[slot] !== 0) return this.#parts.kernel.free(slot);
      this.#dispatch(slot, this.#input(slot).view.getUint32(0, true));
    });
  }

  /**
   * Nobody waits any more for a read of who is being killed: it is answered, and ends by itself.
   * Any signal sends this, and a read of who goes on is to be answered with its bytes. A write may
   * still be done at any time, so whoever asked for it is told when it was.
   */
  #interrupt(slot: number): void {
    const { kernel } = this.#parts;
    const from = this.#input(slot);
    for (let other = 0; other < this.#slots.count; other++) {
      if (other === slot || this.#bytes[other] === 0 || this.#isInterrupted[other] !== 0) continue;
      const one = this.#input(other);
      const isRead = one.view.getUint32(IN_OPCODE, true) === Opcode.READ;
      if (!isRead || !isSameUnique(from, IN_BYTES + INTERRUPT_UNIQUE, one)) continue;
      if (!kernel.isBeingKilled(one.view.getUint32(IN_PID, true))) continue;
      this.#isInterrupted[other] = 1;
      kernel.reply(other, putHeader(this.#output(other), one, 0, Errno.EINTR));
    }
    kernel.free(slot);
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

  /** The next data, or the next hole, from an offset on. */
  #seek(slot: number, device: BlockBackend): void {
    const input = this.#input(slot);
    const offset = readNumber(input, IN_BYTES + LseekIn.OFFSET);
    const whence = input.view.getUint32(IN_BYTES + LseekIn.WHENCE, true);
    if (whence !== SEEK_DATA && whence !== SEEK_HOLE) return this.#fail(slot, Errno.EINVAL);
    if (!(offset < device.bytes)) return this.#fail(slot, Errno.ENXIO);
    const found = seek(device, offset, whence === SEEK_HOLE);
    if (found >= device.bytes && whence === SEEK_DATA) return this.#fail(slot, Errno.ENXIO);
    putNumber(this.#output(slot).view, OUT_BYTES, Math.min(found, device.bytes));
    this.#reply(slot, LSEEK_OUT_BYTES);
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
    kernel.free(slot);
  }

  #fail(slot: number, errno: number): void {
    const { kernel } = this.#parts;
    this.#bytes[slot] = 0;
    kernel.reply(slot, putHeader(this.#output(slot), this.#input(slot), 0, errno));
    kernel.free(slot);
  }
}

/** Where what is looked for begins; a file is data wherever nobody says otherwise soon. */
function seek(device: BlockBackend, offset: number, isHole: boolean): number {
  let at = offset - (offset % device.blockMin);
  for (let looked = 0; looked < EXTENTS_MAX && at < device.bytes; looked++) {
    const extent = device.isSparse ? device.extent(at, device.bytes - at) : 0;
    if (extent === 0) break;
    const isZero = (extentState(extent) & (Extent.HOLE | Extent.ZERO)) !== 0;
    if (isZero === isHole) return Math.max(at, offset);
    at += extentBytes(extent);
  }
  if (at >= device.bytes) return device.bytes;
  return isHole ? device.bytes : Math.max(at, offset);
}
