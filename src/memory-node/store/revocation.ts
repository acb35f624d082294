/**
 * Ends access that was taken away: when `settled` says so, no thread that reads and writes without
 * the node can change under it what others read. What is taken away (a window, rights, the epoch of
 * a lease) is stored by the caller before.
 *
 * A thread that is stopped in the middle of a step may go on at any time. It can touch the frame
 * that it has published and no other; after `revokeMs` the page is copied away from under it (*copy
 * on revoke*, docs/internals/one-sided.md).
 */

import type { FrameIndex } from '../../base/brands.js';
import { ENTRY_WORDS } from '../../disk/page-table.js';
import type { TableFile } from '../../disk/table-file.js';
import { type Clock, sleep, type Timers } from '../../runtime/clock.js';
import { memoryNodeFaults } from '../planted.js';
import { FRAME_LATER, FRAME_NONE } from './frame-pool.js';
import type { PageMover } from './page-mover.js';
import type { Quiescence } from './quiescence.js';

/** How long a thread may take for its step before its page is copied. */
export const REVOKE_MS_DEFAULT = 100;
/** How often that time is spent waiting for a frame before the answer is Busy. */
const WAITS_FOR_FRAME = 10;
const RETRY_MS = 2;
const NOTHING = { entry: -1, frame: -1, isChange: false };
/** Copied in one turn, so that others are served in between. */
const TURN_BYTES = 4 * 1024 * 1024;

export interface RevocationParts {
  readonly table: TableFile;
  readonly quiescence: Quiescence;
  readonly mover: PageMover;
  readonly clock: Pick<Clock, 'now'>;
  readonly timers: Timers;
  readonly revokeMs: number;
  /** Asks for zeroed frames. */
  readonly awaitFrames: () => void;
  /** Who was changing the page goes on elsewhere: what he wrote may be there in part. */
  readonly interrupted: (entry: number) => void;
  /** False: the page must stay as it is, and no thread can be at work on it. */
  readonly mayCopyAway: (entry: number) => boolean;
}

export class Revocation {
  /** Pages that were copied away from under stopped threads. */
  pagesCopied = 0;
  /** Answers that could not be given because there was no frame for such a page. */
  unsettled = 0;
  /** Requests that wait just now. */
  waiting = 0;
  readonly #parts: RevocationParts;

  constructor(parts: RevocationParts) {
    this.#parts = parts;
  }

  /**
   * True when whatever was taken away before this call is so for everybody. False when a stopped
   * thread still has a page and there is no frame to copy it to: to be asked for again.
   */
  async settled(): Promise<boolean> {
    if (memoryNodeFaults.revokeBeforeSlots) return true;
    const { quiescence } = this.#parts;
    const generation = quiescence.raise();
    if (quiescence.hasPassed(generation)) return true;
    this.waiting += 1;
    try {
      if (await this.#passed(generation)) return true;
      return await this.#copyAway(generation);
    } finally {
      this.waiting -= 1;
    }
  }

  #passed(generation: number): Promise<boolean> {
    const { quiescence, revokeMs } = this.#parts;
    return new Promise((resolve) => quiescence.whenPassed(generation, revokeMs, resolve));
  }

  /**
   * The pages whose frames stuck slots publish now, each once. What a slot publishes after that is
   * looked at by its thread again, which then sees what was taken away: so this ends, whatever the
   * slots say meanwhile.
   */
  async #copyAway(generation: number): Promise<boolean> {
    if (memoryNodeFaults.noCopyOnRevoke) return true;
    const { clock, timers, revokeMs, awaitFrames } = this.#parts;
    const giveUpMs = clock.now() + WAITS_FOR_FRAME * revokeMs;
    const held = this.#pagesHeld(generation);
    for (;;) {
      const left = this.#copySome(held, generation);
      if (left === 'none') return true;
      if (left === 'frames are missing') {
        if (clock.now() >= giveUpMs) {
          this.unsettled += 1;
          return false;
        }
        awaitFrames();
      }
      await sleep(timers, left === 'some' ? 0 : RETRY_MS);
    }
  }

  /** Frames that are published by slots that are stuck, and the entries of their pages. */
  #pagesHeld(generation: number): Map<FrameIndex, number> {
    const { quiescence, table, mover } = this.#parts;
    const held = new Map<FrameIndex, number>();
    const elsewhere = new Set<FrameIndex>();
    for (const slot of quiescence.stuck(generation)) {
      const { entry, frame } = quiescence.published(slot) ?? NOTHING;
      if (frame < 0) continue;
      const at = entry * ENTRY_WORDS;
      const isThere = entry >= 0 && table.pages.holds(at, frame as FrameIndex);
      if (isThere) held.set(frame as FrameIndex, at);
      // It has no page any more, or the thread was stopped between its two stores.
      else elsewhere.add(frame as FrameIndex);
    }
    if (elsewhere.size > 0)
      for (const [frame, at] of mover.entriesOf(elsewhere)) held.set(frame, at);
    return held;
  }

  #copySome(
    held: Map<FrameIndex, number>,
    generation: number,
  ): 'none' | 'some' | 'frames are missing' {
    const { mover, table, quiescence } = this.#parts;
    const { pages } = table;
    const stuck = quiescence.stuck(generation);
    const all = stuck.map((slot) => quiescence.published(slot) ?? NOTHING);
    const published = new Set(all.map(({ frame }) => frame));
    const changed = new Set(all.filter(({ isChange }) => isChange).map(({ frame }) => frame));
    let left = TURN_BYTES;
    for (const [frame, entry] of held) {
      const isHeld = published.has(frame) && pages.holds(entry, frame);
      if (isHeld && this.#parts.mayCopyAway(entry)) {
        if (left <= 0) return 'some';
        const fresh = mover.take();
        if (fresh === FRAME_LATER || fresh === FRAME_NONE) return 'frames are missing';
        mover.pause(entry);
        // Before the copy: whoever is verified before it has his bytes in the copy.
        if (!memoryNodeFaults.forcedNotRaised) table.raiseForced();
        // A process that is killed behind it does not know any more whom the frame was taken from.
        if (changed.has(frame)) this.#parts.interrupted(entry);
        mover.move(entry, fresh, true);
        this.pagesCopied += 1;
        left -= mover.pageBytes;
      }
      held.delete(frame);
    }
    return 'none';
  }
}
