/**
 * Where the operations on a range go: to which link, with which window. The regions of a space are
 * one answer (`RegionMap`), a window over a part of it is another (`WindowRoutes`).
 */

import type { Status } from '../base/status.js';
import type { Window } from '../fabric/link.js';
import type { Connection } from './connections.js';
import type { RegionState } from './control.js';

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
}
