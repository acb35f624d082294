/**
 * How devices share their host when it has more to do than goes well at a time. As long as one
 * device alone has something under way, or all together little, nobody waits. Else requests wait
 * here, each device's in their order, and go by weight as others end: deficit round robin
 * (Shreedhar and Varghese, 1995) over bytes, and a little for each request.
 */

import type { Clock, Timers } from '../runtime/clock.js';
import { sharingFaults } from './planted.js';

/** Under way at a time, of all devices: enough to keep any network busy. */
const UNDER_WAY_MAX = 1024 * 1024;
/** What a request costs beside its bytes. */
const REQUEST_COST = 4096;
/** In each round, for each unit of weight. */
const QUANTUM = 8192;
/** What is under way for longer than one to two of these waits for something else. */
const SLOT_MS = 50;

/** What has begun of late, and has not ended. */
class Recent {
  #slot = 0;
  #current = 0;
  #previous = 0;

  add(slot: number, cost: number): void {
    this.#goTo(slot);
    this.#current += cost;
  }

  /** `began`: in which slot. */
  end(slot: number, began: number, cost: number): void {
    this.#goTo(slot);
    if (began === slot) this.#current -= cost;
    else if (began === slot - 1) this.#previous -= cost;
  }

  at(slot: number): number {
    this.#goTo(slot);
    return this.#current + this.#previous;
  }

  #goTo(slot: number): void {
    if (slot === this.#slot) return;
    if (sharingFaults.neverForgotten) this.#previous += this.#current;
    else this.#previous = slot === this.#slot + 1 ? this.#current : 0;
    this.#current = 0;
    this.#slot = slot;
  }
}

export class FairShare {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #timers: Timers;
  readonly #recent = new Recent();
  /** Shares that have something under way. */
  #atWork = 0;
  /** Shares in which requests wait; the first one has its turn. */
  readonly #ring: Share[] = [];
  #isPumping = false;
  #isTicking = false;

  constructor(clock: Pick<Clock, 'now'>, timers: Timers) {
    this.#clock = clock;
    this.#timers = timers;
  }

  /** Whether a request may begin beside what is under way. */
  hasRoom(share: Share, cost: number, slot: number): boolean {
    const all = this.#recent.at(slot);
    const isAlone = this.#isAlone(share) && this.#ring.every((one) => one === share);
    return (isAlone && !sharingFaults.aloneWaits) || all + cost <= UNDER_WAY_MAX;
  }

  /** Nobody else has anything under way, however long it takes. */
  #isAlone(share: Share): boolean {
    return sharingFaults.othersUnseen || this.#atWork === (share.underWay > 0 ? 1 : 0);
  }

  begun(share: Share, slot: number, cost: number): void {
    this.#recent.add(slot, cost);
    if (share.underWay === 1) this.#atWork += 1;
  }

  ended(share: Share, slot: number, began: number, cost: number): void {
    this.#recent.end(slot, began, cost);
    if (share.underWay === 0) this.#atWork -= 1;
    this.pump();
  }

  wait(share: Share): void {
    if (!this.#ring.includes(share)) this.#ring.push(share);
    this.#tick();
  }

  leave(share: Share): void {
    const at = this.#ring.indexOf(share);
    if (at >= 0) this.#ring.splice(at, 1);
  }

  /** What may go, in turns. */
  pump(): void {
    if (this.#isPumping || this.#ring.length === 0) return;
    this.#isPumping = true;
    for (let share; (share = this.#ring[0]) !== undefined; ) {
      const slot = slotOf(this.#clock.now());
      if (!this.hasRoom(share, share.nextCost, slot)) break;
      const hasGone = share.go(slot);
      if (share.waiting === 0) this.leave(share);
      // The next one has its turn; this one goes on when it comes round.
      else if (!hasGone && !sharingFaults.turnKept) this.#ring.push(this.#ring.shift() as Share);
    }
    this.#isPumping = false;
  }

  /** Where nothing ends what is under way is forgotten in time. */
  #tick(): void {
    if (this.#isTicking) return;
    this.#isTicking = true;
    this.#timers.after(SLOT_MS, () => {
      this.#isTicking = false;
      this.pump();
      if (this.#ring.length > 0) this.#tick();
    });
  }
}

/** Of one device. */
export class Share {
  weight = 1;
  /** Requests that have begun, and have not ended. */
  underWay = 0;
  readonly #all: FairShare;
  readonly #run: (row: number) => void;
  readonly #rows: number[] = [];
  readonly #costs: number[] = [];
  #deficit = 0;

  /** `run` begins a row that has waited. */
  constructor(all: FairShare, run: (row: number) => void) {
    this.#all = all;
    this.#run = run;
  }

  get waiting(): number {
    return this.#rows.length;
  }

  get nextCost(): number {
    return this.#costs[0] ?? 0;
  }

  /** True: it begins now; false: `run` will begin it. */
  begin(row: number, bytes: number, nowMs: number): boolean {
    const cost = bytes + REQUEST_COST;
    const slot = slotOf(nowMs);
    const isNext = this.#rows.length === 0 || sharingFaults.waitingPassed;
    if (isNext && this.#all.hasRoom(this, cost, slot)) {
      this.#begun(slot, cost);
      return true;
    }
    this.#rows.push(row);
    this.#costs.push(cost);
    this.#all.wait(this);
    return false;
  }

  /** What began at `beganMs` has ended. */
  end(beganMs: number, bytes: number, nowMs: number): void {
    const cost = bytes + REQUEST_COST;
    const slot = slotOf(nowMs);
    const began = slotOf(beganMs);
    this.underWay -= 1;
    this.#all.ended(this, slot, began, cost);
  }

  /** Those that wait; they will not be begun. */
  takeAll(): number[] {
    if (sharingFaults.takenStays) return [...this.#rows];
    this.#all.leave(this);
    this.#costs.length = 0;
    return this.#rows.splice(0);
  }

  /** Begins the next one, if this is allowed so much by now; else it is allowed more. */
  go(slot: number): boolean {
    const cost = this.nextCost;
    if (this.#deficit < cost) {
      this.#deficit += QUANTUM * (sharingFaults.weightIgnored ? 1 : this.weight);
      return false;
    }
    this.#deficit -= cost;
    const row = this.#rows.shift() as number;
    this.#costs.shift();
    if (this.#rows.length === 0) this.#deficit = 0;
    this.#begun(slot, cost);
    this.#run(row);
    return true;
  }

  #begun(slot: number, cost: number): void {
    this.underWay += 1;
    this.#all.begun(this, slot, cost);
  }
}

const slotOf = (ms: number): number => Math.floor(ms / SLOT_MS);
