/**
 * Gives the event loop its turn. Operations that are done at once settle without it, so a program
 * that awaits one after the other would keep timers and input of its own process waiting for ever:
 * the renewal of a lease, the write that it is itself waiting to see.
 */

import type { Clock, Timers } from '../runtime/clock.js';

/** A turn is over when so much time has passed in it, */
const TURN_MS = 2;
/** or so much by what operations take, roughly: where no time passes, and for the next look. */
const WORK_NS_MAX = 32_000_000;
const WORK_NS_PER_LOOK = 500_000;
const OPERATION_NS = 256;
const NS_PER_BYTE = 1 / 8;
/** Less than a turn, so that the timer is due when the turn is over. */
const TIMER_MS = 1;

export class Turns {
  readonly #clock: Clock;
  readonly #timers: Timers;
  #startedMs = 0;
  #workNs = 0;
  #nextLookNs = 0;
  #isOver = false;
  #next: Promise<void> | undefined;
  #begin: (() => void) | undefined;
  #target: unknown;
  #settled: Promise<unknown> | undefined;

  constructor({ clock, timers }: { readonly clock: Clock; readonly timers: Timers }) {
    this.#clock = clock;
    this.#timers = timers;
  }

  /** Counts what was done at once; true when it is to settle in the next turn. */
  isOver(bytes: number, operations: number): boolean {
    if (this.#workNs === 0) this.#started();
    this.#workNs += operations * OPERATION_NS + bytes * NS_PER_BYTE;
    if (this.#workNs >= this.#nextLookNs) this.#look();
    return this.#isOver;
  }

  #started(): void {
    this.#startedMs = this.#clock.now();
    this.#nextLookNs = WORK_NS_PER_LOOK;
    this.#timers.after(TIMER_MS, this.#ended);
  }

  #look(): void {
    this.#nextLookNs = this.#workNs + WORK_NS_PER_LOOK;
    const isLong = this.#clock.now() - this.#startedMs >= TURN_MS;
    this.#isOver ||= isLong || this.#workNs >= WORK_NS_MAX;
  }

  /**
   * A promise that is settled with an object: the same again where the last one was for the same,
   * because to make one for an object takes as long as to read it. Kept for a turn at most.
   */
  settled(result: unknown): Promise<unknown> {
    if (result === this.#target && this.#settled !== undefined) return this.#settled;
    const settled = Promise.resolve(result);
    if (this.#workNs > 0 && typeof result === 'object') {
      this.#target = result;
      this.#settled = settled;
    }
    return settled;
  }

  /** Resolves when the event loop has looked at everything. */
  next(): Promise<void> {
    this.#next ??= new Promise((resolve) => {
      this.#begin = resolve;
    });
    return this.#next;
  }

  readonly #ended = (): void => {
    this.#workNs = 0;
    this.#isOver = false;
    this.#target = undefined;
    this.#settled = undefined;
    this.#next = undefined;
    this.#begin?.();
    this.#begin = undefined;
  };
}
