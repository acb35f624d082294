// Memory that all clients use and that the test takes away while some of them are stopped: pages
// are protected, a window is revoked, an allocation is freed. What nobody may change any more must
// stay as it is, whatever the stopped ones do when they go on.
import type { Space, RangeWindow } from '../../../src/apps/library.js';
import { boardBytes } from './board.mjs';
import { must, persist } from './persist.js';

export interface StagePlaces {
  readonly board: number;
  readonly guard: number;
  readonly window: number;
}

const PAGES = 4;
const OWN = 8;

export class Stage {
  /** Times that something was taken away. */
  taken = 0;
  readonly #space: Space;
  readonly #others: readonly Space[];
  readonly #places: StagePlaces;
  readonly #mark: number;
  readonly #bytes: number;
  #window: RangeWindow | undefined;
  #doomed = 0;
  #protected: Uint8Array | undefined;

  /** `others`: the same space by other links, for looking. */
  constructor(space: Space, others: readonly Space[], places: StagePlaces, windowMark: number) {
    this.#space = space;
    this.#others = others;
    this.#places = places;
    this.#mark = windowMark | OWN;
    this.#bytes = PAGES * space.pageBytes;
  }

  /** What everybody may use until it is taken. */
  async give(): Promise<void> {
    const { guard, window, board } = this.#places;
    const space = this.#space;
    this.#protected = undefined;
    await must('protect', () => space.protect(guard, this.#bytes, 'rw'));
    this.#window = await must('window', () => space.window(window, this.#bytes, 'rw'));
    this.#doomed = await must('alloc', () => space.alloc(this.#bytes));
    const told = boardBytes(this.#doomed, this.#window.token);
    await must('the board', () => space.write(board, told));
  }

  /** Resolves when everything is taken, and was told to be. */
  async take(): Promise<void> {
    await Promise.all([this.#takeRights(), this.#takeWindow(), this.#takePages()]);
    this.taken += 1;
  }

  /** What of it lies at this address, where it is not taken already. */
  partAt(address: number): 'guard' | 'window' | 'doomed' | undefined {
    const { guard, window } = this.#places;
    const isIn = (at: number): boolean => address >= at && address < at + this.#bytes;
    if (isIn(guard)) return 'guard';
    if (isIn(window)) return 'window';
    return isIn(this.#doomed) ? 'doomed' : undefined;
  }

  async #takeRights(): Promise<void> {
    const { guard } = this.#places;
    const space = this.#space;
    await must('protect', () => space.protect(guard, this.#bytes, 'r'));
    this.#protected = await must('read', () => space.read(guard, this.#bytes));
  }

  async #takeWindow(): Promise<void> {
    const { window } = this.#places;
    const revoked = this.#window;
    if (revoked === undefined) return;
    await persist('revoke', () => revoked.revoke(), ['Stale']);
    const own = new Uint8Array(this.#bytes).fill(this.#mark);
    await must('write', () => this.#space.write(window, own));
  }

  async #takePages(): Promise<void> {
    const at = this.#doomed;
    await persist('free', () => this.#space.free(at), ['NotAllocated']);
  }

  /** Nothing has changed since it was taken. */
  async check(): Promise<void> {
    const { guard, window } = this.#places;
    for (const space of [this.#space, ...this.#others]) {
      const guarded = await must('read', () => space.read(guard, this.#bytes));
      compare('protected pages', guard, guarded, this.#protected as Uint8Array);
      const covered = await must('read', () => space.read(window, this.#bytes));
      const own = new Uint8Array(this.#bytes).fill(this.#mark);
      compare('what a revoked window covered', window, covered, own);
    }
  }
}

function compare(what: string, at: number, found: Uint8Array, wanted: Uint8Array): void {
  if (Buffer.compare(found, wanted) === 0) return;
  const i = found.findIndex((byte, place) => byte !== wanted[place]);
  throw new Error(`${what}, at ${at} + ${i}, changed from ${wanted[i]} to ${found[i]}`);
}
