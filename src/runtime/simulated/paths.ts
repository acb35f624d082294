/**
 * How long a datagram may be between two machines, each way by itself, and what becomes of longer
 * ones: mostly they vanish and nobody is told (a black hole), as behind a router that is silent;
 * where a machine's own link is what is short, its system refuses them. While routes change some
 * still take the way of before, and come late.
 *
 * The ways between processes of one machine take any datagram.
 */

import type { Fault, Faults } from './faults.js';
import type { Machine } from './task.js';

/** Payload of IPv6 over a machine's own link, whose packets have 65,536 bytes. */
const OWN_V6_BYTES = 65_536 - 48;

export interface Shrinking {
  readonly bytes: number;
  /** Longer datagrams are refused at the sender, which counts them as unsent. */
  readonly isTold: boolean;
  /** Those that are sent before come late. */
  readonly lateUntilNs: number;
  readonly fault: Fault;
}

export const Passage = { THROUGH: 0, LOST: 1, REFUSED: 2, LATE: 3 } as const;
export type Passage = (typeof Passage)[keyof typeof Passage];

export class Paths {
  readonly #faults: Faults;
  readonly #usualBytes: number;
  /** By way: those that differ from the usual, and the faults that make one shorter. */
  readonly #bytes: Map<string, number> = new Map();
  readonly #shrunk: Map<string, Shrinking[]> = new Map();

  constructor(faults: Faults, usualBytes: number) {
    this.#faults = faults;
    this.#usualBytes = usualBytes;
  }

  /** Longer datagrams than this vanish from now on. */
  set(from: Machine, to: Machine, bytes: number): void {
    this.#bytes.set(way(from, to), bytes);
  }

  /** Until `restore` is called with the same fault. */
  shrink(from: Machine, to: Machine, shrinking: Shrinking): void {
    const name = way(from, to);
    this.#shrunk.set(name, [...(this.#shrunk.get(name) ?? []), shrinking]);
  }

  restore(fault: Fault): void {
    for (const [name, all] of this.#shrunk) {
      const left = all.filter((one) => one.fault !== fault);
      if (left.length > 0) this.#shrunk.set(name, left);
      else this.#shrunk.delete(name);
    }
    this.#faults.end(fault);
  }

  /** What becomes of a datagram that is sent now. */
  take(
    { from, to, nowNs }: { readonly from: Machine; readonly to: Machine; readonly nowNs: number },
    bytes: number,
    isV6: boolean,
  ): Passage {
    if (from === to) return isV6 && bytes > OWN_V6_BYTES ? Passage.REFUSED : Passage.THROUGH;
    const name = way(from, to);
    for (const { bytes: most, isTold, lateUntilNs, fault } of this.#shrunk.get(name) ?? []) {
      if (bytes <= most) continue;
      this.#faults.matter(fault);
      if (nowNs < lateUntilNs) return Passage.LATE;
      return isTold ? Passage.REFUSED : Passage.LOST;
    }
    return bytes > (this.#bytes.get(name) ?? this.#usualBytes) ? Passage.LOST : Passage.THROUGH;
  }
}

function way(from: Machine, to: Machine): string {
  return `${from.id}>${to.id}`;
}
