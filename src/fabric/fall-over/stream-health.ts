/**
 * Whether the stream of a link can be used, as seen from outside: by how long answers are overdue,
 * by how often it is lost, and by pings. See docs/internals/fall-over.md.
 */

import { assert } from '../../base/assert.js';
import { Status } from '../../base/status.js';
import { SILENCE_MS, WORKING_MS } from '../../wire/limits.js';
import { MessageType } from '../../wire/messages.js';
import type { CompletionSink } from '../link.js';
import type { Transport } from '../transport.js';

/** A node that works on something says so more often than this. */
export const OVERDUE_MS = 700;
/** So many losses within so long are too many. */
const LOSSES = 3;
const LOSSES_WITHIN_MS = 3_000;
const PING_EACH_MS = 100;
/** For so long it has to be well before it is used again; more where it failed again soon. */
const HOLD_MS_MIN = 1_000;
const HOLD_MS_MAX = 30_000;
const HELD_MS = 10_000;

assert(OVERDUE_MS > WORKING_MS && OVERDUE_MS < SILENCE_MS);

/** What is seen of the stream. */
export type Observed = Pick<Transport, 'losses' | 'overdueMs' | 'add'>;

export class StreamHealth implements CompletionSink {
  readonly #transport: Observed;
  readonly #now: () => number;
  /** When it was lost last, oldest first. */
  readonly #lostAt: number[] = new Array<number>(LOSSES).fill(Number.NEGATIVE_INFINITY);
  #losses = 0;
  #holdMs = HOLD_MS_MIN;
  #backAt = Number.NEGATIVE_INFINITY;
  #pingedAt = Number.NEGATIVE_INFINITY;
  #isPinging = false;
  /** Since when it has answered every ping; -1: it does not. */
  #wellSince = -1;
  #answeredAt = Number.NEGATIVE_INFINITY;

  constructor(transport: Observed, now: () => number) {
    this.#transport = transport;
    this.#now = now;
  }

  /** Whether it is of no use at the moment. */
  isFailing(now: number): boolean {
    this.#countLosses(now);
    if (this.#transport.overdueMs(now) > OVERDUE_MS) return true;
    return now - (this.#lostAt[0] as number) < LOSSES_WITHIN_MS;
  }

  #countLosses(now: number): void {
    const { losses } = this.#transport;
    for (; this.#losses < losses; this.#losses++) {
      this.#lostAt.shift();
      this.#lostAt.push(now);
      this.#wellSince = -1;
    }
  }

  /** It is not used from here on: how long it has to be well depends on how long it was used. */
  left(now: number): void {
    const isSoon = now - this.#backAt < HELD_MS;
    this.#holdMs = isSoon ? Math.min(HOLD_MS_MAX, 2 * this.#holdMs) : HOLD_MS_MIN;
    this.#wellSince = -1;
    this.#answeredAt = Number.NEGATIVE_INFINITY;
  }

  /** It is used again. */
  back(now: number): void {
    this.#backAt = now;
    this.#lostAt.fill(Number.NEGATIVE_INFINITY);
  }

  /** Pings it now and then; while it is not there that has it connected. */
  ping(now: number): void {
    this.#countLosses(now);
    if (this.#transport.overdueMs(now) > OVERDUE_MS) this.#wellSince = -1;
    if (this.#isPinging || now - this.#pingedAt < PING_EACH_MS) return;
    this.#isPinging = true;
    this.#pingedAt = now;
    this.#transport.add(MessageType.Ping, this, 0, now + SILENCE_MS);
  }

  /** A ping has ended. */
  completed(_token: number, status: Status): void {
    const now = this.#now();
    this.#isPinging = false;
    this.#countLosses(now);
    if (status !== Status.Ok) {
      this.#wellSince = -1;
      return;
    }
    this.#answeredAt = now;
    if (this.#wellSince < 0) this.#wellSince = now;
  }

  /** Whether it has been well for so long that it may be used again. */
  isWell(now: number): boolean {
    return this.#wellSince >= 0 && now - this.#wellSince >= this.#holdMs;
  }

  /** Whether it has answered a ping since then. */
  hasAnsweredSince(at: number): boolean {
    return this.#wellSince >= 0 && this.#answeredAt > at;
  }
}
