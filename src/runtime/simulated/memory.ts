/**
 * Simulated memory files. They live as long as a process holds them: its maker, and whoever it
 * was handed to. Their buffers go back to a pool, because worlds come and go by the thousand.
 */

import { assert } from '../../base/assert.js';
import {
  type Mapping,
  MAPPING_BYTES_MAX,
  type Memory,
  MemoryError,
  type MemoryFile,
  type MemoryHandle,
  type Steps,
} from '../memory.js';
import type { Room } from '../room.js';
import type { Kernel } from './kernel.js';
import { SharedSteps } from './shared-steps.js';
import type { Machine, Process, Task } from './task.js';

const PAGE_BYTES = 4096;
const WORD_BYTES = 8;
const POOLED_BYTES_MAX = 64 * 1024 * 1024;

/** Buffers of worlds that are done, by length; zeroed when they are taken again. */
class BufferPool {
  readonly #free: Map<number, ArrayBuffer[]> = new Map();
  #bytes = 0;

  take(bytes: number): ArrayBuffer {
    const buffer = this.#free.get(bytes)?.pop();
    if (buffer === undefined) return new ArrayBuffer(bytes);
    this.#bytes -= bytes;
    new Uint8Array(buffer).fill(0);
    return buffer;
  }

  give(buffer: ArrayBuffer): void {
    const bytes = buffer.byteLength;
    if (this.#bytes + bytes > POOLED_BYTES_MAX) return;
    const free = this.#free.get(bytes) ?? [];
    free.push(buffer);
    this.#bytes += bytes;
    this.#free.set(bytes, free);
  }
}

/** Shared by all worlds of this program: nothing of one can be seen in the next. */
const pool = new BufferPool();
/** The buffers that are pieces of memory files. */
const pieces = new WeakSet<ArrayBufferLike>();

/** What a process holds under a handle. */
export interface HeldFile {
  readonly name: string;
  readonly bytes: number;
  holders: number;
  /** The piece of at most `MAPPING_BYTES_MAX` bytes with this number. */
  piece(index: number): ArrayBuffer;
  isTouched(index: number): boolean;
  /** Whether the range takes up physical memory from now on. */
  mark(offset: number, bytes: number, isHeld: boolean): void;
  readonly heldBytes: number;
  /** One holder less. */
  release(): void;
}

/** What the kernel knows of one memory file. */
export class MemoryObject implements HeldFile {
  readonly name: string;
  readonly bytes: number;
  holders = 0;
  heldBytes = 0;
  readonly #pieces: Map<number, ArrayBuffer> = new Map();
  /** 1 for each page that was populated and not discarded since. */
  readonly #populated: Uint8Array;
  /** Where it takes memory up; none: of a file on a disk, whose pages the machine takes back. */
  readonly #machine: Machine | undefined;

  constructor(name: string, bytes: number, machine?: Machine) {
    this.name = name;
    this.bytes = bytes;
    this.#machine = machine;
    this.#populated = new Uint8Array(machine === undefined ? 0 : bytes / PAGE_BYTES);
  }

