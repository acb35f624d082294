/**
 * What all links of one thread share that reach memory without its node: one step is made at a
 * time. In the simulator a step may have been begun that makes its first access later.
 */

import type { Memory } from '../../runtime/memory.js';

export class ThreadSteps {
  static readonly #known = new WeakMap<Memory, ThreadSteps>();
  /** From `memory.run` until its step has ended. */
  isBusy = false;

  /** Those of the thread that this runtime's memory belongs to. */
  static of(memory: Memory): ThreadSteps {
    const known = ThreadSteps.#known.get(memory);
    if (known !== undefined) return known;
    const made = new ThreadSteps();
    ThreadSteps.#known.set(memory, made);
    return made;
  }
}
