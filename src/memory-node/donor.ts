/**
 * What a memory node lends now, of what it may lend at most: decided anew with each reading of the
 * slow path, and put into effect at once where nothing has to move (docs/internals/donors.md).
 */

import { formatBytes } from '../base/units.js';
import {
  defaultMarks,
  type DonorMarks,
  type DonorState,
  firstDonorState,
  nextDonorState,
} from '../policies/donor/donor-limit.js';
import type { Clock } from '../runtime/clock.js';
import { isPlausible } from '../runtime/room.js';
import { memoryNodeFaults } from './planted.js';
import type { Allocations } from './slow/allocations.js';
import type { MeasuredRoom } from './slow/room-gauge.js';
import type { FramePool } from './store/frame-pool.js';

/** Lent memory may be allocated twice over, as far as the table takes it. */
const OVERCOMMIT = 2;
/** Without a reading that can be true for so long, it is said. */
const UNMEASURED_MS = 5_000;

export interface DonorParts {
  readonly pool: FramePool;
  readonly allocations: Allocations;
  readonly pageBytes: number;
  readonly clock: Pick<Clock, 'now'>;
  /** In bytes; undefined: shares of the machine or group. */
  readonly marks: DonorMarks | undefined;
  /** False: all is lent, whatever becomes of the machine. */
  readonly isOn: boolean;
  /** So many frames may hold memory. */
  readonly hold: (frames: number) => void;
  /** Used memory has to be given back, and before nothing had to be. */
  readonly wants: () => void;
}

export class Donor {
  readonly #parts: DonorParts;
  #state: DonorState | undefined;
  #measuredMs: number;
  #isGroupMissing = false;
  #stalledShare: number | undefined;
  #availableBytes: number | undefined;
  #isGiving = false;
  /** How often the limit was lowered, and raised. */
  #lowered = 0;
  #raised = 0;

  constructor(parts: DonorParts) {
    this.#parts = parts;
    this.#measuredMs = parts.clock.now();
  }

  /** The most that is ever lent. */
  get capacityBytes(): number {
    return this.#parts.pool.frames * this.#parts.pageBytes;
  }

  /** What is lent now: whole pages. */
  get lentBytes(): number {
    return this.#parts.pool.limit * this.#parts.pageBytes;
  }

  /** Used memory beyond what is lent now: it has to be moved away. */
  get bytesToGive(): number {
    const { pool, pageBytes } = this.#parts;
    return Math.max(0, pool.bound - pool.limit) * pageBytes;
  }

  /** Nobody knows what the machine, or the group that was named, has left. */
  get isUnmeasured(): boolean {
    const { isOn, clock } = this.#parts;
    if (!isOn) return false;
    return this.#isGroupMissing || clock.now() - this.#measuredMs > UNMEASURED_MS;
  }

  get isPanic(): boolean {
    return this.#state?.isPanic === true;
  }

  /** Answers every reading, whatever it says. */
  measured({ room, isGroupMissing, heldBytes }: MeasuredRoom): void {
    const { clock, marks: given } = this.#parts;
    const { availableBytes, totalBytes, stalledShare } = room;
    this.#isGroupMissing = isGroupMissing;
    this.#stalledShare = stalledShare;
    this.#availableBytes = availableBytes;
    if (isPlausible({ ...room, problem: '' })) {
      const nowMs = clock.now();
      const bytes = { availableBytes: availableBytes ?? 0, heldBytes };
      const reading = { nowMs, ...bytes, stalledShare: stalledShare ?? 0 };
      const marks = given ?? defaultMarks(totalBytes ?? 0);
      this.#decide(reading, memoryNodeFaults.oneMark ? oneOf(marks) : marks);
      this.#measuredMs = nowMs;
    }
    this.#giveBack();
    const isGiving = this.bytesToGive > 0;
    if (isGiving && !this.#isGiving) this.#parts.wants();
    this.#isGiving = isGiving;
  }

  #decide(reading: Parameters<typeof firstDonorState>[0], marks: DonorMarks): void {
    const before = this.#state;
    const capacity = this.capacityBytes;
    const state =
      before === undefined
        ? firstDonorState(reading, marks, capacity)
        : nextDonorState(before, reading, marks, capacity);
    this.#state = state;
    const { pool, allocations, pageBytes } = this.#parts;
    const limit = Math.floor(state.limitBytes / pageBytes);
    if (limit === pool.limit) return;
    if (limit < pool.limit) this.#lowered += 1;
    else this.#raised += 1;
    pool.limit = limit;
    const isWhole = limit === pool.frames;
    allocations.commitLimit = isWhole ? Infinity : OVERCOMMIT * limit;
    allocations.limitReason =
      `this node lends ${formatBytes(this.lentBytes)} of ${formatBytes(capacity)} now, because ` +
      'its machine is short of memory';
  }

  /** What is free beyond the limit, promises and what is kept for copies excepted. */
  #giveBack(): void {
    const { pool, hold } = this.#parts;
    const limit = memoryNodeFaults.limitIgnored ? pool.frames : pool.limit;
    const held = Math.min(pool.frames, Math.max(limit, pool.bound + pool.kept));
    const mayBeReady = Math.max(0, held - pool.mapped - pool.resting);
    if (pool.ready > mayBeReady) pool.giveUpZeroed(pool.ready - mayBeReady);
    hold(held);
  }

  counts(): Record<string, unknown> {
    return {
      bytesLent: this.lentBytes,
      bytesToGive: this.bytesToGive,
      donorOn: this.#parts.isOn,
      donorUnmeasured: this.isUnmeasured,
      donorPanic: this.isPanic,
      limitLowered: this.#lowered,
      limitRaised: this.#raised,
      ...(this.#availableBytes === undefined ? {} : { roomBytes: this.#availableBytes }),
      ...(this.#stalledShare === undefined ? {} : { stalledShare: this.#stalledShare }),
    };
  }
}

/** For a bug that is planted. */
function oneOf({ low, high }: DonorMarks): DonorMarks {
  const middle = (low + high) / 2;
  return { low: middle, high: middle };
}
