/**
 * Reads, or writes, that one step makes together, at once: what a step costs besides its operations
 * is paid once for up to 64 of them. They are made in their order, up to the first that cannot be.
 */

import type { Memory } from '../../runtime/memory.js';
import type { Window } from '../link.js';
import { OperationRing } from '../operation-ring.js';
import type { OneSided } from './one-sided.js';
import { STEP_BYTES_MAX, STEP_OPERATIONS_MAX, SURE } from './step.js';

export class StepBatch {
  /** How many are in it. */
  count = 0;
  readonly #ring = new OperationRing();
  #bytes = 0;

  /** False: it is full. */
  add(
    type: number,
    window: Window,
    address: number,
    buffer: Uint8Array,
    start: number,
    bytes: number,
  ): boolean {
    const { count } = this;
    const isTooLong = count > 0 && this.#bytes + bytes > STEP_BYTES_MAX;
    if (count === STEP_OPERATIONS_MAX || isTooLong) return false;
    const ring = this.#ring;
    const place = ring.push();
    ring.type[place] = type;
    ring.window[place] = window;
    ring.address[place] = address;
    ring.bytes[place] = bytes;
    ring.buffer[place] = buffer;
    ring.start[place] = start;
    this.count = count + 1;
    this.#bytes += bytes;
    return true;
  }

  /** Makes them, and is empty again. True: all were made for sure; else `steps` says what was. */
  run(steps: OneSided, memory: Memory): boolean {
    const { count } = this;
    steps.several(this.#ring, 0, count);
    memory.runNow(steps);
    this.clear();
    return steps.done === count && areSure(steps);
  }

  clear(): void {
    const ring = this.#ring;
    for (let place = 0; place < this.count; place++) ring.buffer[place] = undefined;
    ring.tail = 0;
    this.count = 0;
    this.#bytes = 0;
  }
}

function areSure({ certainty, done }: OneSided): boolean {
  for (let at = 0; at < done; at++) if (certainty[at] !== SURE) return false;
  return true;
}
