/**
 * A mounted folder with a file for each device: the kernel's requests, one to a slot, answered in
 * any order. Files keep their size and their names; only their bytes change.
 */

import { Status, type StatusName, statusName } from '../../base/status.js';
import {
  Change,
  Extent,
  extentBytes,
  extentState,
  type BlockBackend,
  type BlockSink,
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
  FUSE_KERNEL_VERSION,
  FUSE_MINOR_KNOWN,
  FUSE_MINOR_LEAST,
  FUSE_ROOT_ID,
  IN_BYTES,
  IN_OPCODE,
  InitFlag,
  InitFlag2,
  InitIn,
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
import {
  type FileFacts,
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
import type { FuseKernel, FuseSlots } from './slots.js';
import { Transfers } from './transfers.js';

export interface FuseSessionParts {
  readonly slots: FuseSlots;
  readonly kernel: FuseKernel;
  /** Their names are those of the files. */
  readonly devices: readonly BlockBackend[];
  readonly owner: Owner;
  /** Of data in one request. */
  readonly dataBytesMax: number;
}

const PAGE_BYTES = 4096;
const FIRST_FILE = FUSE_ROOT_ID + 1;
/** Requests that the kernel sends before it waits for answers; readahead and writeback alone. */
const BACKGROUND_MAX = 64;
const CONGESTED = 48;
/** So many extents are looked at for one question; beyond that it is data. */
const EXTENTS_MAX = 256;

const ERRNO = {
  Ok: 0,
  NoSpace: Errno.ENOSPC,
  NotAllocated: Errno.EIO,
  NotFound: Errno.EIO,
  Exists: Errno.EIO,
  Denied: Errno.EPERM,
  Busy: Errno.ENOMEM,
  Conflict: Errno.EIO,
  Stale: Errno.EIO,
  Unavailable: Errno.EIO,
  DataLost: Errno.EIO,
  Corrupt: Errno.EIO,
  Timeout: Errno.EIO,
  OutcomeUnknown: Errno.EIO,
  Invalid: Errno.EINVAL,
  Unsupported: Errno.EOPNOTSUPP,
  Closed: Errno.ESHUTDOWN,
  Moved: Errno.EIO,
} as const satisfies Record<StatusName, number>;

interface File {
  readonly facts: FileFacts;
  readonly device: BlockBackend;
}

export class FuseSession implements BlockSink {
  /** What was agreed on; the files can be used from then on. */
  isBegun = false;
  /** The kernel lets a server have again what another one did not answer. */
  mayResend = false;
  readonly #parts: FuseSessionParts;
  readonly #files: readonly File[];
  readonly #transfers: Transfers;
  /** Of reads and writes: bytes that were asked for. 0: it is neither. */
  readonly #bytes: Uint32Array;
  /** Answered before the device has: nobody waited any more. */
  readonly #isInterrupted: Uint8Array;
  #openFlags = 0;

  constructor(parts: FuseSessionParts) {
    this.#parts = parts;
    const { count } = parts.slots;
    this.#files = parts.devices.map((device, i) => {
      const facts = { node: FIRST_FILE + i, name: device.name, bytes: device.bytes };
      return { facts, device };
    });
    this.#transfers = new Transfers(count, (slot, status) => this.#transferred(slot, status));
    this.#bytes = new Uint32Array(count);
    this.#isInterrupted = new Uint8Array(count);
  }

  /** A request of so many bytes is in the slot's input. */
  received(slot: number, bytes: number): void {
    const input = this.#input(slot);
    this.#bytes[slot] = 0;
    this.#isInterrupted[slot] = 0;
    if (bytes < IN_BYTES || input.view.getUint32(0, true) !== bytes) {
      this.#fail(slot, Errno.EINVAL);
      return;
    }
    const opcode = input.view.getUint32(IN_OPCODE, true);
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
        if (!this.isBegun) this.#fail(slot, Errno.EIO);
        else this.#other(slot, opcode, bytes);
    }
  }

  #other(slot: number, opcode: number, bytes: number): void {
    const input = this.#input(slot);
    const output = this.#output(slot);
    const { owner } = this.#parts;
    const all = this.#files.map(({ facts }) => facts);
    const node = nodeOf(input);
    const file = this.#fileOf(slot);
    if (file === undefined && node !== FUSE_ROOT_ID) return this.#fail(slot, Errno.ENOENT);
    switch (opcode) {
      case Opcode.LOOKUP:
        return this.#lookup(slot, bytes);
      case Opcode.GETATTR:
        return this.#reply(slot, putAttrOut(output, owner, file?.facts));
      case Opcode.SETATTR:
        return this.#setattr(slot, file);
      case Opcode.OPEN:
        return file === undefined ? this.#fail(slot, Errno.EISDIR) : this.#open(slot);
      case Opcode.OPENDIR:
        return file === undefined ? this.#open(slot) : this.#fail(slot, Errno.ENOTDIR);
      case Opcode.READDIR: {
        const from = readNumber(input, IN_BYTES + ReadIn.OFFSET);
        const asked = input.view.getUint32(IN_BYTES + ReadIn.SIZE, true);
        const room = Math.min(asked, this.#parts.dataBytesMax);
        return this.#reply(slot, putDirents(output, all, from, room));
      }
      case Opcode.STATFS:
        return this.#reply(slot, putStatfsOut(output, all));
      case Opcode.FLUSH:
      case Opcode.RELEASE:
      case Opcode.RELEASEDIR:
      case Opcode.FSYNCDIR:
      case Opcode.DESTROY:
        return this.#reply(slot, 0);
      case Opcode.FSYNC:
        return file === undefined ? this.#reply(slot, 0) : file.device.flush(this, slot);
      case Opcode.FALLOCATE:
        return file === undefined ? this.#fail(slot, Errno.EISDIR) : this.#allocate(slot, file);
      case Opcode.LSEEK:
        return file === undefined ? this.#fail(slot, Errno.EISDIR) : this.#seek(slot, file);
      default:
        return this.#fail(slot, Errno.ENOSYS);
    }
  }

  // ------------------------------------------------------------------------------- beginning

  /** Whoever speaks another version of the protocol is told ours, and asks again in that. */
  #init(slot: number, bytes: number): void {
    const { view } = this.#input(slot);
    const output = this.#output(slot);
    const major = view.getUint32(IN_BYTES + InitIn.MAJOR, true);
    const minor = view.getUint32(IN_BYTES + InitIn.MINOR, true);
    const isOld = major === FUSE_KERNEL_VERSION && minor < FUSE_MINOR_LEAST;
    if (major < FUSE_KERNEL_VERSION || isOld) return this.#fail(slot, Errno.EPROTO);
    output.bytes.fill(0, OUT_BYTES, OUT_BYTES + InitOut.BYTES);
    const at = (place: number): number => OUT_BYTES + place;
    output.view.setUint32(at(InitOut.MAJOR), FUSE_KERNEL_VERSION, true);
    output.view.setUint32(at(InitOut.MINOR), FUSE_MINOR_KNOWN, true);
    if (major > FUSE_KERNEL_VERSION) return this.#reply(slot, InitOut.BYTES);
    const offered = view.getUint32(IN_BYTES + InitIn.FLAGS, true);
    const hasMore = (offered & InitFlag.INIT_EXT) !== 0 && bytes >= IN_BYTES + InitIn.FLAGS2 + 4;
    const offered2 = hasMore ? view.getUint32(IN_BYTES + InitIn.FLAGS2, true) : 0;
    const { ASYNC_READ, BIG_WRITES, ASYNC_DIO, PARALLEL_DIROPS, MAX_PAGES, INIT_EXT } = InitFlag;
    const wanted = ASYNC_READ | BIG_WRITES | ASYNC_DIO | PARALLEL_DIROPS | MAX_PAGES | INIT_EXT;
    const flags2 = offered2 & (InitFlag2.DIRECT_IO_ALLOW_MMAP | InitFlag2.HAS_RESEND);
    const { dataBytesMax } = this.#parts;
    const readahead = view.getUint32(IN_BYTES + InitIn.MAX_READAHEAD, true);
    output.view.setUint32(at(InitOut.MAX_READAHEAD), readahead, true);
    output.view.setUint32(at(InitOut.FLAGS), offered & wanted, true);
    output.view.setUint32(at(InitOut.FLAGS2), flags2, true);
    output.view.setUint16(at(InitOut.MAX_BACKGROUND), BACKGROUND_MAX, true);
    output.view.setUint16(at(InitOut.CONGESTION_THRESHOLD), CONGESTED, true);
    output.view.setUint32(at(InitOut.MAX_WRITE), dataBytesMax, true);
    output.view.setUint32(at(InitOut.TIME_GRAN), 1, true);
    output.view.setUint16(at(InitOut.MAX_PAGES), dataBytesMax / PAGE_BYTES, true);
    // Else such a file could not be mapped, and who maps it looks at pages that the kernel keeps.
    const isDirect = (flags2 & InitFlag2.DIRECT_IO_ALLOW_MMAP) !== 0;
    this.#openFlags = isDirect ? FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES : 0;
    this.mayResend = (flags2 & InitFlag2.HAS_RESEND) !== 0;
    this.isBegun = true;
    this.#reply(slot, InitOut.BYTES);
  }

  // ------------------------------------------------------------------------------------ names

  #lookup(slot: number, bytes: number): void {
    const input = this.#input(slot);
    const isRoot = nodeOf(input) === FUSE_ROOT_ID;
    const name = nameOf(input, bytes);
    const file = isRoot ? this.#files.find(({ facts }) => facts.name === name) : undefined;
    if (!isRoot) this.#fail(slot, Errno.ENOTDIR);
    else if (file === undefined) this.#fail(slot, Errno.ENOENT);
    else this.#reply(slot, putEntryOut(this.#output(slot), this.#parts.owner, file.facts));
  }

  /** Times are nobody's concern; the size is the device's. */
  #setattr(slot: number, file: File | undefined): void {
    const input = this.#input(slot);
    const valid = input.view.getUint32(IN_BYTES + SetattrIn.VALID, true);
    const bytes = readNumber(input, IN_BYTES + SetattrIn.SIZE);
    const isOtherSize = (valid & FATTR_SIZE) !== 0 && bytes !== file?.facts.bytes;
    const isOthers = (valid & (FATTR_MODE | FATTR_UID | FATTR_GID)) !== 0;
    if (isOtherSize || isOthers) this.#fail(slot, Errno.EPERM);
    else this.#reply(slot, putAttrOut(this.#output(slot), this.#parts.owner, file?.facts));
  }

  #open(slot: number): void {
    const output = this.#output(slot);
    output.bytes.fill(0, OUT_BYTES, OUT_BYTES + OPEN_OUT_BYTES);
    const isFile = this.#fileOf(slot) !== undefined;
    const flags = isFile ? this.#openFlags : 0;
    output.view.setUint32(OUT_BYTES + OPEN_OUT_FLAGS, flags, true);
    this.#reply(slot, OPEN_OUT_BYTES);
  }

  // ------------------------------------------------------------------------------------ bytes

  #read(slot: number): void {
    const input = this.#input(slot);
    const file = this.#fileOf(slot);
    const offset = readNumber(input, IN_BYTES + ReadIn.OFFSET);
    const asked = input.view.getUint32(IN_BYTES + ReadIn.SIZE, true);
    if (file === undefined) return this.#fail(slot, Errno.EISDIR);
    if (Number.isNaN(offset) || asked > this.#parts.dataBytesMax) {
      return this.#fail(slot, Errno.EINVAL);
    }
    const bytes = Math.max(0, Math.min(asked, file.facts.bytes - offset));
    if (bytes === 0) return this.#reply(slot, 0);
    const { bytes: buffer } = this.#output(slot);
    const range = { file: file.device, offset, bytes, buffer, start: OUT_BYTES };
    this.#bytes[slot] = bytes;
    this.#transfers.begin(slot, { ...range, isWrite: false, change: 0 });
  }

  #write(slot: number, received: number): void {
    const input = this.#input(slot);
    const file = this.#fileOf(slot);
    const offset = readNumber(input, IN_BYTES + WriteIn.OFFSET);
    const bytes = input.view.getUint32(IN_BYTES + WriteIn.SIZE, true);
    const start = IN_BYTES + WriteIn.BYTES;
    if (file === undefined) return this.#fail(slot, Errno.EISDIR);
    if (Number.isNaN(offset) || start + bytes !== received) return this.#fail(slot, Errno.EINVAL);
    if (offset + bytes > file.facts.bytes) return this.#fail(slot, Errno.EFBIG);
    this.#bytes[slot] = bytes;
    if (bytes === 0) return this.#transferred(slot, Status.Ok);
    const flags = input.view.getUint32(IN_BYTES + WriteIn.FLAGS, true);
    const change = (flags & O_DSYNC) === 0 ? 0 : Change.DURABLE;
    const range = { file: file.device, offset, bytes, buffer: input.bytes, start };
    this.#transfers.begin(slot, { ...range, isWrite: true, change });
  }

  #transferred(slot: number, status: Status): void {
    const { kernel } = this.#parts;
    if (this.#isInterrupted[slot] !== 0) return kernel.free(slot);
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
    else this.#fail(slot, errnoOf(status));
  }

  /**
   * Nobody waits for a read any more: it is answered, and ends by itself. A write may still be done
   * at any time, so whoever asked for it is told when it was.
   */
  #interrupt(slot: number): void {
    const { slots, kernel } = this.#parts;
    const from = this.#input(slot);
    for (let other = 0; other < slots.count; other++) {
      const one = slots.input[other];
      if (other === slot || one === undefined || this.#bytes[other] === 0) continue;
      const isRead = one.view.getUint32(IN_OPCODE, true) === Opcode.READ;
      if (!isRead || !isSameUnique(from, IN_BYTES + INTERRUPT_UNIQUE, one)) continue;
      if (this.#isInterrupted[other] !== 0) continue;
      this.#isInterrupted[other] = 1;
      kernel.reply(other, putHeader(this.#output(other), one, 0, Errno.EINTR));
    }
    kernel.free(slot);
  }

  /** Makes holes, and zeros; there is no room to be had in advance. */
  #allocate(slot: number, { device, facts }: File): void {
    const input = this.#input(slot);
    const offset = readNumber(input, IN_BYTES + FallocateIn.OFFSET);
    const length = readNumber(input, IN_BYTES + FallocateIn.LENGTH);
    const mode = input.view.getUint32(IN_BYTES + FallocateIn.MODE, true) & ~FALLOC_FL_KEEP_SIZE;
    const isKnown = mode === FALLOC_FL_PUNCH_HOLE || mode === FALLOC_FL_ZERO_RANGE;
    const bytes = Math.min(length, facts.bytes - offset);
    const isWhole = offset % device.blockMin === 0 && bytes % device.blockMin === 0;
    if (!isKnown || !isWhole) return this.#fail(slot, Errno.EOPNOTSUPP);
    if (!(bytes > 0)) return this.#fail(slot, Errno.EINVAL);
    const change = mode === FALLOC_FL_ZERO_RANGE ? Change.NO_HOLE : 0;
    device.writeZeroes(offset, bytes, change, this, slot);
  }

  /** The next data, or the next hole, from an offset on. */
  #seek(slot: number, { device, facts }: File): void {
    const input = this.#input(slot);
    const offset = readNumber(input, IN_BYTES + LseekIn.OFFSET);
    const whence = input.view.getUint32(IN_BYTES + LseekIn.WHENCE, true);
    if (whence !== SEEK_DATA && whence !== SEEK_HOLE) return this.#fail(slot, Errno.EINVAL);
    if (!(offset < facts.bytes)) return this.#fail(slot, Errno.ENXIO);
    const found = seek(device, offset, whence === SEEK_HOLE);
    if (found >= facts.bytes && whence === SEEK_DATA) return this.#fail(slot, Errno.ENXIO);
    putNumber(this.#output(slot).view, OUT_BYTES, Math.min(found, facts.bytes));
    this.#reply(slot, LSEEK_OUT_BYTES);
  }

  // ---------------------------------------------------------------------------------- answers

  #input(slot: number) {
    return this.#parts.slots.input[slot] as FuseSlots['input'][number];
  }

  #output(slot: number) {
    return this.#parts.slots.output[slot] as FuseSlots['output'][number];
  }

  #fileOf(slot: number): File | undefined {
    return this.#files[nodeOf(this.#input(slot)) - FIRST_FILE];
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

function errnoOf(status: Status): number {
  return ERRNO[statusName(status) ?? 'Unavailable'];
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
