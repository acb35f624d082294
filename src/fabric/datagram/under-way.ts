/**
 * The operations of a link that are under way as parts, in typed arrays: a slot each. It is kept
 * until nothing of the operation can be executed any more, so sometimes for longer than its caller
 * waits. There are few slots at first, and twice as many whenever all are taken, up to the limit:
 * take the arrays anew from here after `take`. See docs/internals/datagrams.md.
 */

import { assert } from '../../base/assert.js';
import { Columns, grown } from '../../base/columns.js';
import { Status } from '../../base/status.js';

export const UNDER_WAY_MAX = 1024;
const SLOTS_AT_FIRST = 16;
const SLOT_BYTES = 2 * 8 + 4 * 4 + 2 * 2 + 5;

export class UnderWay {
  count = 0;
  /** In the ring of the queue; -1: its caller was told. */
  position = new Float64Array(0);
  address = new Float64Array(0);
  space = new Uint32Array(0);
  bytes = new Uint32Array(0);
  /** The old value of an atomic. */
  low = new Uint32Array(0);
  high = new Uint32Array(0);
  partsLeft = new Uint16Array(0);
  changes = new Uint8Array(0);
  /** 1: some part of it has left the socket. */
  wasSent = new Uint8Array(0);
  /**
   * What its parts came to: whether one was done, or may have been, and how the first ended that
   * was not done for sure.
   */
  mayBeDone = new Uint8Array(0);
  refusal = new Uint8Array(0);
  /** Of use to whoever looks at all of them. */
  isMarked = new Uint8Array(0);
  /** All slots: those that are taken, then the others. */
  #order = new Uint16Array(0);

  constructor() {
    this.#growTo(SLOTS_AT_FIRST);
  }

  get hasRoom(): boolean {
    return this.count < UNDER_WAY_MAX;
  }

  /** Every slot is below this. */
  get slots(): number {
    return this.#order.length;
  }

  take(): number {
    assert(this.hasRoom, 'the caller looks for room');
    if (this.count === this.slots) this.#growTo(2 * this.slots);
    const slot = this.#order[this.count++] as number;
    this.wasSent[slot] = 0;
    this.partsLeft[slot] = 0;
    this.mayBeDone[slot] = 0;
    this.refusal[slot] = Status.Ok;
    this.low[slot] = 0;
    this.high[slot] = 0;
    return slot;
  }

  free(slot: number): void {
    this.#order[--this.count] = slot;
  }

  /** Slots stay what they are. */
  #growTo(slots: number): void {
    const first = this.slots;
    const columns = new Columns(slots * SLOT_BYTES);
    this.position = grown(this.position, columns.float64(slots));
    this.address = grown(this.address, columns.float64(slots));
    this.space = grown(this.space, columns.uint32(slots));
    this.bytes = grown(this.bytes, columns.uint32(slots));
    this.low = grown(this.low, columns.uint32(slots));
    this.high = grown(this.high, columns.uint32(slots));
    this.partsLeft = grown(this.partsLeft, columns.uint16(slots));
    this.#order = grown(this.#order, columns.uint16(slots));
    this.changes = grown(this.changes, columns.uint8(slots));
    this.mayBeDone = grown(this.mayBeDone, columns.uint8(slots));
    this.refusal = grown(this.refusal, columns.uint8(slots));
    this.wasSent = grown(this.wasSent, columns.uint8(slots));
    this.isMarked = grown(this.isMarked, columns.uint8(slots));
    for (let slot = first; slot < slots; slot++) this.#order[slot] = slot;
  }

  /** One part has ended so; true if it was the last. */
  partEnded(slot: number, status: Status): boolean {
    if (status === Status.Ok || status === Status.OutcomeUnknown) this.mayBeDone[slot] = 1;
    const known = this.refusal[slot] as Status;
    const isFirst = known === Status.Ok || known === Status.Moved;
    if (status !== Status.Ok && isFirst) this.refusal[slot] = status;
    const left = (this.partsLeft[slot] as number) - 1;
    this.partsLeft[slot] = left;
    return left === 0;
  }

  /** How it ends when all parts have. */
  status(slot: number): Status {
    const refusal = this.refusal[slot] as Status;
    // What has moved was given back part by part; the others are done.
    if (refusal === Status.Moved) return this.mayBeDone[slot] === 1 ? Status.Ok : refusal;
    const isInDoubt = refusal !== Status.Ok && this.mayBeDone[slot] === 1;
    return isInDoubt && this.changes[slot] === 1 ? Status.OutcomeUnknown : refusal;
  }
}
