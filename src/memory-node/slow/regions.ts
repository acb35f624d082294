/** The regions of a memory node: granted by the controller, given up with their space. */

import { Status } from '../../base/status.js';
import type { TableFile } from '../../disk/table-file.js';
import { type Timers, sleep } from '../../runtime/clock.js';
import type { Windows } from '../translate/windows.js';
import type { Allocations, Refusal } from './allocations.js';

export interface Grant {
  readonly space: number;
  readonly region: number;
  readonly epoch: number;
  readonly pageBytes: number;
  readonly memoryId: number;
}

/** What regions need of the slow path. */
export interface RegionListener {
  addRegion(space: number, region: number): void;
  dropRegion(space: number, region: number): void;
  nudge(): void;
}

/** Regions that come from other nodes, or go there. */
export interface RegionMoves {
  spaceRemoved(space: number): void;
  granted(space: number, region: number): void;
}

export class Regions {
  readonly #table: TableFile;
  readonly #windows: Windows;
  readonly #allocations: Allocations;
  readonly #slow: RegionListener;
  readonly #timers: Timers;
  /** Spaces that are being removed, with the end of it. */
  readonly #removing = new Map<number, Promise<void>>();

  constructor(parts: {
    readonly table: TableFile;
    readonly windows: Windows;
    readonly allocations: Allocations;
    readonly slow: RegionListener;
    readonly timers: Timers;
  }) {
    this.#table = parts.table;
    this.#windows = parts.windows;
    this.#allocations = parts.allocations;
    this.#slow = parts.slow;
    this.#timers = parts.timers;
  }

  /** Of moves to and from this node. */
  moves: RegionMoves | undefined;

  isRemoving(space: number): boolean {
    return this.#removing.has(space);
  }

  /** Whether windows for the space may be opened here. */
  serves(space: number): boolean {
    return this.#table.regions.holdsAnyOf(space) && !this.#removing.has(space);
  }

  /** The same grant any number of times, a higher epoch over a lower one; never the reverse. */
  grant(grant: Grant): Refusal | undefined {
    const { space, region, epoch } = grant;
    const { regions, facts } = this.#table;
    if (grant.memoryId !== facts.memoryId) {
      // The controller does not know yet that the memory it chose is gone.
      return { status: Status.Stale, reason: 'this was granted to a memory that is gone' };
    }
    if (grant.pageBytes !== facts.pageBytes) {
      const reason = `pages here have ${facts.pageBytes} bytes, not ${grant.pageBytes}`;
      return { status: Status.Unsupported, reason };
    }
    if (this.#removing.has(space)) {
      return { status: Status.Conflict, reason: `space ${space} is being removed here` };
    }
    if (regions.isHanding(space, region)) {
      return { status: Status.Conflict, reason: 'it is being handed over to another node' };
    }
    const held = regions.epochOf(space, region);
    if (held === undefined && epoch <= this.#table.givenAway) {
      // An answer, or a row, of the time before it went to another node.
      return { status: Status.Stale, reason: 'it may have been given away since' };
    }
    if (held !== undefined && epoch < held) {
      return { status: Status.Stale, reason: `held already, since epoch ${held}` };
    }
    if (held === undefined && regions.isFull) {
      return {
        status: Status.NoSpace,
        reason: `${regions.entries} regions are held, not one more`,
      };
    }
    if (epoch !== held) regions.put({ space, region, epoch });
    if (held !== undefined) return undefined;
    this.#slow.addRegion(space, region);
    this.moves?.granted(space, region);
    return undefined;
  }

  /** Gives up every region of the space with all that is in it. Idempotent. */
  remove(space: number): Promise<void> {
    const underWay = this.#removing.get(space);
    if (underWay !== undefined) return underWay;
    const removal = this.#remove(space).finally(() => this.#removing.delete(space));
    this.#removing.set(space, removal);
    return removal;
  }

  /** Region by region, with a pause after each: one may hold thousands of pages. */
  async #remove(space: number): Promise<void> {
    this.#windows.closeSpace(space);
    this.moves?.spaceRemoved(space);
    for (const { region } of this.#table.regions.list().filter((grant) => grant.space === space)) {
      this.#allocations.clearRegion(space, region);
      this.#table.regions.remove(space, region);
      this.#slow.dropRegion(space, region);
      this.#slow.nudge();
      await sleep(this.#timers, 0);
    }
  }
}
