/**
 * What the locks of a space stand on: its words, by operations that no barrier of the program
 * counts, and the program's own operations, which a release waits for.
 */

import { Status } from '../base/status.js';
import type { CompletionSink } from '../fabric/link.js';
import { Barriers } from './barriers.js';
import { DataPath, type SharedParts } from './data-path.js';
import { Failures } from './failures.js';
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

  /**
   * A fence at every node: requests of one client are executed in order, and what an earlier
   * connection carried is executed before the next one serves, or never.
   */
  async settle(deadline: number): Promise<boolean> {
    const fenced: Promise<boolean>[] = [];
    for (const { link } of this.#regions.connections()) {
      const { sink, isDone } = fenceSink();
      fenced.push(isDone);
      link.fence(sink, 0, deadline);
    }
    return (await Promise.all(fenced)).every((isOk) => isOk);
  }
}

function fenceSink(): { sink: CompletionSink; isDone: Promise<boolean> } {
  let tell: (isOk: boolean) => void = () => undefined;
  const isDone = new Promise<boolean>((resolve) => {
    tell = resolve;
  });
  const completed = (_token: number, status: Status): void => tell(status === Status.Ok);
  return { sink: { completed }, isDone };
}
