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
  /** Those that it begins with. */
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

/** What is known of one node. */
interface Seat {
  isAsking: boolean;
  /** When the last renewal that it has confirmed was sent. */
  confirmedMs: number;
}

export class Holder {
  readonly #parts: HolderParts;
  readonly #lost = newAbort();
  readonly #seats = new Map<HolderNode, Seat>();
  #isOver = false;
  #round: Timer | undefined;
  #expiry: Timer | undefined;

  constructor(parts: HolderParts) {
    this.#parts = parts;
    for (const node of parts.nodes) this.#seat(node);
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
    const confirmedMs = [...this.#seats.values()].map((seat) => seat.confirmedMs);
    return Math.max(...confirmedMs) + this.#parts.durationMs;
  }

  get #everyMs(): number {
    return this.#parts.durationMs / RENEWALS_PER_LEASE;
  }

  /** The first renewal at every node; from then on by itself. False: it is not held. */
  async begin(): Promise<boolean> {
    await Promise.all([...this.#seats.keys()].map((node) => this.#renew(node)));
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
    await Promise.all([...this.#seats.keys()].map((node) => node.end(timeoutMs)));
  }

  /** The lease is over this node, too: renewed there at once, and from then on. */
  add(node: HolderNode): Promise<void> {
    if (!this.#seats.has(node)) this.#seat(node);
    return this.#renew(node);
  }

  /** It is not asked any more, and what it still answers says nothing. */
  remove(node: HolderNode): void {
    this.#seats.delete(node);
    if (!this.#isOver && this.#round !== undefined) this.#look();
  }

  /** Whether a node says so that is asked now: the one that was heard last, else any. */
  async confirm(): Promise<boolean> {
    const seats = [...this.#seats].sort(([, a], [, b]) => b.confirmedMs - a.confirmedMs);
    const nodes = seats.map(([node]) => node);
    const [first, ...others] = nodes;
    if (first === undefined || this.#isOver) return false;
    if (await this.#confirmedBy(first)) return true;
    return (await Promise.all(others.map((node) => this.#confirmedBy(node)))).some(Boolean);
  }

  async #confirmedBy(node: HolderNode): Promise<boolean> {
    const status = await node.renew(ROUND_MS_MAX);
    if (!this.#seats.has(node) || this.#isOver) return false;
    if (status !== Status.Ok && isAboutLease(status)) {
      this.lose('a node says that it has passed to another holder');
    }
    return status === Status.Ok;
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
    const { clock, timers } = this.#parts;
    this.#round = timers.after(Math.min(this.#everyMs, ROUND_MS_MAX), () => {
      const dueMs = clock.now() - DUE_SHARE * this.#everyMs;
      for (const [node, { confirmedMs }] of this.#seats) {
        if (confirmedMs <= dueMs) void this.#renew(node);
      }
      this.#nextRound();
    });
  }

  #seat(node: HolderNode): void {
    this.#seats.set(node, { isAsking: false, confirmedMs: -Infinity });
  }

  async #renew(node: HolderNode): Promise<void> {
    const seat = this.#seats.get(node);
    if (this.#isOver || seat === undefined || seat.isAsking) return;
    seat.isAsking = true;
    const sentMs = this.#parts.clock.now();
    const isAllowed =
      !leaseFaults.leaseRenewedByController || (await this.#parts.controllerAnswers());
    const timeoutMs = Math.min(this.#everyMs, ROUND_MS_MAX);
    const status = isAllowed ? await node.renew(timeoutMs) : Status.Unavailable;
    seat.isAsking = false;
    if (this.#seats.get(node) !== seat) return;
    if (status === Status.Ok) seat.confirmedMs = sentMs;
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
