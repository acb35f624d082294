/**
 * What the locks of a space stand on: its words, by operations that no barrier of the program
 * counts, and the program's own operations, which a release waits for.
 */

import { Status } from '../base/status.js';
import { Barriers } from './barriers.js';
import { DataPath, type SharedParts } from './data-path.js';
import { Failures } from './failures.js';
import { fenceOver } from './fence.js';
import type { LockMemory } from './locks/memory.js';
import type { RegionMap } from './region-map.js';

const WORD_BYTES = 8;

/** Nobody's `fence` hears of what becomes of the words of locks. */
export function lockMemoryOf(shared: SharedParts, regions: RegionMap): LockMemory {
  const failures = new Failures(shared.runtime, regions, shared, true);
  const path = new DataPath({ ...shared, barriers: new Barriers() }, regions, failures);
  return new SpaceLockMemory(shared, path, regions);
}

class SpaceLockMemory implements LockMemory {
  readonly name: string;
  readonly #barriers: Barriers;
  readonly #path: DataPath;
  readonly #regions: RegionMap;

  constructor({ name, barriers }: SharedParts, path: DataPath, regions: RegionMap) {
    this.name = name;
    this.#barriers = barriers;
    this.#path = path;
    this.#regions = regions;
  }

  swap(at: number, expected: bigint, desired: bigint): Promise<bigint> {
    return this.#path.compareAndSwap(at, expected, desired);
  }

  async read(at: number): Promise<bigint> {
    const bytes = await this.#path.read(at, WORD_BYTES);
    return new DataView(bytes.buffer).getBigUint64(0, true);
  }

  barrier(): Promise<void> | undefined {
    return this.#barriers.quiet();
  }

  get unknowns(): number {
    return this.#barriers.unknowns;
  }

  /** A fence at every node. */
  async settle(deadline: number): Promise<boolean> {
    const links = [...this.#regions.connections()].map(({ link }) => link);
    const ended = await Promise.all(links.map((link) => fenceOver(link, deadline)));
    return ended.every((status) => status === Status.Ok);
  }
}
