/**
 * Which frames were written to since somebody looked: a byte per frame, in the slot file, where
 * threads of other processes mark theirs, too. Nobody marks anything while no region moves.
 *
 * A writer marks behind the moment at which it publishes its frame, and before it copies. Whoever
 * takes a mark, raises the generation and waits for all slots, so that what was marked before is
 * in the frame by then (docs/internals/moves.md).
 */

import type { FrameIndex } from '../../base/brands.js';
import type { TableFile } from '../../disk/table-file.js';
import { memoryNodeFaults } from '../planted.js';

export class WrittenFrames {
  /** Looked at by the main thread before each of its own writes. */
  isOn = false;
  readonly #table: Pick<TableFile, 'isTracking'>;
  readonly #marks: Uint8Array;

  constructor(table: Pick<TableFile, 'isTracking'>, marks: Uint8Array) {
    this.#table = table;
    this.#marks = marks;
    // A process before this one may have ended in the middle of a move.
    if (table.isTracking) table.isTracking = false;
  }

  /** Threads of other processes mark once they have seen it: raise the generation, and wait. */
  begin(): void {
    this.#marks.fill(0);
    this.#table.isTracking = true;
    this.isOn = true;
  }

  end(): void {
    this.isOn = false;
    if (this.#table.isTracking) this.#table.isTracking = false;
  }

  mark(frame: FrameIndex): void {
    if (!memoryNodeFaults.ownWritesNotMarked) Atomics.store(this.#marks, frame, 1);
  }

  /** Whether it was written to; from now on it was not. */
  take(frame: FrameIndex): boolean {
    return Atomics.exchange(this.#marks, frame, 0) !== 0;
  }

  /** The same, and the mark stays. */
  isMarked(frame: FrameIndex): boolean {
    return Atomics.load(this.#marks, frame) !== 0;
  }
}
