/**
 * How long it is worth to poll for something before sleeping: the full time when polling has paid
 * lately, or would have; half as long after each wait in vain, down to nothing.
 */

/** A sleeping thread answers within this when it is woken: what came faster was worth polling. */
export const PATIENCE_MS_MAX = 0.2;
/** Shorter patience than this is none. */
const PATIENCE_MS_MIN = 0.02;

export class Patience {
  #ms = PATIENCE_MS_MAX;
  /** Since when there is something to wait for. */
  #since = 0;

  get ms(): number {
    return this.#ms;
  }

  /** An answer is due from now on. */
  begin(now: number): void {
    this.#since = now;
  }

  /** Something came; `polled` tells whether because it was polled for. */
  arrived(now: number, polled: boolean): void {
    if (polled || now - this.#since < PATIENCE_MS_MAX) this.#ms = PATIENCE_MS_MAX;
    this.#since = now;
  }

  waitedInVain(): void {
    this.#ms = this.#ms > PATIENCE_MS_MIN ? this.#ms / 2 : 0;
  }
}
