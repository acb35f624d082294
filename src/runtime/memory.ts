/**
 * Memory that outlives a process: files without a name that are mapped, and handed from a parent
 * process to its child. A supervisor creates one, the memory node that it starts adopts it. Those
 * that outlive a machine are in `durable.ts`.
 *
 * One mapping is at most `MAPPING_BYTES_MAX` long; larger files are mapped in pieces. A mapping is
 * never undone while the process lives, because a view may still be reachable.
 */

import type { Bytes } from './network.js';
import type { Room } from './room.js';

/** 1 GiB; a view over more than 4 GiB ends the whole process. */
export const MAPPING_BYTES_MAX = 1024 * 1024 * 1024;

export interface Mapping extends Bytes {
  /** Words of 8 bytes, for loads and stores that must not tear (through `Atomics`). */
  readonly wide: BigUint64Array;
}

/** Names a memory file to a child process; meaningful only there. */
export type MemoryHandle = number;

export interface MemoryFile {
  readonly name: string;
  readonly bytes: number;
  /** To be put into `SpawnOptions.memory`, or handed to a thread of this process. */
  readonly handle: MemoryHandle;
  /** `offset` and `bytes` are multiples of 4,096; at most `MAPPING_BYTES_MAX` bytes. */
  map(offset: number, bytes: number): Mapping;
  /** Gives the physical memory of the range back to the machine; it reads as zeros after. */
  discard(offset: number, bytes: number): void;
  /**
   * Takes physical memory for a range that is mapped here, so that no later access waits for it.
   * The contents stay.
   */
  populate(offset: number, bytes: number): void;
  /** Bytes of physical memory that the file takes up now, whoever touched them. */
  heldBytes(): number;
  /**
   * Gives up this process' hold on the file. Its mappings must not be used any more; on a real
   * machine a late access meets memory of its own, not the file's.
   */
  release(): void;
}

/**
 * Work on memory that other processes change at the same time, cut into its single accesses: each
 * `next` makes one access of a shared word, or one copy. Stores of a copy may reach the others as
 * late as the next access that is a fence.
 */
export interface Steps {
  /** Makes the next access; false when there is none after it. */
  next(): boolean;
  /** Whether the next access is a fence: an `Atomics` store, or an atomic. */
  readonly fencesNext: boolean;
  /** Whether the next access is of what the words around it guard. */
  readonly touchesNext?: boolean;
  /** Called once, after the last. Never when the process was killed in between. */
  ended(): void;
}

export class MemoryError extends Error {
  override readonly name = 'MemoryError';
}

export interface Memory {
  /** All zeros, no physical memory until touched. `name` contains `memrack`. */
  create(name: string, bytes: number): MemoryFile;
  /** Opens what the parent process handed over (or, in a thread, what the process holds). */
  adopt(handle: MemoryHandle): MemoryFile;
  /** Names a file of this process to other processes of this machine, for their `open`. */
  nameOf(handle: MemoryHandle): string;
  /**
   * Opens the file of another process of this machine and user by its name; with `read`, a store to
   * a mapping of it ends the process. Throws `MemoryError` when that process has ended or does not
   * hold the file. The file lives as long as anybody holds it.
   */
  open(name: string, access: 'read' | 'write'): MemoryFile;
  /**
   * Makes all accesses of `steps`, and calls `ended`, before it returns. In the simulator others
   * may run between any two of them.
   */
  runNow(steps: Steps): void;
  /**
   * The same, for who can wait: the simulator may return before the first access, and may stop the
   * process between any two of them for as long as it likes, or for ever. Nothing else of this
   * thread runs from the first access to `ended`. One at a time: not called again before `ended`.
   */
  run(steps: Steps): void;
  /**
   * Only of the simulator: says, anew each time, whether what could be made by `runNow` should go
   * the way of what can wait, where it can be stopped in the middle.
   */
  readonly prefersRun?: () => boolean;
  /** Others may look in here (a switching point in the simulator, nothing on a real machine). */
  meanwhile(): void;
  /** Bytes of physical memory that this machine could give without swapping (MemAvailable). */
  available(): number;
  /** The same with more about it, for who lends memory; `group` names a control group, or ''. */
  room(group: string): Room;
  /**
   * Copies without making an object. Ranges within one buffer may overlap. Does not promise that
   * 8-byte words stay whole: for those use `Mapping.wide` and `Atomics`.
   */
  copy(
    target: Uint8Array,
    targetStart: number,
    source: Uint8Array,
    sourceStart: number,
    bytes: number,
  ): void;
  /**
   * Copies whole words of 8 bytes, each with one load and one store; offsets are in words. For a
   * few of them (`COPY_WORDS_BYTES_MAX`) it is faster than `copy`.
   */
  copyWords(
    target: BigUint64Array,
    targetStart: number,
    source: BigUint64Array,
    sourceStart: number,
    words: number,
  ): void;
}
