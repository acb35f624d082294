/** Writes to slabs that are being taken: a bounded number, in the order in which they came. */

import type { CompletionSink } from '../fabric/link.js';

export interface WaitingWrite {
  readonly offset: number;
  readonly from: Uint8Array;
  readonly start: number;
  readonly bytes: number;
  readonly sink: CompletionSink;
  readonly token: number;
  readonly deadline: number;
}

/** Of a device; more are `Busy`. */
export const WAITING_WRITES_MAX = 1024;

export class WaitingWrites {
  readonly #bySlab = new Map<number, WaitingWrite[]>();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count >= WAITING_WRITES_MAX;
  }

  /** Whether it is the first that waits for this slab. */
  add(slab: number, write: WaitingWrite): boolean {
    this.#count += 1;
    const known = this.#bySlab.get(slab);
    if (known === undefined) this.#bySlab.set(slab, [write]);
    else known.push(write);
    return known === undefined;
  }

  take(slab: number): readonly WaitingWrite[] {
    const writes = this.#bySlab.get(slab) ?? [];
    this.#bySlab.delete(slab);
    this.#count -= writes.length;
    return writes;
  }

  /** Those whose time is over. */
  takeLate(nowMs: number): readonly WaitingWrite[] {
    const late: WaitingWrite[] = [];
    for (const [slab, writes] of this.#bySlab) {
      const left = writes.filter((write) => write.deadline > nowMs);
      if (left.length === writes.length) continue;
      late.push(...writes.filter((write) => write.deadline <= nowMs));
      this.#bySlab.set(slab, left);
    }
    this.#count -= late.length;
    return late;
  }

  takeAll(): readonly WaitingWrite[] {
    return [...this.#bySlab.keys()].flatMap((slab) => this.take(slab));
  }
}
