/**
 * Moves pages to other frames while clients are at work on them. A batch of pages is paused, all
 * slots are waited for, each page is copied, and goes on (docs/internals/one-sided.md). Messages to
 * a paused page wait; threads without the node send theirs as messages. One batch at a time.
 *
 * A thread that is stopped in a step holds everything up, so it cancels the move: no outcome ever
 * becomes unknown by one.
 */

import { assert } from '../../base/assert.js';
import type { FrameIndex } from '../../base/brands.js';
import { MiB } from '../../base/units.js';
import { EntryFlag, NO_FRAME } from '../../disk/page-table.js';
import type { TableFile } from '../../disk/table-file.js';
import { type Clock, sleep, type Timers } from '../../runtime/clock.js';
import { memoryNodeFaults } from '../planted.js';
import { FRAME_LATER } from './frame-pool.js';
import type { PageMover } from './page-mover.js';
import type { Quiescence } from './quiescence.js';

/** Paused together. */
const BATCH_PAGES_MAX = 64;
const BATCH_BYTES_MAX = 64 * MiB;
/** A page is copied in one turn, in which nobody else is served: some 20 ms for this much. */
export const MOVED_PAGE_BYTES_MAX = 64 * MiB;
/** Copied in one turn, so that others are served in between. */
const TURN_BYTES = 4 * MiB;
const RETRY_MS = 2;

export interface RelocationParts {
  readonly table: TableFile;
  readonly quiescence: Quiescence;
  readonly mover: PageMover;
  readonly clock: Pick<Clock, 'now'>;
  readonly timers: Timers;
  /** How long a thread may take for its step before the move is cancelled. */
  readonly stuckMs: number;
  /** Asks for zeroed frames. */
  readonly awaitFrames: () => void;
  /** Pages that were paused go on. */
  readonly resumed: () => void;
}

export interface Moves {
  moved: number;
  /** Held back by a stopped thread, or by a lack of frames. */
  cancelled: number;
}

interface Job {
  readonly page: number;
  readonly entry: number;
  readonly from: FrameIndex;
  readonly to: FrameIndex;
}

export class Relocation {
  pagesMoved = 0;
  movesCancelled = 0;
  /** Pages that are paused just now. */
  paused = 0;
  readonly #parts: RelocationParts;
  /** The end of the last one that was asked for. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: RelocationParts) {
    this.#parts = parts;
  }

  /** While it runs no batch is paused here; it begins behind those that were asked for before. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#last.then(work);
    this.#last = run.catch(() => undefined);
    return run;
  }

  /** Of the pages `[firstPage, firstPage + pages)` those that have a frame. */
  async move(space: number, firstPage: number, pages: number): Promise<Moves> {
    const before = this.#last;
    const run = before.then(() => this.#move(space, firstPage, firstPage + pages));
    this.#last = run;
    const moves = await run;
    this.pagesMoved += moves.moved;
    this.movesCancelled += moves.cancelled;
    return moves;
  }

  async #move(space: number, firstPage: number, end: number): Promise<Moves> {
    const moves = { moved: 0, cancelled: 0 };
    const { pageBytes } = this.#parts.mover;
    const most = Math.max(1, Math.min(BATCH_PAGES_MAX, Math.floor(BATCH_BYTES_MAX / pageBytes)));
    const pages: number[] = [];
    for (let page = firstPage; page < end; page++) {
      if (this.#frameOf(space, page) !== NO_FRAME) pages.push(page);
    }
    // Who is stopped is found out before anything is paused.
    let isPossible = memoryNodeFaults.moveWithoutPause || (await this.#allPass());
    let next = 0;
    while (isPossible && next < pages.length) {
      const fresh = await this.#takeFrames(Math.min(most, pages.length - next));
      if (fresh.length === 0) break;
      const batch = pages.slice(next, next + fresh.length);
      isPossible = await this.#moveBatch(space, batch, fresh, moves);
      next += batch.length;
      await sleep(this.#parts.timers, 0);
    }
    moves.cancelled += pages.length - next;
    return moves;
  }

  #frameOf(space: number, page: number): FrameIndex | typeof NO_FRAME {
    const { pages } = this.#parts.table;
    const entry = pages.find(space, page);
    return entry < 0 ? NO_FRAME : pages.frameOf(entry);
  }

  #isPaused(entry: number): boolean {
    return (this.#parts.table.pages.flagsOf(entry) & EntryFlag.PAUSED) !== 0;
  }

  #allPass(): Promise<boolean> {
    const { quiescence, stuckMs } = this.#parts;
    const generation = quiescence.raise();
    return new Promise((resolve) => quiescence.whenPassed(generation, stuckMs, resolve));
  }

  /** False when a thread is stopped in a step, so that no other batch need be tried. */
  async #moveBatch(
    space: number,
    batch: readonly number[],
    fresh: FrameIndex[],
    moves: Moves,
  ): Promise<boolean> {
    const jobs: Job[] = [];
    for (const page of batch) {
      const from = this.#frameOf(space, page);
      const to = fresh.pop();
      assert(to !== undefined, 'a frame for each page of a batch');
      const entry = this.#parts.table.pages.find(space, page);
      // It may have been freed since it was looked for. Whoever has paused it lets it go on.
      if (from === NO_FRAME || this.#isPaused(entry)) {
        this.#parts.mover.giveBack(to);
        if (from !== NO_FRAME) moves.cancelled += 1;
      } else jobs.push({ page, entry, from, to });
    }
    if (jobs.length === 0) return true;
    const { mover } = this.#parts;
    if (!memoryNodeFaults.moveWithoutPause) for (const { entry } of jobs) mover.pause(entry);
    this.paused = jobs.length;
    const isPossible = memoryNodeFaults.moveWithoutPause || (await this.#allPass());
    let left = TURN_BYTES;
    for (const job of jobs) {
      if (left <= 0) {
        this.#parts.resumed();
        await sleep(this.#parts.timers, 0);
        left = TURN_BYTES;
      }
      left -= this.#end(space, job, isPossible, moves);
    }
    this.paused = 0;
    this.#parts.resumed();
    return isPossible;
  }

  /** Bytes that were copied. While the page was paused it may have been freed, or copied away. */
  #end(space: number, job: Job, isPossible: boolean, moves: Moves): number {
    const { mover, table } = this.#parts;
    const { pages } = table;
    this.paused -= 1;
    const isThere = pages.find(space, job.page) === job.entry;
    const isPaused = isThere && this.#isPaused(job.entry);
    const isOurs = isPaused || memoryNodeFaults.moveWithoutPause;
    if (isThere && isOurs && pages.frameOf(job.entry) === job.from && isPossible) {
      mover.move(job.entry, job.to, false);
      moves.moved += 1;
      return mover.pageBytes;
    }
    if (isPaused) mover.resume(job.entry);
    if (isThere) moves.cancelled += 1;
    mover.giveBack(job.to);
    return 0;
  }

  /** As many as there are in reasonable time, up to `count`: the rest waits for the next batch. */
  async #takeFrames(count: number): Promise<FrameIndex[]> {
    const { mover, clock, timers, stuckMs, awaitFrames } = this.#parts;
    const taken: FrameIndex[] = [];
    const giveUpMs = clock.now() + stuckMs;
    while (taken.length < count) {
      const frame = mover.take();
      if (frame >= 0) {
        taken.push(frame as FrameIndex);
        continue;
      }
      const isLater = frame === FRAME_LATER && taken.length === 0 && clock.now() < giveUpMs;
      if (!isLater) break;
      awaitFrames();
      await sleep(timers, RETRY_MS);
    }
    return taken;
  }
}
