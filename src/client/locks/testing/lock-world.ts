/**
 * Owners of locks with clocks of their own, and one memory whose answers may be late, lost or
 * unknown: virtual time, one seed. An owner that is stopped does nothing, and then everything at
 * once, in any order; a request that was given up may still be executed.
 */

import { defined } from '../../../base/assert.js';
import { Prng } from '../../../base/prng.js';
import type { Timer } from '../../../runtime/clock.js';
import { MemrackError } from '../../error.js';
import { Agenda } from '../agenda.js';
import { Lock } from '../lock.js';
import type { LockMemory, LockParts } from '../memory.js';

interface WorldEvent {
  readonly at: number;
  readonly order: number;
  run: (() => void) | undefined;
}

export interface Faults {
  /** Of a million operations each. */
  refused: number;
  requestLost: number;
  replyLost: number;
  late: number;
}

export const NO_FAULTS: Faults = { refused: 0, requestLost: 0, replyLost: 0, late: 0 };
const LATE_MS_MAX = 2_000;

/** Lets promises and what they cause run. */
async function settle(): Promise<void> {
  for (let i = 0; i < 40; i++) await Promise.resolve();
}

export class LockWorld {
  readonly prng: Prng;
  readonly words = new Map<number, bigint>();
  faults: Faults;
  now = 0;
  operations = 0;
  #order = 0;
  #events: WorldEvent[] = [];

  constructor(seed: number, faults: Faults) {
    this.prng = new Prng(seed);
    this.faults = faults;
  }

  after(ms: number, run: () => void): WorldEvent {
    const event = { at: this.now + ms, order: this.#order++, run };
    // Mostly near the end: sorted by descending time.
    let place = this.#events.length;
    while (place > 0 && defined(this.#events[place - 1]).at <= event.at) place--;
    this.#events.splice(place, 0, event);
    return event;
  }

  /** Runs until `isDone`, or the time is over; says which. */
  async run(isDone: () => boolean, forMs: number): Promise<boolean> {
    const end = this.now + forMs;
    for (;;) {
      await settle();
      if (isDone()) return true;
      const next = this.#events.at(-1);
      if (next === undefined || next.at > end) {
        this.now = end;
        return false;
      }
      this.#events.pop();
      this.now = next.at;
      next.run?.();
    }
  }
}

export class Owner {
  readonly world: LockWorld;
  readonly prng: Prng;
  readonly parts: LockParts;
  isDead = false;
  unknowns = 0;
  #rate: number;
  #offset: number;
  #stoppedUntil = -Infinity;
  #cutOffUntil = -Infinity;
  readonly #givenUpMs: number;
  /** Requests of one owner are executed in order. */
  #executedAt = 0;

  constructor(world: LockWorld, number: number) {
    this.world = world;
    this.prng = world.prng.fork(`owner ${number}`);
    this.#rate = 1 + (this.prng.fraction() - 0.5) / 50;
    this.#offset = this.prng.below(1_000_000);
    this.#givenUpMs = this.prng.pick([40, 1_500]);
    const clock = {
      now: () => Math.floor((this.#offset + world.now * this.#rate) * 1_000) / 1_000,
      wall: () => 0,
    };
    const timers = {
      // A little more, because the clock rounds down, and a timer never comes too early.
      after: (ms: number, run: () => void): Timer => this.after(ms / this.#rate + 0.002, run),
      soon: (run: () => void) => void Promise.resolve().then(run),
    };
    const agenda = new Agenda(clock, timers);
    const { prng } = this;
    const entropy = {
      u32: () => prng.u32(),
      u53: () => prng.u53(),
      fraction: () => prng.fraction(),
    };
    this.parts = { clock, timers, entropy, agenda, memory: this.#memory() };
  }

  lock(at: number): Lock {
    return new Lock(this.parts, at);
  }

  get isStopped(): boolean {
    return this.world.now < this.#stoppedUntil;
  }

  /** Nothing of it runs until then. */
  stop(ms: number): void {
    this.#stoppedUntil = Math.max(this.#stoppedUntil, this.world.now + ms);
  }

  /** Nothing that it sends arrives until then. */
  cutOff(ms: number): void {
    this.#cutOffUntil = this.world.now + ms;
  }

  die(): void {
    this.isDead = true;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  after(ms: number, run: () => void): Timer {
    let isCancelled = false;
    this.world.after(ms, () => this.#deliver(() => isCancelled || run()));
    return {
      cancel: () => {
        isCancelled = true;
      },
    };
  }

  #deliver(run: () => void): void {
    if (this.isDead) return;
    if (!this.isStopped) return run();
    const waitMs = this.#stoppedUntil - this.world.now;
    this.world.after(waitMs + this.prng.fraction() / 10, () => this.#deliver(run));
  }

  #memory(): LockMemory {
    const { words } = this.world;
    const read = (at: number): bigint => words.get(at) ?? 0n;
    return {
      name: 'fuzz',
      unknowns: 0,
      barrier: () => undefined,
      settle: () => Promise.resolve(true),
      read: (at) => this.operate(() => read(at), true),
      swap: (at, expected, desired) => {
        return this.operate(() => {
          const old = read(at);
          if (old === expected) words.set(at, desired);
          return old;
        }, false);
      },
    };
  }

  /** One operation on the memory, after all earlier ones of this owner. */
  operate<T>(execute: () => T, isRead: boolean): Promise<T> {
    const { world, prng } = this;
    const { faults } = world;
    world.operations += 1;
    const wayMs = 0.02 + prng.fraction() * (prng.chance(20_000) ? 30 : 0.2);
    if (prng.chance(faults.refused)) return this.#answer(wayMs, refused());
    const isLost = prng.chance(faults.requestLost) || world.now < this.#cutOffUntil;
    const isReplyLost = prng.chance(faults.replyLost);
    const lateMs = prng.chance(faults.late) ? prng.fraction() * LATE_MS_MAX : 0;
    const backMs = prng.fraction() * (prng.chance(faults.late) ? this.#givenUpMs : 0.2);
    const at = Math.max(this.#executedAt, world.now + wayMs + lateMs);
    if (isLost) return this.#answer(this.#givenUpMs, isRead ? timeout() : unknown());
    this.#executedAt = at;
    return new Promise((resolve, reject) => {
      let isTold = false;
      const tell = (run: () => void): void => {
        if (!isTold) run();
        isTold = true;
      };
      world.after(at - world.now, () => {
        const value = execute();
        if (!isReplyLost) this.after(backMs, () => tell(() => resolve(value)));
      });
      this.after(this.#givenUpMs, () => tell(() => reject(isRead ? timeout() : unknown())));
    });
  }

  #answer(ms: number, error: MemrackError): Promise<never> {
    return new Promise((_, reject) => this.after(ms, () => reject(error)));
  }
}

const refused = () => new MemrackError('Unavailable', 'the node is away');
const timeout = () => new MemrackError('Timeout', 'no answer');
const unknown = () => new MemrackError('OutcomeUnknown', 'no answer');
