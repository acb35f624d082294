/**
 * How long the datagrams of a link may be. It begins with what every path takes and is found out by
 * pings that are answered at their own length, one at a time, while there is other traffic:
 *
 *   idle --(not tried for a while)--> growing: the next larger size
 *            answered: in use at once, and the next one is tried    lost three times: idle
 *   idle, growing --(long datagrams were lost)--> checking: the size in use
 *            answered: idle    lost three times, while others are answered: the sure size, growing
 *
 * A ping that is lost counts only if something else was heard since: of a node that is silent
 * nothing is learned. No timer is needed: what is lost is noticed when something else is sent.
 */

import { DATAGRAM_BYTES_SURE } from '../../wire/datagram.js';

/**
 * A step for each size of packets that is common, less headers, also where a tunnel takes a little:
 * 1,500 bytes (1,460 in some clouds), 4,096, 9,000 (8,896 in some), and within a machine. Longest
 * is what takes half of 64 KiB, which is what operations are cut into: more would not save one.
 */
export const PATH_BYTES: readonly number[] = [
  DATAGRAM_BYTES_SURE,
  1_408,
  4_040,
  8_848,
  32 * 1024 + 88,
];
/**
 * What was not answered is tried again after so long, then after twice as long, and so on: routes
 * and settings change, and a path that has just changed is likely to change again.
 */
const AGAIN_MS_MIN = 1_000;
const AGAIN_MS_MAX = 60_000;
const TRIES = 3;
/** So many long datagrams were lost: perhaps none arrives. */
const LOST_FEW = 3;
/** Loss that has other reasons shall not cost a ping each time. */
const CHECK_GAP_MS = 50;

const IDLE = 0;
const GROWING = 1;
const CHECKING = 2;

export class PathSize {
  /** No longer datagram is taken by the node. */
  #mostBytes = Infinity;
  #level = 0;
  #state: typeof IDLE | typeof GROWING | typeof CHECKING = IDLE;
  #growAt = -Infinity;
  #againMs = AGAIN_MS_MIN;
  #checkAt = -Infinity;
  /** Long ones, since the size in use was last answered. */
  #lost = 0;
  /** Of the ping that is under way; -1: none is. */
  #number = -1;
  #sentAt = 0;
  #tries = 0;

  /** The longest datagram that may be sent. */
  get bytes(): number {
    return PATH_BYTES[this.#level] as number;
  }

  get isChecking(): boolean {
    return this.#state === CHECKING;
  }

  /**
   * How long a ping should be sent now; 0: none. What was sent `timeoutMs` ago is lost; `heardAt`
   * is when anything was heard last.
   */
  due(now: number, timeoutMs: number, heardAt: number): number {
    if (this.#number >= 0 && now - this.#sentAt >= timeoutMs) this.#lose(now, heardAt);
    const isSuspect = this.#level > 0 && this.#lost >= LOST_FEW && now >= this.#checkAt;
    if (isSuspect && this.#state !== CHECKING) this.#begin(CHECKING);
    else if (this.#state === IDLE && now >= this.#growAt && this.#next > 0) this.#begin(GROWING);
    if (this.#state === IDLE || this.#number >= 0) return 0;
    return this.#state === CHECKING ? this.bytes : this.#next;
  }

  /** The ping that was due is in the datagram of this number. */
  sent(number: number, now: number): void {
    this.#number = number;
    this.#sentAt = now;
  }

  /** How long the ping is that this datagram is; 0: none is waited for in it. */
  askedBytes(number: number): number {
    if (number !== this.#number) return 0;
    return this.#state === CHECKING ? this.bytes : this.#next;
  }

  /** A datagram was answered by one as long; true: it was the ping, and `bytes` may have grown. */
  answered(number: number, now: number): boolean {
    if (number !== this.#number) return false;
    this.#number = -1;
    this.#lost = 0;
    if (this.#state === GROWING) {
      this.#level++;
      this.#againMs = AGAIN_MS_MIN;
    } else {
      this.#checkAt = now + CHECK_GAP_MS;
    }
    this.#state = IDLE;
    return true;
  }

  /** The ping was not taken by the own system: no need to wait. */
  refused(now: number): void {
    this.#tries = TRIES - 1;
    this.#lose(now, Infinity);
  }

  /** So many datagrams that were longer than sure ones are lost, or their answers. */
  lost(count: number): void {
    this.#lost += count;
  }

  /** The node says that it takes no longer ones; sure ones it takes, whatever it says. */
  limit(bytes: number): void {
    this.#mostBytes = bytes;
    const before = this.#level;
    while (this.#level > 0 && this.bytes > bytes) this.#level--;
    const isInVain = this.#state === GROWING && this.#next === 0;
    if (this.#level === before && !isInVain) return;
    this.#state = IDLE;
    this.#number = -1;
    this.#lost = 0;
  }

  /** Another path: nothing is known of it. */
  forget(): void {
    this.#level = 0;
    this.#state = IDLE;
    this.#number = -1;
    this.#lost = 0;
    this.#growAt = -Infinity;
    this.#againMs = AGAIN_MS_MIN;
  }

  /** The next larger size; 0: none. */
  get #next(): number {
    const next = PATH_BYTES[this.#level + 1] ?? 0;
    return next <= this.#mostBytes ? next : 0;
  }

  #begin(state: typeof GROWING | typeof CHECKING): void {
    this.#state = state;
    this.#number = -1;
    this.#tries = 0;
  }

  #lose(now: number, heardAt: number): void {
    this.#number = -1;
    if (heardAt < this.#sentAt || ++this.#tries < TRIES) return;
    if (this.#state === CHECKING) {
      this.forget();
    } else {
      this.#state = IDLE;
      this.#growAt = now + this.#againMs;
      this.#againMs = Math.min(AGAIN_MS_MAX, 2 * this.#againMs);
    }
  }
}
