/** What the parts of one slab's writer know of each other, and of whoever uses them. */

import type { Status } from '../base/status.js';
import type { Clock, Timers } from '../runtime/clock.js';
import type { Checksum } from '../runtime/runtime.js';
import type { Areas } from './areas.js';
import type { Copy } from './copy.js';
import type { SlabLayout } from './layout.js';
import type { Members } from './members.js';

/** Who decides which copies there are. */
export interface SetKeeper {
  /**
   * A copy that is wanted did not do what it was asked, and nothing else since `sinceMs`; it is
   * asked again until it leaves the set, which it may when `upkeep.canSpare` says so.
   */
  failing(id: number, status: Status, sinceMs: number): void;
  /** Before an area is written to. */
  mayWrite?(): Promise<void>;
  /** Whether somebody says, after this was asked, that this is the writer still. */
  confirm(): Promise<boolean>;
  /** A block of a copy was not what had been written there; whether another copy had it. */
  damaged(id: number, block: number, isRepaired: boolean): void;
}

export interface ReplicaParts {
  readonly clock: Pick<Clock, 'now'>;
  readonly timers: Timers;
  readonly checksum: Checksum;
  readonly layout: SlabLayout;
  readonly copies: readonly Copy[];
  readonly keeper: SetKeeper;
  /** Nothing was ever written to any of the copies. */
  readonly isNew: boolean;
}

/** One attempt at a copy; then the keeper hears of it. */
export const ATTEMPT_MS = 1_000;

/** What upkeep does things to. */
export interface Slab {
  readonly members: Members;
  readonly areas: Areas;
  readonly isOver: boolean;
  /** The blocks for upkeep alone, or shared with readers, as soon as nobody uses them. */
  hold(first: number, count: number, isShared?: boolean): Promise<boolean>;
  letGo(first: number, count: number, isShared?: boolean): void;
  /** What waits is looked at again: now, or when the code that runs now is done. */
  wake(): void;
  wakeSoon(): void;
  drop(id: number): void;
}
