/**
 * What of a memory node takes pages away from threads of other processes, and moves pages under
 * them: put together, and counted.
 */

import type { TableFile } from '../disk/table-file.js';
import type { Runtime } from '../runtime/runtime.js';
import type { FramePool } from './store/frame-pool.js';
import type { Frames } from './store/frames.js';
import { PageMover } from './store/page-mover.js';
import type { Quiescence } from './store/quiescence.js';
import { Relocation } from './store/relocation.js';
import { Revocation } from './store/revocation.js';
import type { Windows } from './translate/windows.js';

export interface WithdrawalParts {
  readonly table: TableFile;
  readonly windows: Windows;
  readonly quiescence: Quiescence;
  readonly frames: Frames;
  readonly pool: FramePool;
  /** How long a thread may take for its step. */
  readonly revokeMs: number;
  readonly awaitFrames: () => void;
  /** Pages that were paused go on. */
  readonly resumed: () => void;
  /** See `RevocationParts`. */
  readonly interrupted: (entry: number) => void;
  readonly mayCopyAway: (entry: number) => boolean;
}

export class Withdrawal {
  readonly revocation: Revocation;
  readonly relocation: Relocation;
  readonly #windows: Windows;

  constructor(runtime: Runtime, given: WithdrawalParts) {
    const { clock, timers, memory } = runtime;
    const { table, quiescence, windows, frames, pool, awaitFrames, resumed, revokeMs } = given;
    this.#windows = windows;
    const mover = new PageMover({ pages: table.pages, frames, pool, memory });
    const parts = { table, quiescence, mover, clock, timers, awaitFrames };
    const { mayCopyAway, interrupted } = given;
    this.revocation = new Revocation({ ...parts, revokeMs, mayCopyAway, interrupted });
    this.relocation = new Relocation({ ...parts, stuckMs: revokeMs, resumed });
  }

  /** Closes the lease's windows of epochs below this one; true when that has ended all access. */
  revokeLease(lease: number, belowEpoch: number): Promise<boolean> {
    this.#windows.closeLease(lease, belowEpoch);
    return this.revocation.settled();
  }

  counts(): Record<string, number> {
    const { revocation, relocation } = this;
    return {
      pagesCopiedOnRevoke: revocation.pagesCopied,
      revocationsUnsettled: revocation.unsettled,
      revocationsWaiting: revocation.waiting,
      pagesMoved: relocation.pagesMoved,
      movesCancelled: relocation.movesCancelled,
      pagesPaused: relocation.paused,
    };
  }
}
