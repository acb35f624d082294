/**
 * So many requests of one file are under way; more wait beside the slots. Else one device that does
 * not answer would have them all, and no other file could be read, or be given up.
 */

/** Of one file, or of all names. */
export class Lane {
  running = 0;
  /** Requests as they came. */
  readonly waiting: Uint8Array[] = [];
}

/** Beyond that requests wait in their slots. */
const WAITING_BYTES_MAX = 64 * 1024 * 1024;

export class Lanes {
  readonly #runningMax: number;
  readonly #inSlot: (Lane | undefined)[];
  #waitingBytes = 0;

  constructor(slots: number) {
    this.#runningMax = Math.max(1, Math.floor(slots / 4));
    this.#inSlot = Array.from({ length: slots }, () => undefined);
  }

  /** Whether the request in the slot may begin; else it waits as a copy, and the slot is free. */
  enter(slot: number, lane: Lane, request: Uint8Array): boolean {
    const isRoom = this.#waitingBytes + request.length <= WAITING_BYTES_MAX;
    if (lane.running >= this.#runningMax && isRoom) {
      lane.waiting.push(new Uint8Array(request));
      this.#waitingBytes += request.length;
      return false;
    }
    lane.running += 1;
    this.#inSlot[slot] = lane;
    return true;
  }

  /** That of the slot has ended: the one that may have it next; undefined: it is free. */
  leave(slot: number): Uint8Array | undefined {
    const lane = this.#inSlot[slot];
    if (lane === undefined) return undefined;
    this.#inSlot[slot] = undefined;
    lane.running -= 1;
    const next = lane.waiting.shift();
    if (next !== undefined) this.#waitingBytes -= next.length;
    return next;
  }

  /** Takes those out that nobody waits for. */
  drop(lane: Lane, isUnwanted: (request: Uint8Array) => boolean): void {
    const kept = lane.waiting.filter((request) => !isUnwanted(request));
    if (kept.length === lane.waiting.length) return;
    for (const request of lane.waiting) this.#waitingBytes -= request.length;
    for (const request of kept) this.#waitingBytes += request.length;
    lane.waiting.splice(0, lane.waiting.length, ...kept);
  }
}
