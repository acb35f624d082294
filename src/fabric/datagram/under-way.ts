/**
 * The operations of a link that are under way as parts, in typed arrays: a slot each. It is kept
 * until nothing of the operation can be executed any more, so sometimes for longer than its caller
 * waits. See docs/internals/datagrams.md.
 */

import { assert } from '../../base/assert.js';
import { Status } from '../../base/status.js';

export const UNDER_WAY_MAX = 1024;

export class UnderWay {
  count = 0;
  /** In the ring of the queue; -1: its caller was told. */
  readonly position = new Float64Array(UNDER_WAY_MAX);
  readonly space = new Uint32Array(UNDER_WAY_MAX);
  readonly address = new Float64Array(UNDER_WAY_MAX);
  readonly bytes = new Uint32Array(UNDER_WAY_MAX);
  readonly changes = new Uint8Array(UNDER_WAY_MAX);
  readonly partsLeft = new Uint16Array(UNDER_WAY_MAX);
  /** What its parts came to: whether one was done, and how the first that was not done ended. */
  readonly isSomeDone = new Uint8Array(UNDER_WAY_MAX);
  readonly refusal = new Uint8Array(UNDER_WAY_MAX);
  /** The old value of an atomic. */
  readonly low = new Uint32Array(UNDER_WAY_MAX);
  readonly high = new Uint32Array(UNDER_WAY_MAX);
  readonly #unused = Uint16Array.from({ length: UNDER_WAY_MAX }, (_, slot) => slot);

  get hasRoom(): boolean {
    return this.count < UNDER_WAY_MAX;
  }

  take(): number {
    assert(this.hasRoom, 'the caller looks for room');
    const slot = this.#unused[this.count++] as number;
    this.partsLeft[slot] = 0;
    this.isSomeDone[slot] = 0;
    this.refusal[slot] = Status.Ok;
    this.low[slot] = 0;
    this.high[slot] = 0;
    return slot;
  }

  free(slot: number): void {
    this.#unused[--this.count] = slot;
  }

  /** One part has ended so; true if it was the last. */
  partEnded(slot: number, status: Status): boolean {
    if (status === Status.Ok) this.isSomeDone[slot] = 1;
    else if (this.refusal[slot] === Status.Ok) this.refusal[slot] = status;
    const left = (this.partsLeft[slot] as number) - 1;
    this.partsLeft[slot] = left;
    return left === 0;
  }

  /** How it ends when all parts have. */
  status(slot: number): Status {
    const refusal = this.refusal[slot] as Status;
    const isTorn = refusal !== Status.Ok && this.isSomeDone[slot] === 1;
    return isTorn && this.changes[slot] === 1 ? Status.OutcomeUnknown : refusal;
  }
}
