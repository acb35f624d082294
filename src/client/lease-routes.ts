/**
 * The ways to a range through windows that are bound to a lease: good at each node for as long as
 * nobody else has been given the lease. After a restart of a node its window is opened anew, which
 * the node refuses to whom the lease does not belong any more.
 */

import { Status } from '../base/status.js';
import type { Window } from '../fabric/link.js';
import { sleep } from '../runtime/clock.js';
import type { Runtime } from '../runtime/runtime.js';
import { REGION_BYTES } from '../wire/limits.js';
import { MessageType } from '../wire/messages.js';
import type { Connection } from './connections.js';
import type { RegionState } from './control.js';
import type { RegionMap } from './region-map.js';
import type { Route, Routes } from './routes.js';

export interface LeaseBinding {
  readonly lease: number;
  readonly epoch: number;
  /** The ids of its nodes: others never heard of it. */
  readonly nodes: ReadonlySet<string>;
  /** A node says that the lease is another's. */
  readonly isStale: () => void;
}

export interface BoundRange {
  readonly space: number;
  readonly at: number;
  readonly bytes: number;
  /** Bits of `Right`. */
  readonly rights: number;
}

const OPEN_MS_MAX = 1000;
const RETRY_MS_MIN = 5;
const RETRY_MS_MAX = 250;

export class LeaseRoutes implements Routes {
  readonly #runtime: Runtime;
  readonly #regions: RegionMap;
  readonly #binding: LeaseBinding;
  readonly #range: BoundRange;
  readonly #routes = new Map<number, Route>();
  readonly #opening = new Map<number, Promise<Status>>();

  constructor(runtime: Runtime, regions: RegionMap, binding: LeaseBinding, range: BoundRange) {
    this.#runtime = runtime;
    this.#regions = regions;
    this.#binding = binding;
    this.#range = range;
  }

  ready(region: number): Route | undefined {
    const route = this.#routes.get(region);
    return route?.window === undefined || route.connection.isClosed ? undefined : route;
  }

  state(region: number): RegionState | undefined {
    return this.#regions.state(region);
  }

  /** All of the range: what can be refused is refused before anything is done. */
  prepareAll(deadline: number): Promise<Status> {
    const { at, bytes } = this.#range;
    const last = Math.floor((at + bytes - 1) / REGION_BYTES);
    return this.prepare(Math.floor(at / REGION_BYTES), last, deadline);
  }

  async prepare(first: number, last: number, deadline: number): Promise<Status> {
    for (let region = first; region <= last; region++) {
      const status = await this.#prepareOne(region, deadline);
      if (status !== Status.Ok) return status;
    }
    return Status.Ok;
  }

  /** Where a window of the space can be had, one that is bound can be asked for. */
  async #prepareOne(region: number, deadline: number): Promise<Status> {
    const { clock, timers } = this.#runtime;
    for (let pauseMs = RETRY_MS_MIN; ; pauseMs = Math.min(2 * pauseMs, RETRY_MS_MAX)) {
      if (this.ready(region) !== undefined) return Status.Ok;
      const reached = await this.#regions.prepare(region, region, deadline);
      if (reached !== Status.Ok) return reached;
      const connection = this.#regions.connection(region);
      const status =
        connection === undefined
          ? Status.Unavailable
          : await this.#openOnce(region, connection, deadline);
      if (status !== Status.Unavailable) return status;
      if (clock.now() + pauseMs >= deadline) return Status.Unavailable;
      await sleep(timers, pauseMs);
      // Who holds the region by now the controller knows, where it is there.
      await this.#regions.refresh(Math.min(deadline, clock.now() + OPEN_MS_MAX));
    }
  }

  #openOnce(region: number, connection: Connection, deadline: number): Promise<Status> {
    const running = this.#opening.get(region);
    if (running !== undefined) return running;
    const opening = this.#open(region, connection, deadline).finally(() => {
      this.#opening.delete(region);
    });
    this.#opening.set(region, opening);
    return opening;
  }

  async #open(region: number, connection: Connection, deadline: number): Promise<Status> {
    const { lease, epoch, nodes, isStale } = this.#binding;
    const { space, at, bytes, rights } = this.#range;
    const base = Math.max(at, region * REGION_BYTES);
    const end = Math.min(at + bytes, (region + 1) * REGION_BYTES);
    if (end <= base || !nodes.has(connection.nodeId)) return Status.Invalid;
    const request = {
      space,
      rights,
      base,
      bytes: end - base,
      parent: 0,
      parentEpoch: 0,
      lease,
      leaseEpoch: epoch,
      isShared: 0,
    };
    const leftMs = deadline - this.#runtime.clock.now();
    const timeoutMs = Math.max(1, Math.min(leftMs, OPEN_MS_MAX));
    const reply = await connection.link.call(MessageType.OpenRange, request, timeoutMs);
    if (reply.status !== Status.Ok) {
      if (reply.status === Status.Stale) isStale();
      return isPassing(reply.status) ? Status.Unavailable : reply.status;
    }
    const window: Window = { space, id: reply.window, epoch: reply.epoch };
    this.#routes.set(region, { connection, window });
    return Status.Ok;
  }

  refresh(deadline: number): Promise<Status> {
    return this.#regions.refresh(deadline);
  }

  dropWindow(region: number): void {
    this.#routes.delete(region);
  }
}

/** A window of which nobody knows is closed with the lease. */
function isPassing(status: Status): boolean {
  return (
    status === Status.NotFound ||
    status === Status.Timeout ||
    status === Status.Busy ||
    status === Status.OutcomeUnknown
  );
}
