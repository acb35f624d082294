/**
 * Gives back copies of slabs where the machine is short of memory: asks holders how some of them
 * are used, and that the coldest of these go (docs/internals/block-devices.md). Nothing is freed
 * here: a copy goes when its holder gives it back. All of this is forgotten with the process.
 */

import { SAMPLED_BEYOND, coldest } from '../policies/eviction/coldest.js';
import { sample } from '../policies/sample.js';
import type { Clock, Timers } from '../runtime/clock.js';
import type { Entropy } from '../runtime/runtime.js';
import type { MessageType, Request } from '../wire/messages.js';
import type { NodeLeases } from './leases.js';
import { memoryNodeFaults } from './planted.js';
import type { Refusal } from './slow/allocations.js';
import type { Slab, Slabs } from './slabs.js';

export interface EvictionParts {
  readonly slabs: Pick<Slabs, 'all' | 'find' | 'bytesUsed'>;
  readonly leases: Pick<NodeLeases, 'refuseWindow'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly timers: Timers;
  readonly entropy: Entropy;
  /** Used beyond what is lent, without what is on its way already but copies. */
  readonly bytesToGive: () => number;
}

/** How long those that hold copies may take to answer. */
export const ROUND_MS = 4_000;
/** What nobody is at work on for so long goes no more. */
export const GOING_MS = 10_000;
/** What somebody is at work on for longer than this comes to no end, and does not count. */
export const GOING_MS_MAX = 180_000;
/** What did not go, or was not told, is left out for so long. */
export const SPARED_MS = 30_000;
/** Copies that go at a time. */
export const GOING_MAX = 8;

interface Asked {
  readonly slab: Slab;
  readonly bytes: number;
  activity: number | undefined;
}

interface Going {
  readonly lease: number;
  readonly bytes: number;
  readonly sinceMs: number;
  /** When somebody was known to be at work on it. */
  seenMs: number;
}

type Told = Request<typeof MessageType.SlabActivity>;
type CopyName = { readonly copy: number };

export class Eviction {
  /** Copies that went. */
  gone = 0;
  readonly #parts: EvictionParts;
  /** Random; 0: nothing is asked. */
  #round = 0;
  #roundEndsMs = 0;
  readonly #asked = new Map<number, Asked>();
  readonly #going = new Map<number, Going>();
  /** Until when they are left out. */
  readonly #spared = new Map<number, number>();
  #isBeginning = false;

  constructor(parts: EvictionParts) {
    this.#parts = parts;
  }

  /** Of copies that go, as if they had gone. */
  get bytesGoing(): number {
    let bytes = 0;
    for (const one of this.#going.values()) bytes += one.bytes;
    return bytes;
  }

  get going(): number {
    return this.#going.size;
  }

  /** Now and then. */
  look(): void {
    this.#forget();
    const bytesToGive = this.#parts.bytesToGive();
    if (bytesToGive === 0) this.#going.clear();
    if (bytesToGive <= this.bytesGoing) this.#endRound();
    else if (this.#round === 0) void this.#begin();
    else if (this.#isAnswered() || this.#parts.clock.now() >= this.#roundEndsMs) this.#decide();
  }

  /** What is not there any more, and what has waited for long enough. */
  #forget(): void {
    const { slabs, clock } = this.#parts;
    const now = clock.now();
    for (const [copy, { sinceMs, seenMs }] of this.#going) {
      const isGone = slabs.find(copy) === undefined;
      const isStuck = now - seenMs >= GOING_MS || now - sinceMs >= GOING_MS_MAX;
      if (isGone) this.gone += 1;
      else if (isStuck) this.#spared.set(copy, now + SPARED_MS);
      else continue;
      this.#going.delete(copy);
    }
    for (const [copy, untilMs] of this.#spared) if (now >= untilMs) this.#spared.delete(copy);
  }

  #endRound(): void {
    this.#round = 0;
    this.#asked.clear();
  }

  /** Asks about more than are to go. */
  async #begin(): Promise<void> {
    const { slabs, entropy, timers, clock, bytesToGive } = this.#parts;
    const room = GOING_MAX - this.#going.size;
    const all = slabs.all().filter(({ copy }) => !this.#going.has(copy) && !this.#spared.has(copy));
    if (all.length === 0 || room <= 0 || this.#isBeginning) return;
    this.#isBeginning = true;
    const mean = all.reduce((sum, { bytes }) => sum + bytes, 0) / all.length;
    const wanted = Math.ceil((bytesToGive() - this.bytesGoing) / mean);
    const count = Math.min(room, Math.max(1, wanted)) + SAMPLED_BEYOND;
    const asked: Asked[] = [];
    for (const index of sample(all.length, count, entropy)) {
      const slab = all[index] as Slab;
      asked.push({ slab, bytes: slabs.bytesUsed(slab), activity: undefined });
      await new Promise<void>((resolve) => timers.soon(resolve));
    }
    for (const one of asked) this.#asked.set(one.slab.copy, one);
    this.#round = entropy.u53();
    this.#roundEndsMs = clock.now() + ROUND_MS;
    this.#isBeginning = false;
  }

  #isAnswered(): boolean {
    for (const { activity } of this.#asked.values()) if (activity === undefined) return false;
    return true;
  }

  /** Who did not answer keeps what he has, and is not waited for again soon. */
  #decide(): void {
    const { slabs, clock, bytesToGive } = this.#parts;
    const now = clock.now();
    const told: (Asked & { activity: number })[] = [];
    for (const { slab, bytes, activity } of this.#asked.values()) {
      if (activity === undefined) this.#spared.set(slab.copy, now + SPARED_MS);
      else if (slabs.find(slab.copy) !== undefined) told.push({ slab, bytes, activity });
    }
    const wanted = bytesToGive() - this.bytesGoing;
    for (const index of coldest(told, wanted, GOING_MAX - this.#going.size)) {
      const { slab, bytes } = told[index] as Asked;
      this.#going.set(slab.copy, { lease: slab.lease, bytes, sinceMs: now, seenMs: now });
    }
    this.#endRound();
  }

  /** The holder of a lease tells how its copies are used; the answer says what is to be done. */
  told(request: Told, client: number) {
    const { lease, leaseEpoch, round, slabs: uses } = request;
    const stale: Refusal | undefined = this.#parts.leases.refuseWindow(lease, leaseEpoch, client);
    if (stale !== undefined) return stale;
    const counts = round === this.#round || memoryNodeFaults.slabToldLate;
    for (const { copy, activity, isGoing } of uses) {
      const asked = this.#asked.get(copy);
      if (counts && asked?.slab.lease === lease) asked.activity = activity;
      const going = this.#going.get(copy);
      if (isGoing === 1 && going?.lease === lease) going.seenMs = this.#parts.clock.now();
    }
    this.look();
    return { round: this.#round, ...this.#namesFor(lease) };
  }

  #namesFor(lease: number) {
    const asked: CopyName[] = [];
    for (const { slab, activity } of this.#asked.values()) {
      if (slab.lease === lease && activity === undefined) asked.push({ copy: slab.copy });
    }
    const going: CopyName[] = [];
    for (const [copy, one] of this.#going) if (one.lease === lease) going.push({ copy });
    return { isShort: this.#parts.bytesToGive() > 0 ? 1 : 0, asked, going };
  }
}
