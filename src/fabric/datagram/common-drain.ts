/**
 * When all who send to a node hold still for a moment, so that queues on the way run empty.
 *
 * A queue that never empties hides the best delay from those who came when it was there: they take
 * it for the length of the path, and go on filling it. One of many cannot empty it. But all hear
 * the clock of the same node, so all can hold still at the same time:
 *
 *     node's clock   n x 4096 ms    + a delay            + 5 delays
 *                    nobody sends   each sends one,      all go on
 *                                   at a time of its own
 *
 * A delay is as long as answers of late took. Below one datagram a sender waits for longer than
 * that anyway, and begins within the time that lies between two of its datagrams.
 *
 * Who has another idea of the clock, or sends nothing then, finds nothing out and harms nobody:
 * what the others measure is as long as without holding still, or shorter.
 */

/** Powers of two, so that the clock may begin anew after 32 bits. */
const EVERY_MS = 4096;
/** A link that has just begun does it more often: many may have begun at once. */
const OFTEN_MS = 1024;
const OFTEN_TURNS = 5;
/** A shorter queue is not worth it: as much is allowed anyway. */
const DELAY_MS_MIN = 1;
/** What is longer needs several turns. */
const DELAY_MS_MAX = 200;
/** How many delays there are for each to send one. */
const SPREAD = 4;
/** Less than the time between two turns: each shall begin in between. */
const SPREAD_MS_MAX = 500;
/** Who has a larger window over a longer path empties the queue by shrinking, which costs less. */
const MANY_DATAGRAMS = 8;
const LONG_MS = 5;

export class CommonDrain {
  readonly #fraction: () => number;
  /** The node's clock less ours, in milliseconds; NaN: not known. */
  #ahead = Number.NaN;
  /** Of the last turn: its number, and when it began, by our clock. */
  #turn = -1;
  #turnAt = -Infinity;
  #turns = 0;
  /** From here on one may be sent, and after the end all. */
  #first = -Infinity;
  #end = -Infinity;

  /** `fraction` gives a number in [0, 1), another one each time. */
  constructor(fraction: () => number) {
    this.#fraction = fraction;
  }

  /** What the node's clock says in an answer that is there now and took `delayMs`. */
  heard(clock: number, delayMs: number, now: number): void {
    this.#ahead = clock + delayMs / 2 - now;
  }

  /** A datagram. */
  sent(now: number): void {
    if (now < this.#end) this.#first = this.#end;
  }

  /**
   * How many milliseconds to hold still from now on; 0: not at all. Answers of late take `delayMs`,
   * and the window is of so many datagrams.
   */
  waitMs(delayMs: number, datagrams: number, now: number): number {
    if (this.#isTurn(now)) this.#begin(delayMs, datagrams);
    return Math.max(0, this.#first - now);
  }

  get #everyMs(): number {
    return this.#turns < OFTEN_TURNS ? OFTEN_MS : EVERY_MS;
  }

  #isTurn(now: number): boolean {
    const turn = Math.floor((now + this.#ahead) / this.#everyMs);
    if (turn === this.#turn || Number.isNaN(turn)) return false;
    if (this.#turn < 0) {
      this.#turn = turn;
      return false;
    }
    // What is known of the clock becomes better, and must not begin a turn twice.
    if (now - this.#turnAt < this.#everyMs / 2) return false;
    this.#turn = turn;
    this.#turnAt = turn * this.#everyMs - this.#ahead;
    return true;
  }

  #begin(delayMs: number, datagrams: number): void {
    const began = this.#turnAt;
    this.#turns++;
    if (delayMs < DELAY_MS_MIN || (datagrams > MANY_DATAGRAMS && delayMs > LONG_MS)) return;
    const ms = Math.min(delayMs, DELAY_MS_MAX);
    const spreadMs = Math.max(ms * SPREAD, Math.min(ms / datagrams, SPREAD_MS_MAX));
    this.#first = began + ms + spreadMs * this.#fraction();
    this.#end = began + ms + ms * SPREAD;
  }
}
