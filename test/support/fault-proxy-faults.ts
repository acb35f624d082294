/** What happens to the datagrams that go one way through the fault proxy. */
import type { Prng } from '../../src/base/prng.js';
import { type FaultCounts, type Faults, NO_FAULTS } from './fault-proxy-control.js';
import { copyOf, type Send } from './fault-proxy-pipe.js';

const KEPT_MAX = 65_536;
const CHANGES_MAX = 4;

interface Held<F> {
  readonly flow: F;
  readonly bytes: Uint8Array;
  readonly due: number;
  /** So many later ones of its client go first. */
  behind: number;
  isSent: boolean;
}

interface Kept<F> {
  readonly flow: F;
  readonly bytes: Uint8Array;
}

export class FaultyWay<F> {
  readonly counts: FaultCounts = {
    arrived: 0,
    lost: 0,
    duplicated: 0,
    reordered: 0,
    corrupted: 0,
    delayed: 0,
    cut: 0,
    tooLong: 0,
    kept: 0,
    replayed: 0,
  };
  readonly #prng: Prng;
  readonly #send: Send<F>;
  #faults: Faults = NO_FAULTS;
  /** A heap by `due`. */
  readonly #held: Held<F>[] = [];
  /** Of each client: those that wait for later ones. */
  readonly #behind = new Map<F, Held<F>[]>();
  #kept: Kept<F>[] = [];
  #keptAt = 0;

  constructor(prng: Prng, send: Send<F>) {
    this.#prng = prng;
    this.#send = send;
  }

  set(faults: Partial<Faults>): void {
    this.#faults = { ...this.#faults, ...faults };
  }

  /** A datagram that is to go this way. */
  offer(flow: F, bytes: Uint8Array, start: number, length: number, now: number): void {
    const { counts } = this;
    const faults = this.#faults;
    counts.arrived++;
    if (faults.isCut) {
      counts.cut++;
      return;
    }
    if (length > faults.bytesMax) {
      counts.tooLong++;
      return;
    }
    if (this.#hits(faults.keeping)) this.#keep(flow, copyOf(bytes, start, length), now);
    if (this.#hits(faults.loss)) {
      counts.lost++;
      return;
    }
    this.#once(flow, bytes, start, length, now);
    if (this.#hits(faults.duplication)) {
      counts.duplicated++;
      this.#once(flow, bytes, start, length, now);
    }
  }

  #hits(probability: number): boolean {
    return probability > 0 && this.#prng.fraction() < probability;
  }

  #once(flow: F, bytes: Uint8Array, start: number, length: number, now: number): void {
    const { delay, delayMs, reordering, reorderMs, behindMax, corruption } = this.#faults;
    const prng = this.#prng;
    const isDelayed = this.#hits(delay);
    const isReordered = !isDelayed && this.#hits(reordering);
    const isCorrupted = this.#hits(corruption) && length > 0;
    if (!isDelayed && !isReordered && !isCorrupted) {
      this.#go(flow, bytes, start, length);
      return;
    }
    const copy = copyOf(bytes, start, length);
    if (isCorrupted) this.#corrupt(copy);
    if (isDelayed) {
      this.counts.delayed++;
      this.#hold({ flow, bytes: copy, due: now + 1 + prng.fraction() * (delayMs - 1) });
    } else if (isReordered) {
      this.counts.reordered++;
      const held = this.#hold({ flow, bytes: copy, due: now + reorderMs });
      held.behind = 1 + prng.below(behindMax);
      const waiting = this.#behind.get(flow);
      if (waiting === undefined) this.#behind.set(flow, [held]);
      else waiting.push(held);
    } else {
      this.#go(flow, copy, 0, length);
    }
  }

  #corrupt(bytes: Uint8Array): void {
    this.counts.corrupted++;
    const prng = this.#prng;
    for (let left = 1 + prng.below(CHANGES_MAX); left > 0; left--) {
      const at = prng.below(bytes.length);
      const change = prng.below(2) === 0 ? 1 << prng.below(8) : 1 + prng.below(255);
      bytes[at] = (bytes[at] as number) ^ change;
    }
  }

  #go(flow: F, bytes: Uint8Array, start: number, length: number): void {
    this.#send(flow, bytes, start, length);
    const waiting = this.#behind.get(flow);
    if (waiting === undefined) return;
    const ready = waiting.filter((held) => --held.behind <= 0 && !held.isSent);
    const left = waiting.filter((held) => held.behind > 0 && !held.isSent);
    if (left.length > 0) this.#behind.set(flow, left);
    else this.#behind.delete(flow);
    for (const held of ready) this.#release(held);
  }

  #release(held: Held<F>): void {
    if (held.isSent) return;
    held.isSent = true;
    // What was on its way when the way was cut is lost too.
    if (this.#faults.isCut) this.counts.cut++;
    else this.#send(held.flow, held.bytes, 0, held.bytes.length);
  }

  #keep(flow: F, bytes: Uint8Array, now: number): void {
    const { replayMs } = this.#faults;
    this.counts.kept++;
    if (replayMs > 0) {
      this.counts.replayed++;
      this.#hold({ flow, bytes, due: now + replayMs });
      return;
    }
    if (this.#kept.length < KEPT_MAX) this.#kept.push({ flow, bytes });
    else this.#kept[this.#keptAt++ % KEPT_MAX] = { flow, bytes };
  }

  /** Sends so many of the kept ones again at once, the oldest first; returns how many. */
  replay(count: number): number {
    const kept = [...this.#kept.slice(this.#keptAt % KEPT_MAX), ...this.#kept].slice(0, count);
    const sent = Math.min(kept.length, this.#kept.length);
    for (let i = 0; i < sent; i++) {
      const { flow, bytes } = kept[i] as Kept<F>;
      this.counts.replayed++;
      this.#send(flow, bytes, 0, bytes.length);
    }
    return sent;
  }

  // ------------------------------------------------------------------------------ what is held

  #hold({ flow, bytes, due }: { flow: F; bytes: Uint8Array; due: number }): Held<F> {
    const heap = this.#held;
    const held: Held<F> = { flow, bytes, due, behind: 0, isSent: false };
    let at = heap.length;
    for (let up = (at - 1) >> 1; at > 0; at = up, up = (at - 1) >> 1) {
      const above = heap[up] as Held<F>;
      if (above.due <= due) break;
      heap[at] = above;
    }
    heap[at] = held;
    return held;
  }

  #takeFirst(): Held<F> {
    const heap = this.#held;
    const first = heap[0] as Held<F>;
    const last = heap.pop() as Held<F>;
    const { length } = heap;
    if (length === 0) return first;
    let at = 0;
    for (let down = 1; down < length; down = 2 * at + 1) {
      const right = heap[down + 1];
      if (right !== undefined && right.due < (heap[down] as Held<F>).due) down++;
      const below = heap[down] as Held<F>;
      if (below.due >= last.due) break;
      heap[at] = below;
      at = down;
    }
    heap[at] = last;
    return first;
  }

  /** Sends what was held until now; returns when there is more to do, or Infinity. */
  run(now: number): number {
    const heap = this.#held;
    while (heap.length > 0 && (heap[0] as Held<F>).due <= now) this.#release(this.#takeFirst());
    return heap[0]?.due ?? Number.POSITIVE_INFINITY;
  }
}
