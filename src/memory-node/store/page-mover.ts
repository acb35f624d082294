/**
 * Gives a page another frame: the one place where what a page holds is copied. Both who moves pages
 * and who takes them away from stopped threads come through here (docs/internals/one-sided.md).
 *
 * Copy, switch and unpause of one page are one turn of the main thread, so no message is executed
 * in between. Where another thread may be stopped in the middle of a store to the old frame, the
 * copy is made of whole words of 8 bytes.
 */

import { assert } from '../../base/assert.js';
import type { FrameIndex } from '../../base/brands.js';
import { copyWords } from '../../base/copy-words.js';
import { KiB } from '../../base/units.js';
import { ENTRY_WORDS, EntryFlag, NO_FRAME, type PageTable } from '../../disk/page-table.js';
import type { Memory } from '../../runtime/memory.js';
import { FRAME_LATER, FRAME_NONE, type FramePool } from './frame-pool.js';
import type { Frames } from './frames.js';

/** Between two pieces others may look in (in the simulator). */
const WORDWISE_BYTES = 4 * KiB;
const PIECE_BYTES = 64 * KiB;

export interface PageMoverParts {
  readonly pages: PageTable;
  readonly frames: Frames;
  readonly pool: FramePool;
  readonly memory: Pick<Memory, 'copy' | 'meanwhile'>;
}

export class PageMover {
  readonly #parts: PageMoverParts;
  readonly #pages: PageTable;

  constructor(parts: PageMoverParts) {
    this.#parts = parts;
    this.#pages = parts.pages;
  }

  get pageBytes(): number {
    return this.#parts.frames.pageBytes;
  }

  /** A fresh frame, for `move` or `giveBack`. */
  take(): FrameIndex | typeof FRAME_LATER | typeof FRAME_NONE {
    return this.#parts.pool.takeForCopy();
  }

  giveBack(fresh: FrameIndex): void {
    this.#parts.pool.retire(fresh);
  }

  pause(entry: number): void {
    this.#pages.setFlags(entry, this.#pages.flagsOf(entry) | EntryFlag.PAUSED);
  }

  resume(entry: number): void {
    this.#pages.setFlags(entry, this.#pages.flagsOf(entry) & ~EntryFlag.PAUSED);
  }

  /** Copies what the paused page holds to the fresh frame, puts that in its place, and goes on. */
  move(entry: number, fresh: FrameIndex, inWholeWords: boolean): void {
    const pages = this.#pages;
    const old = pages.frameOf(entry);
    assert(old >= 0 && old !== fresh, 'only a page that has a frame gets another one');
    this.#copy(old as FrameIndex, fresh, inWholeWords);
    pages.setFrame(entry, fresh);
    this.resume(entry);
    this.#parts.pool.retire(old as FrameIndex);
  }

  #copy(from: FrameIndex, to: FrameIndex, inWholeWords: boolean): void {
    const { frames, memory } = this.#parts;
    const source = frames.piece(from);
    const target = frames.piece(to);
    const sourceAt = frames.offset(from);
    const targetAt = frames.offset(to);
    const bytes = inWholeWords ? WORDWISE_BYTES : PIECE_BYTES;
    for (let done = 0; done < frames.pageBytes; done += bytes) {
      const [to, from] = [targetAt + done, sourceAt + done];
      if (inWholeWords) {
        copyWords(target.wide, to >>> 3, source.wide, from >>> 3, bytes >>> 3);
        memory.meanwhile();
      } else {
        memory.copy(target.bytes, to, source.bytes, from, bytes);
      }
    }
  }

  /** Those of the frames that pages have, and the entries of these. Looks at the whole table. */
  entriesOf(frames: ReadonlySet<FrameIndex>): Map<FrameIndex, number> {
    const found = new Map<FrameIndex, number>();
    const pages = this.#pages;
    for (let at = pages.next(0); at >= 0; at = pages.next(at + ENTRY_WORDS)) {
      const frame = pages.frameOf(at);
      if (frame !== NO_FRAME && frames.has(frame)) found.set(frame, at);
    }
    return found;
  }
}
