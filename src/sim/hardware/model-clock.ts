/**
 * What the models run on: the simulator's own queue of events, without machines or processes, and
 * stations that serve one after the other.
 */

import { Prng } from '../../base/prng.js';
import { Faults, NO_FAULTS } from '../../runtime/simulated/faults.js';
import { Kernel } from '../../runtime/simulated/kernel.js';
import { PLAIN_KNOBS } from '../../runtime/simulated/knobs.js';
import { EventKind, Trace } from '../../runtime/simulated/trace.js';

export class ModelClock {
  readonly prng: Prng;
  readonly #kernel: Kernel;
  readonly #trace = new Trace(0);

  constructor(seed: number) {
    this.prng = new Prng(seed);
    this.#kernel = new Kernel({
      prng: this.prng.fork('kernel'),
      knobs: PLAIN_KNOBS,
      trace: this.#trace,
      faults: (nowNs) => new Faults(NO_FAULTS, this.prng, nowNs),
    });
  }

  get nowNs(): number {
    return this.#kernel.nowNs;
  }

  /** `ns` is rounded up to whole nanoseconds. */
  after(ns: number, then: () => void): void {
    this.#kernel.schedule(Math.ceil(ns), undefined, EventKind.Host, then);
  }

  /** Lets time pass until it is so; false: nothing is left that could happen. */
  run(until: () => boolean): boolean {
    while (!until()) if (this.#kernel.turn(Infinity) !== 'ran') return false;
    return true;
  }

  /** The same for the same seed. */
  hash(): number {
    return this.#trace.hash();
  }
}

/** Serves in the order of arrival, so many at once. Used when something arrives, never before. */
export class Station {
  readonly #clock: ModelClock;
  readonly #freeNs: Float64Array;

  constructor(clock: ModelClock, atOnce = 1) {
    this.#clock = clock;
    this.#freeNs = new Float64Array(atOnce);
  }

  /** Nanoseconds from now until somebody is through who takes so long. */
  pass(takesNs: number): number {
    const free = this.#freeNs;
    let first = 0;
    for (let i = 1; i < free.length; i++) {
      if ((free[i] as number) < (free[first] as number)) first = i;
    }
    const { nowNs } = this.#clock;
    const end = Math.max(nowNs, free[first] as number) + takesNs;
    free[first] = end;
    return end - nowNs;
  }
}

/** Memory that is refreshed: what comes meanwhile waits. */
export class RefreshedMemory {
  readonly #clock: ModelClock;
  readonly #everyNs: number;
  readonly #takesNs: number;
  readonly #phaseNs: number;

  constructor(clock: ModelClock, everyNs: number, takesNs: number) {
    this.#clock = clock;
    this.#everyNs = everyNs;
    this.#takesNs = takesNs;
    this.#phaseNs = clock.prng.below(everyNs);
  }

  /** Until an access may begin that comes so much later than now. */
  waitNs(laterNs = 0): number {
    const at = (this.#clock.nowNs + laterNs + this.#phaseNs) % this.#everyNs;
    return Math.max(0, this.#takesNs - at);
  }
}

/** Time on a wire of so many Gbit/s. */
export function wireNs(bytes: number, gbps: number): number {
  return (bytes * 8) / gbps;
}
