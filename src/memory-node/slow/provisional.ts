/**
 * What was allocated and not confirmed: each for a while, then it is decided.
 *
 * A first piece (most allocations have no other) goes. A continuation goes or stays as the piece
 * before it, which may be at another node and is asked for; as long as nobody can tell, it waits.
 */

import { Status } from '../../base/status.js';
import type { PageRange } from '../../disk/table-changes.js';
import type { Timer, Timers } from '../../runtime/clock.js';
import { AllocFlag } from '../../wire/messages.js';

/** How long a client has to confirm, and between two questions about a piece before. */
export const PROVISIONAL_MS = 30_000;

export type Fate = 'kept' | 'gone' | 'unknown';

/** Where it is asked what has become of pieces at other nodes. */
export interface Neighbours {
  /** Of the piece that ends where `address` begins, which is the start of a region. */
  before(space: number, address: number): Promise<Fate>;
}

/** What an inspection of the last byte before a continuation says about that. */
export function fateOf(found: { readonly status?: Status; readonly flags?: number }): Fate {
  const { status = Status.Ok, flags = 0 } = found;
  if (status === Status.NotAllocated) return 'gone';
  if (status !== Status.Ok) return 'unknown';
  // Something else: the piece before has gone, and its place was given to others.
  if ((flags & AllocFlag.CONTINUES) === 0) return 'gone';
  return (flags & AllocFlag.PROVISIONAL) === 0 ? 'kept' : 'unknown';
}

interface Waiting {
  readonly range: PageRange;
  timer: Timer | undefined;
}

export class Provisional {
  readonly #timers: Timers;
  readonly #fateBefore: (range: PageRange) => Promise<Fate>;
  readonly #decide: (range: PageRange, fate: 'kept' | 'gone') => void;
  /** By the entry of the first page. */
  readonly #waiting = new Map<number, Waiting>();

  /** `decide` is called once for what was begun and not ended by somebody else. */
  constructor(parts: {
    readonly timers: Timers;
    readonly fateBefore: (range: PageRange) => Promise<Fate>;
    readonly decide: (range: PageRange, fate: 'kept' | 'gone') => void;
  }) {
    this.#timers = parts.timers;
    this.#fateBefore = parts.fateBefore;
    this.#decide = parts.decide;
  }

  begin(entry: number, range: PageRange, isContinuation: boolean): void {
    const waiting: Waiting = { range, timer: undefined };
    this.#waiting.set(entry, waiting);
    waiting.timer = this.#timers.after(PROVISIONAL_MS, () => {
      if (isContinuation) void this.#ask(entry, waiting);
      else this.#end(entry, waiting, 'gone');
    });
  }

  /** It was confirmed, freed, or went with its region. */
  end(entry: number): void {
    this.#waiting.get(entry)?.timer?.cancel();
    this.#waiting.delete(entry);
  }

  endWithin(space: number, firstPage: number, pages: number): void {
    for (const [entry, { range }] of this.#waiting) {
      const isInside = range.firstPage >= firstPage && range.firstPage < firstPage + pages;
      if (isInside && range.space === space) this.end(entry);
    }
  }

  async #ask(entry: number, waiting: Waiting): Promise<void> {
    const fate = await this.#fateBefore(waiting.range);
    // Somebody may have decided while this was asked, and the entry may be another one's.
    if (this.#waiting.get(entry) !== waiting) return;
    if (fate === 'unknown') this.begin(entry, waiting.range, true);
    else this.#end(entry, waiting, fate);
  }

  #end(entry: number, { range }: Waiting, fate: 'kept' | 'gone'): void {
    this.end(entry);
    this.#decide(range, fate);
  }

  /** Lets go of all timers: the node ends. */
  stop(): void {
    for (const entry of [...this.#waiting.keys()]) this.end(entry);
  }
}
