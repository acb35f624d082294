/**
 * When an area is closed. Opening and closing one costs each copy two writes, which is much beside
 * 256 KiB that are written over and over, as swap is; and what is open when its writer dies has to
 * be compared. So an area that was closed for a short time only stays open longer the next time.
 */

/** Nothing was written to it for so long. */
const IDLE_MS = 1_000;
const DOUBLINGS_MAX = 4;
/** Opened again within so many times what it had stayed open for: that was too short. */
const SOON = 16;

export class IdleAreas {
  readonly #writtenMs: Float64Array;
  readonly #doublings: Uint8Array;

  constructor(areas: number) {
    this.#writtenMs = new Float64Array(areas);
    this.#doublings = new Uint8Array(areas);
  }

  #idleMs(area: number): number {
    return IDLE_MS * 2 ** (this.#doublings[area] as number);
  }

  written(area: number, nowMs: number): void {
    this.#writtenMs[area] = nowMs;
  }

  /** For a write, which comes next. */
  opened(area: number, nowMs: number): void {
    const written = this.#writtenMs[area] as number;
    const wasSoon = written > 0 && nowMs - written < SOON * this.#idleMs(area);
    const doublings = wasSoon ? (this.#doublings[area] as number) + 1 : 0;
    this.#doublings[area] = Math.min(doublings, DOUBLINGS_MAX);
    this.#writtenMs[area] = nowMs;
  }

  isIdle(area: number, nowMs: number): boolean {
    return nowMs - (this.#writtenMs[area] as number) >= this.#idleMs(area);
  }
}
