/**
 * Where the operations on a range go: to which link, with which window. The regions of a space are
 * one answer (`RegionMap`), a window over a part of it is another (`WindowRoutes`).
 */

import type { Status } from '../base/status.js';
import type { CompletionSink, Window } from '../fabric/link.js';
import type { Connection } from './connections.js';
import type { RegionState } from './control.js';
import type { MovedPlace } from './put-back.js';

/** One node, as a space or a window sees it. */
export interface Route {
  readonly connection: Connection;
  window: Window | undefined;
}

export interface Routes {
  /** The way to a region whose owner and window are known and whose data is not lost. */
  ready(region: number): Route | undefined;
  state(region: number): RegionState | undefined;
  /** Makes the regions `[first, last]` ready, or says why not. */
  prepare(first: number, last: number, deadline: number): Promise<Status>;
  /** Asks the controller who owns what. */
  refresh(deadline: number): Promise<Status>;
  /** After `Unsupported`: why, for people. */
  refusal?(region: number): string | undefined;
  /** After a refusal that says that the window is not good any more. */
  dropWindow(region: number): void;
  /**
   * The node does not hold the region any more: a piece of an operation came back, and is started
   * again where the region is. Undefined where regions do not move.
   */
  putBack?(sink: CompletionSink, from: MovedPlace): void;
  /** On its way to another node, or in doubt: `prepare` waits until it is known where it is. */
  isGoingOver?(region: number): boolean;
  /** A node has said that it does not hold one of these regions any more. */
  moved?(first: number, last: number): void;
}
