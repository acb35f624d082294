/**
 * Memory that outlives a process: files without a name that are mapped, and handed from a parent
 * process to its child. A supervisor creates one, the memory node that it starts adopts it.
 *
 * One mapping is at most `MAPPING_BYTES_MAX` long; larger files are mapped in pieces. A mapping is
 * never undone while the process lives, because a view may still be reachable.
 */

import type { Bytes } from './network.js';

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
}

export class MemoryError extends Error {
  override readonly name = 'MemoryError';
}

export interface Memory {
  /** All zeros, no physical memory until touched. `name` contains `memrack`. */
  create(name: string, bytes: number): MemoryFile;
  /** Opens what the parent process handed over (or, in a thread, what the process holds). */
  adopt(handle: MemoryHandle): MemoryFile;
  /** Bytes of physical memory that this machine could give without swapping (MemAvailable). */
  available(): number;
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
}
