/**
 * A call that changes pages (`free`, `protect`, a window that is revoked) and therefore keeps its
 * place among the reads and writes: it stands in the submission until it is done, and what
 * conflicts with it stands behind.
 */

import { closed, type MemrackError } from './error.js';
import type { PageRange, Submission, Waiting } from './submission.js';

export interface OrderedCallParts {
  /** False: only changes before it, and none after it, have anything to do with it. */
  readonly changes: boolean;
  readonly pages: PageRange;
  readonly run: () => Promise<void>;
  readonly left: () => void;
  readonly abandoned: () => MemrackError;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class OrderedCall implements Waiting {
  readonly changes: boolean;
  readonly pages: readonly PageRange[];
  isStarted = false;
  readonly #parts: OrderedCallParts;
  readonly #range: PageRange;

  constructor(parts: OrderedCallParts) {
    this.#parts = parts;
    this.changes = parts.changes;
    this.#range = { ...parts.pages };
    this.pages = [this.#range];
  }

  /** Now it is known how far it reaches: what lies beyond need not wait. */
  narrow(pages: PageRange): void {
    this.#range.first = Math.max(this.#range.first, pages.first);
    this.#range.end = Math.min(this.#range.end, pages.end);
  }

  start(): void {
    this.#parts.run().then(
      () => {
        this.#parts.left();
        this.#parts.resolve();
      },
      (error: unknown) => {
        this.#parts.left();
        this.#parts.reject(error);
      },
    );
  }

  /** One that is under way ends by itself when its connection is closed. */
  abandon(): void {
    this.#parts.reject(this.#parts.abandoned());
  }
}

/** Runs the call when nothing ahead conflicts with it, unless `what` it is of is closed before. */
export function inOrder(
  submission: Submission,
  pages: PageRange,
  what: string,
  run: (call: OrderedCall) => Promise<void>,
  changes = true,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const call: OrderedCall = new OrderedCall({
      changes,
      pages,
      run: () => run(call),
      left: () => submission.leave(call),
      abandoned: () => closed(`${what} is closed`),
      resolve,
      reject,
    });
    submission.add(call);
  });
}