  mark(offset: number, bytes: number, isHeld: boolean): void {
    if (this.#machine === undefined) return;
    const end = (offset + bytes) / PAGE_BYTES;
    let changed = 0;
    for (let page = offset / PAGE_BYTES; page < end; page++) {
      if ((this.#populated[page] === 1) !== isHeld) changed += 1;
      this.#populated[page] = isHeld ? 1 : 0;
    }
    this.#hold(isHeld ? changed * PAGE_BYTES : -changed * PAGE_BYTES);
  }

  #hold(bytes: number): void {
    this.heldBytes += bytes;
    if (this.#machine !== undefined) this.#machine.memoryHeldBytes += bytes;
  }

  piece(index: number): ArrayBuffer {
    let piece = this.#pieces.get(index);
    if (piece === undefined) {
      const start = index * MAPPING_BYTES_MAX;
      piece = pool.take(Math.min(MAPPING_BYTES_MAX, this.bytes - start));
      this.#pieces.set(index, piece);
      pieces.add(piece);
    }
    return piece;
  }

  isTouched(index: number): boolean {
    return this.#pieces.has(index);
  }

  release(): void {
    this.holders -= 1;
    if (this.holders === 0) this.forget();
  }

  /** Its memory is used for others from now on. */
  forget(): void {
    for (const piece of this.#pieces.values()) pool.give(piece);
    this.#pieces.clear();
    this.#populated.fill(0);
    this.#hold(-this.heldBytes);
  }
}

export class SimulatedMemoryFile implements MemoryFile {
  readonly handle: MemoryHandle;
  readonly #object: HeldFile;
  readonly #held: HeldMemory;

  constructor(handle: MemoryHandle, object: HeldFile, held: HeldMemory) {
    this.handle = handle;
    this.#object = object;
    this.#held = held;
  }

  get name(): string {
    return this.#object.name;
  }

  get bytes(): number {
    return this.#object.bytes;
  }

  map(offset: number, bytes: number): Mapping {
    this.check(offset, bytes);
    if (bytes > MAPPING_BYTES_MAX) throw new MemoryError('a mapping is at most 1 GiB long');
    const index = Math.floor(offset / MAPPING_BYTES_MAX);
    const buffer = this.#object.piece(index);
    const start = offset - index * MAPPING_BYTES_MAX;
    // Views of two buffers cannot show the same bytes, so a mapping has to stay within a piece.
    assert(start + bytes <= buffer.byteLength, 'a simulated mapping crosses 1 GiB');
    return {
      bytes: new Uint8Array(buffer, start, bytes),
      view: new DataView(buffer, start, bytes),
      words: new Int32Array(buffer, start, bytes / 4),
      wide: new BigUint64Array(buffer, start, bytes / 8),
    };
  }

  discard(offset: number, bytes: number): void {
    this.check(offset, bytes);
    this.#object.mark(offset, bytes, false);
    for (let at = offset; at < offset + bytes; ) {
      const index = Math.floor(at / MAPPING_BYTES_MAX);
      const end = Math.min(offset + bytes, (index + 1) * MAPPING_BYTES_MAX);
      const start = at - index * MAPPING_BYTES_MAX;
      if (this.#object.isTouched(index)) {
        new Uint8Array(this.#object.piece(index), start, end - at).fill(0);
      }
      at = end;
    }
  }

  populate(offset: number, bytes: number): void {
    this.check(offset, bytes);
    this.#object.mark(offset, bytes, true);
  }

  heldBytes(): number {
    return this.#object.heldBytes;
  }

  release(): void {
    this.#held.drop(this.handle);
  }

  protected check(offset: number, bytes: number): void {
    const aligned = offset % PAGE_BYTES === 0 && bytes % PAGE_BYTES === 0;
    if (!aligned || offset < 0 || bytes <= 0 || offset + bytes > this.bytes) {
      throw new MemoryError(`no range of ${this.name}: ${bytes} bytes at ${offset}`);
    }
  }
}

/** What a process holds, like its table of file descriptors. Shared by its tasks. */
export class HeldMemory {
  readonly #objects: Map<MemoryHandle, HeldFile> = new Map();

  constructor(owner: Process) {
    owner.main.atEnd(() => {
      for (const object of this.#objects.values()) object.release();
      this.#objects.clear();
    });
  }

  add(handle: MemoryHandle, object: HeldFile): void {
    assert(!this.#objects.has(handle), 'a memory file is held twice');
    object.holders += 1;
    this.#objects.set(handle, object);
  }

  get(handle: MemoryHandle): HeldFile | undefined {
    return this.#objects.get(handle);
  }

  drop(handle: MemoryHandle): void {
    this.#objects.get(handle)?.release();
    this.#objects.delete(handle);
  }

  /** Hands files over to a child, under the same handles. */
  handTo(child: HeldMemory, handles: readonly MemoryHandle[]): void {
    for (const handle of handles) {
      const object = this.#objects.get(handle);
      if (object === undefined) throw new MemoryError(`no memory file of handle ${handle}`);
      child.add(handle, object);
    }
  }
}

export interface SimulatedMemoryParts {
  readonly kernel: Kernel;
  readonly task: Task;
  readonly held: HeldMemory;
  readonly nextHandle: () => MemoryHandle;
  /** What a living process holds. */
  readonly holder: (pid: number) => HeldMemory | undefined;
}

/** What another process of this machine holds, by what `nameOf` gave. */
export function objectOf({ task, holder }: SimulatedMemoryParts, name: string): HeldFile {
  const [, place = '', pid = '', of = ''] = /^(.+)\/(\d+)\/(\d+)$/.exec(name) ?? [];
  const object = holder(Number(pid))?.get(Number(of));
  if (object === undefined || place !== placeOf(task.process.machine)) {
    throw new MemoryError(`no memory file ${name}: the process has ended, or is elsewhere`);
  }
  return object;
}

/** Names a machine between two crashes. */
function placeOf(machine: Machine): string {
  return `${machine.name}/${machine.stops}`;
}

export class SimulatedMemory implements Memory {
  readonly #kernel: Kernel;
  readonly #task: Task;
  readonly #held: HeldMemory;
  readonly #parts: SimulatedMemoryParts;
  readonly #steps: SharedSteps;

  constructor(parts: SimulatedMemoryParts) {
    this.#parts = parts;
    this.#kernel = parts.kernel;
    this.#task = parts.task;
    this.#held = parts.held;
    this.#steps = new SharedSteps(parts.kernel, parts.task);
  }

  create(name: string, bytes: number): MemoryFile {
    assert(name.includes('memrack'), "a memory file's name contains memrack");
    if (bytes <= 0 || bytes % PAGE_BYTES !== 0) {
      throw new MemoryError(`a memory file has whole pages of ${PAGE_BYTES} bytes, not ${bytes}`);
    }
    const handle = this.#parts.nextHandle();
    const object = new MemoryObject(name, bytes, this.#task.process.machine);
    this.#held.add(handle, object);
    return new SimulatedMemoryFile(handle, object, this.#held);
  }

  adopt(handle: MemoryHandle): MemoryFile {
    const object = this.#held.get(handle);
    if (!(object instanceof MemoryObject)) {
      throw new MemoryError(`no memory file of handle ${handle}`);
    }
    return new SimulatedMemoryFile(handle, object, this.#held);
  }

  nameOf(handle: MemoryHandle): string {
    const { machine, pid } = this.#task.process;
    return `${placeOf(machine)}/${pid}/${handle}`;
  }

  open(name: string, _access: 'read' | 'write'): MemoryFile {
    const object = objectOf(this.#parts, name);
    if (!(object instanceof MemoryObject)) throw new MemoryError(`no memory file ${name}`);
    const handle = this.#parts.nextHandle();
    this.#held.add(handle, object);
    return new SimulatedMemoryFile(handle, object, this.#held);
  }

  runNow(steps: Steps): void {
    this.#steps.runNow(steps);
  }

  run(steps: Steps): void {
    this.#steps.run(steps);
  }

  readonly prefersRun = (): boolean => {
    const { prng, knobs } = this.#kernel;
    return prng.chance(knobs.stepsApartPerMillion);
  };

  meanwhile(): void {
    this.#kernel.meanwhile(this.#task);
  }

  available(): number {
    return machineRoom(this.#task.process.machine);
  }

  room(group: string): Room {
    const { machine } = this.#task.process;
    const { memoryReading, memoryStalledShare, memoryGroup } = machine;
    const isFound = group === '' || group === memoryGroup;
    return {
      availableBytes: memoryReading === undefined ? machineRoom(machine) : memoryReading.bytes,
      totalBytes: machine.memoryTotalBytes,
      stalledShare: memoryStalledShare,
      problem: isFound ? '' : `this process is in no control group ${group} that counts memory`,
    };
  }

  /** A property, because the data path calls it without the object. */
  readonly copy: Memory['copy'] = (target, targetStart, source, sourceStart, bytes) => {
    const sourceEnd = sourceStart + bytes;
    assert(bytes >= 0 && sourceStart >= 0 && sourceEnd <= source.length, 'copy out of bounds');
    assert(targetStart >= 0 && targetStart + bytes <= target.length, 'copy out of bounds');
    let now = bytes;
    if (pieces.has(source.buffer)) this.#steps.beforeReading();
    else if (pieces.has(target.buffer)) {
      const given = source.subarray(sourceStart, sourceEnd);
      now = this.#steps.holdBack(target, targetStart, given);
    }
    const end = sourceStart + now;
    if (target.buffer === source.buffer || now < 2 * WORD_BYTES) {
      target.set(source.subarray(sourceStart, end), targetStart);
      return;
    }
    // Where another processor could look in: between two whole words.
    const half = (now >> 1) & -WORD_BYTES;
    target.set(source.subarray(sourceStart, sourceStart + half), targetStart);
    this.#kernel.meanwhile(this.#task);
    target.set(source.subarray(sourceStart + half, end), targetStart + half);
  };

  readonly copyWords: Memory['copyWords'] = (target, targetStart, source, sourceStart, words) => {
    this.copy(
      bytesOf(target),
      targetStart * WORD_BYTES,
      bytesOf(source),
      sourceStart * WORD_BYTES,
      words * WORD_BYTES,
    );
  };
}

/** What others leave, less what simulated memory files take up. */
function machineRoom(machine: Machine): number {
  return Math.max(0, machine.memoryAvailableBytes - machine.memoryHeldBytes);
}

function bytesOf(words: BigUint64Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}
