/**
 * What is going to happen: a binary heap by virtual time, ties in the order of scheduling.
 *
 * Times are integer nanoseconds: below 2^53 they last 104 days and never round.
 */

/** Something that is going to happen. */
export interface Queued {
  readonly atNs: number;
  /** Given by the queue. */
  sequence: number;
}

export class EventQueue<T extends Queued> {
  readonly #heap: T[] = [];
  #sequence = 0;

  get length(): number {
    return this.#heap.length;
  }

  peek(): T | undefined {
    return this.#heap[0];
  }

  push(event: T): void {
    event.sequence = this.#sequence++;
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up] as T;
      if (!isBefore(event, parent)) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = event;
  }

  pop(): T | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      const right = heap[child + 1];
      if (right !== undefined && isBefore(right, heap[child] as T)) child += 1;
      const smaller = heap[child] as T;
      if (!isBefore(smaller, last)) break;
      heap[at] = smaller;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: Queued, b: Queued): boolean {
  return a.atNs < b.atNs || (a.atNs === b.atNs && a.sequence < b.sequence);
}
