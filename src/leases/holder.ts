/**
 * The holder's side of a lease: says to each node of the set, again and again, that it is there,
 * and notices when the lease is lost.
 *
 * It is lost as soon as a node answers that it is another's by now, or when no node has confirmed
 * it for its whole duration, counted on this process' own clock from when the confirmed renewal was
 * sent. The controller is not needed for any of this. Nothing that is written depends on noticing
 * in time: the nodes refuse an old epoch.
 */

import { newAbort } from '../base/abort.js';
import { isNoAnswer, Status } from '../base/status.js';
import type { Clock, Timer, Timers } from '../runtime/clock.js';
import { RENEWALS_PER_LEASE } from './limits.js';
import { leaseFaults } from './planted.js';

/** One node of the set, as the holder reaches it. Each call ends within its time. */
export interface HolderNode {
  renew(timeoutMs: number): Promise<Status>;
  end(timeoutMs: number): Promise<Status>;
}

export interface HolderParts {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly durationMs: number;
  readonly nodes: readonly HolderNode[];
  /** Asked only by a planted bug: no renewal needs the controller. */
  readonly controllerAnswers: () => Promise<boolean>;
  /** What the signal gives as its reason. */
  readonly lostReason: (why: string) => unknown;
}

/** One renewal may take as long; as long later who did not answer is asked again. */
const ROUND_MS_MAX = 1_000;
/** Timers are not exact: what is due a little later is done now. */
const DUE_SHARE = 0.9;

/** Whether an answer says whose the lease is. */
const isAboutLease = (status: Status): boolean => !isNoAnswer(status) && status !== Status.Busy;

export class Holder {
  readonly #parts: HolderParts;
  readonly #lost = newAbort();
  readonly #isAsking: boolean[];
  /** Of each node: when the last renewal that it has confirmed was sent. */
  readonly #confirmedMs: number[];
  #isOver = false;
  #round: Timer | undefined;
  #expiry: Timer | undefined;

  constructor(parts: HolderParts) {
    this.#parts = parts;
    this.#isAsking = parts.nodes.map(() => false);
    this.#confirmedMs = parts.nodes.map(() => -Infinity);
  }

  /** Aborted when the lease is lost; never by `release`. Its timer may be late: looks itself. */
  get lost(): AbortSignal {
    if (!this.#isOver && this.#round !== undefined) this.#look();
    return this.#lost.signal;
  }

  /** By this process' clock; a node may know better. */
  get isHeld(): boolean {
    return !this.#isOver && this.#parts.clock.now() < this.#endsMs;
  }

  get #endsMs(): number {
    return Math.max(...this.#confirmedMs) + this.#parts.durationMs;
  }

  get #everyMs(): number {
    return this.#parts.durationMs / RENEWALS_PER_LEASE;
  }

  /** The first renewal at every node; from then on by itself. False: it is not held. */
  async begin(): Promise<boolean> {
    await Promise.all(this.#parts.nodes.map((node, i) => this.#renew(node, i)));
    if (!this.isHeld) {
      this.stop();
      return false;
    }
    this.#nextRound();
    this.#watch();
    return true;
  }

  /** Gives it up at every node; those that do not answer give it up when it runs out there. */
  async release(timeoutMs: number): Promise<void> {
    this.stop();
    await Promise.all(this.#parts.nodes.map((node) => node.end(timeoutMs)));
  }

  /** No more renewals. */
  stop(): void {
    this.#isOver = true;
    this.#round?.cancel();
    this.#expiry?.cancel();
  }

  /** Somebody else has learnt from a node that it is another's. */
  lose(why: string): void {
    if (this.#isOver) return;
    this.stop();
    this.#lost.abort(this.#parts.lostReason(why));
  }

  /** Of a long lease more often than it is renewed: a node that did not answer is asked again. */
  #nextRound(): void {
    const { clock, timers, nodes } = this.#parts;
    this.#round = timers.after(Math.min(this.#everyMs, ROUND_MS_MAX), () => {
      const dueMs = clock.now() - DUE_SHARE * this.#everyMs;
      nodes.forEach((node, i) => {
        if ((this.#confirmedMs[i] as number) <= dueMs) void this.#renew(node, i);
      });
      this.#nextRound();
    });
  }

  async #renew(node: HolderNode, index: number): Promise<void> {
    if (this.#isOver || this.#isAsking[index] === true) return;
    this.#isAsking[index] = true;
    const sentMs = this.#parts.clock.now();
    const isAllowed =
      !leaseFaults.leaseRenewedByController || (await this.#parts.controllerAnswers());
    const timeoutMs = Math.min(this.#everyMs, ROUND_MS_MAX);
    const status = isAllowed ? await node.renew(timeoutMs) : Status.Unavailable;
    this.#isAsking[index] = false;
    if (status === Status.Ok) this.#confirmedMs[index] = sentMs;
    else if (isAboutLease(status)) this.lose('a node says that it has passed to another holder');
  }

  #watch(): void {
    const { clock, timers } = this.#parts;
    this.#expiry = timers.after(Math.max(1, this.#endsMs - clock.now()), () => {
      this.#look();
      if (!this.#isOver) this.#watch();
    });
  }

  #look(): void {
    if (this.isHeld) return;
    this.lose('no node has confirmed it for as long as it lasts');
  }
}
