/**
 * The ways to the parts of a window. Unlike a space's own windows these are never opened anew: one
 * that was revoked, or whose node has restarted, is `Stale` for good.
 */

import { Status } from '../base/status.js';
import type { Window } from '../fabric/link.js';
import type { RegionState } from './control.js';
import type { RegionMap } from './region-map.js';
import type { Route, Routes } from './routes.js';

export class WindowRoutes implements Routes {
  readonly #regions: RegionMap;
  readonly #first: number;
  readonly #windows: readonly Window[];
  readonly #routes: (Route | undefined)[] = [];

  /** One window for each region from `first` on. */
  constructor(regions: RegionMap, first: number, windows: readonly Window[]) {
    this.#regions = regions;
    this.#first = first;
    this.#windows = windows;
  }

  ready(region: number): Route | undefined {
    const route = this.#routes[region - this.#first];
    return route === undefined || route.connection.isClosed ? undefined : route;
  }

  state(region: number): RegionState | undefined {
    return this.#regions.state(region);
  }

  async prepare(first: number, last: number, deadline: number): Promise<Status> {
    for (let region = first; region <= last; region++) {
      const status = await this.#prepareOne(region, deadline);
      if (status !== Status.Ok) return status;
    }
    return Status.Ok;
  }

  async #prepareOne(region: number, deadline: number): Promise<Status> {
    if (this.ready(region) !== undefined) return Status.Ok;
    // The space's own window there is not needed; but who may open it has found the node, as it
    // was demanded.
    const status = await this.#regions.prepare(region, region, deadline);
    if (status !== Status.Ok) return status;
    const connection = this.#regions.connection(region);
    const window = this.#windows[region - this.#first];
    // Lost while we waited, or not of this window, which its bounds should have told.
    if (connection === undefined || window === undefined) return Status.Unavailable;
    this.#routes[region - this.#first] = { connection, window };
    return Status.Ok;
  }

  refusal(region: number): string | undefined {
    return this.#regions.refusal(region);
  }

  refresh(deadline: number): Promise<Status> {
    return this.#regions.refresh(deadline);
  }

  dropWindow(): void {}
}
