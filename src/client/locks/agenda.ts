/**
 * What is due when, for all locks of a client: one timer, and a heap of those who wait for it.
 *
 * A lock that is taken and given back within its lease costs two changes of the heap and no timer:
 * the timer that runs fires once, finds nothing due, and waits for the next one.
 */

import type { Clock, Timer, Timers } from '../../runtime/clock.js';

export interface Due {
  /** In milliseconds of the clock. Changed by the agenda alone. */
  dueAt: number;
  /** Its place in the heap, -1 while it is not in it. */
  place: number;
  /** Called once, when its time has come; it is not in the agenda any more. */
  due(now: number): void;
  /** The client is closed. */
  close(): void;
}

export class Agenda {
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #heap: Due[] = [];
  #timer: Timer | undefined;
  #armedFor = Infinity;
  #isClosed = false;

  constructor(clock: Clock, timers: Timers) {
    this.#clock = clock;
    this.#timers = timers;
  }

  get size(): number {
    return this.#heap.length;
  }

  /** Adds it, or moves it. */
  put(entry: Due, dueAt: number): void {
    if (this.#isClosed) return;
    const before = entry.dueAt;
    entry.dueAt = dueAt;
    if (entry.place === -1) {
      entry.place = this.#heap.length;
      this.#heap.push(entry);
      this.#up(entry);
    } else if (dueAt < before) {
      this.#up(entry);
    } else {
      this.#down(entry);
    }
    if (dueAt < this.#armedFor) this.#arm(dueAt);
  }

  remove(entry: Due): void {
    const { place } = entry;
    if (place === -1) return;
    entry.place = -1;
    const last = this.#heap.pop() as Due;
    if (last === entry) return;
    last.place = place;
    this.#heap[place] = last;
    this.#up(last);
    this.#down(last);
  }

  /** Ends the timer, and tells everybody. */
  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    for (const entry of this.#heap.splice(0)) {
      entry.place = -1;
      entry.close();
    }
  }

  #arm(dueAt: number): void {
    this.#timer?.cancel();
    this.#armedFor = dueAt;
    const ms = dueAt === Infinity ? 0 : Math.max(0, dueAt - this.#clock.now());
    this.#timer = this.#timers.after(ms, this.#fire);
  }

  readonly #fire = (): void => {
    this.#armedFor = Infinity;
    this.#timer = undefined;
    const now = this.#clock.now();
    // What is added meanwhile and due at once has its turn with the next timer.
    for (let left = this.#heap.length; left > 0; left--) {
      const first = this.#heap[0];
      if (first === undefined || first.dueAt > now) break;
      this.remove(first);
      first.due(now);
    }
    const next = this.#heap[0]?.dueAt ?? Infinity;
    if (next < this.#armedFor && !this.#isClosed) this.#arm(next);
  };

  #up(entry: Due): void {
    const heap = this.#heap;
    while (entry.place > 0) {
      const parent = heap[(entry.place - 1) >> 1] as Due;
      if (parent.dueAt <= entry.dueAt) return;
      this.#swap(parent, entry);
    }
  }

  #down(entry: Due): void {
    const heap = this.#heap;
    for (;;) {
      const left = heap[entry.place * 2 + 1];
      const right = heap[entry.place * 2 + 2];
      if (left === undefined) return;
      const least = right !== undefined && right.dueAt < left.dueAt ? right : left;
      if (least.dueAt >= entry.dueAt) return;
      this.#swap(entry, least);
    }
  }

  #swap(above: Due, below: Due): void {
    const { place } = above;
    above.place = below.place;
    below.place = place;
    this.#heap[above.place] = above;
    this.#heap[below.place] = below;
  }
}
