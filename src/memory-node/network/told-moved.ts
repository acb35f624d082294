/**
 * Of which regions clients were told that they have moved, until they have made a fence here.
 *
 * What a client has sent behind such an operation comes back to it as well: it starts all of that
 * anew, in its order, where the region is then. A stream may be slow, and meanwhile the region may
 * have come back; what is still under way would be executed here, before what stood in front of it.
 */

/** Whoever makes no fence, because nothing of it stands behind anything, is served again then. */
const TOLD_MS = 10_000;

export class ToldMoved {
  /** By the client's slot, then by `regionKey`: until when. */
  readonly #slots = new Map<number, Map<number, number>>();

  get size(): number {
    return this.#slots.size;
  }

  /** Quick, as each operation asks while there is anything at all. */
  hasAny(slot: number): boolean {
    return this.#slots.has(slot);
  }

  note(slot: number, region: number, nowMs: number): void {
    const regions = this.#slots.get(slot) ?? new Map<number, number>();
    regions.set(region, nowMs + TOLD_MS);
    this.#slots.set(slot, regions);
  }

  has(slot: number, region: number, nowMs: number): boolean {
    const regions = this.#slots.get(slot);
    const untilMs = regions?.get(region);
    if (regions === undefined || untilMs === undefined) return false;
    if (nowMs < untilMs) return true;
    regions.delete(region);
    if (regions.size === 0) this.#slots.delete(slot);
    return false;
  }

  /** The client has made a fence, or is forgotten. */
  forget(slot: number): void {
    this.#slots.delete(slot);
  }
}
