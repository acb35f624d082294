/**
 * The order of what cannot be sent yet.
 *
 * Over one connection a node executes in the order of sending, so an operation that is sent at
 * once needs no care. One that first has to wait (for a region's owner, a window, a reservation,
 * for its own many pieces) stands here, and an operation on the same pages, one of the two a
 * change, that is started later stands behind it. Others overlap.
 */

/** Pages `[first, end)`. */
export interface PageRange {
  first: number;
  end: number;
}

/** The pages that a range touches. */
export function pageRange(at: number, bytes: number, pageBytes: number): PageRange {
  return { first: Math.floor(at / pageBytes), end: Math.ceil((at + bytes) / pageBytes) };
}

export interface Waiting {
  readonly changes: boolean;
  /** May shrink while it waits, and `narrowed` is told; never grows. */
  readonly pages: readonly PageRange[];
  isStarted: boolean;
  /** Called once, when nothing ahead conflicts with it. It calls `leave` when all is sent. */
  start(): void;
  /** The space is closed: it ends now, and will not be sent. */
  abandon(): void;
}

/** Beyond this many everything counts as a conflict: order is kept, the search stays short. */
const SEARCHED_MAX = 64;

function overlaps(a: readonly PageRange[], b: readonly PageRange[]): boolean {
  for (const mine of a) {
    for (const other of b) {
      if (mine.first < other.end && other.first < mine.end) return true;
    }
  }
  return false;
}

export class Submission {
  readonly #waiting: Waiting[] = [];
  #isAdvancing = false;
  #isChanged = false;

  get length(): number {
    return this.#waiting.length;
  }

  /** Whether an operation on this range must stand behind something that waits. */
  conflicts(first: number, end: number, changes: boolean): boolean {
    if (this.#waiting.length > SEARCHED_MAX) return true;
    for (const ahead of this.#waiting) {
      if (!changes && !ahead.changes) continue;
      for (const range of ahead.pages) if (first < range.end && range.first < end) return true;
    }
    return false;
  }

  add(waiting: Waiting): void {
    this.#waiting.push(waiting);
    if (this.#isFree(this.#waiting.length - 1)) this.#start(waiting);
  }

  /** Everything of it is sent, or it has failed or was abandoned: what stood behind it may go. */
  leave(waiting: Waiting): void {
    const at = this.#waiting.indexOf(waiting);
    if (at === -1) return;
    this.#waiting.splice(at, 1);
    this.#advance();
  }

  narrowed(): void {
    this.#advance();
  }

  /** Ends everything that waits. */
  abandon(): void {
    for (const waiting of this.#waiting.splice(0)) waiting.abandon();
  }

  /** Those ahead that can be looked at in time do not conflict with it. */
  #isFree(index: number): boolean {
    if (index > SEARCHED_MAX) return false;
    const mine = this.#waiting[index] as Waiting;
    for (let i = 0; i < index; i++) {
      const ahead = this.#waiting[i] as Waiting;
      if ((mine.changes || ahead.changes) && overlaps(mine.pages, ahead.pages)) return false;
    }
    return true;
  }

  #start(waiting: Waiting): void {
    waiting.isStarted = true;
    waiting.start();
  }

  /** A start may leave at once and so call this again: one loop does the work of all. */
  #advance(): void {
    this.#isChanged = true;
    if (this.#isAdvancing) return;
    this.#isAdvancing = true;
    while (this.#isChanged) {
      this.#isChanged = false;
      this.#startOne();
    }
    this.#isAdvancing = false;
  }

  #startOne(): void {
    const last = Math.min(this.#waiting.length, SEARCHED_MAX + 1);
    for (let i = 0; i < last; i++) {
      const waiting = this.#waiting[i] as Waiting;
      if (waiting.isStarted || !this.#isFree(i)) continue;
      this.#isChanged = true;
      this.#start(waiting);
      return;
    }
  }
}
