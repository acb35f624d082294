/**
 * Calls to the node that owns a region: the way there, and what a refusal means after a look at
 * what has become of the region.
 */

import { Status } from '../base/status.js';
import type { Runtime } from '../runtime/runtime.js';
import { REGION_BYTES } from '../wire/limits.js';
import type { CallType, Reply, Request } from '../wire/messages.js';
import type { Connection } from './connections.js';
import { failed, MemrackError, spaceRemoved } from './error.js';
import { isElsewhere } from './elsewhere.js';
import type { Part } from './pieces.js';
import type { RegionMap } from './region-map.js';

const LOOK_AGAIN_MS = 1000;

export class Owners {
  readonly #runtime: Runtime;
  readonly #regions: RegionMap;

  constructor(runtime: Runtime, regions: RegionMap) {
    this.#runtime = runtime;
    this.#regions = regions;
  }

  /** The connection to the owner of a region, or the reason why there is none. */
  async reach(region: number, deadline: number): Promise<Connection> {
    const regions = this.#regions;
    await regions.settled(region, deadline);
    if (regions.connection(region) === undefined) {
      const status = await regions.refresh(deadline);
      if (status === Status.NotFound) throw spaceRemoved(`no owner of region ${region}`);
      if (status !== Status.Ok) throw failed('the owner of the region is not known', status);
    }
    if (regions.state(region) === 'lost') {
      throw failed(`the memory of region ${region} is gone`, Status.DataLost);
    }
    const connection = regions.connection(region);
    if (connection === undefined) {
      const { missing } = regions;
      const isFree = missing === Status.NotAllocated;
      throw failed(
        isFree ? 'nothing is allocated there' : 'the controller may not know all regions yet',
        missing,
      );
    }
    return connection;
  }

  /** The call, made again where the region is, as often as it has moved meanwhile. */
  async call<T extends CallType>(
    region: number,
    type: T,
    request: Request<T>,
    deadline: number,
  ): Promise<Reply<T>> {
    for (;;) {
      const connection = await this.reach(region, deadline);
      const leftMs = Math.max(1, deadline - this.#runtime.clock.now());
      const reply = await connection.link.call(type, request, leftMs);
      const { status } = reply as { readonly status: Status };
      if (status !== Status.Moved || leftMs <= 1) return reply;
      this.#regions.moved(region, region);
    }
  }

  /** The same; where no owner can be found in time that is told as `Unavailable`. */
  async tryCall<T extends CallType>(
    region: number,
    type: T,
    request: Request<T>,
    deadline: number,
  ): Promise<Reply<T>> {
    try {
      return await this.call(region, type, request, deadline);
    } catch (error) {
      if (!(error instanceof MemrackError)) throw error;
      const status = error.code === 'DataLost' ? Status.DataLost : Status.Unavailable;
      return { status, reason: error.message } as Reply<T>;
    }
  }

  /** A refusal, after a look whether the region still exists. */
  async explain(
    what: string,
    region: number,
    reply: { readonly status: Status; readonly reason?: string },
  ): Promise<MemrackError> {
    const regions = this.#regions;
    const { status } = reply;
    if (isElsewhere(status) || status === Status.Timeout) {
      const answer = await regions.refresh(this.#runtime.clock.now() + LOOK_AGAIN_MS);
      if (answer === Status.NotFound) return spaceRemoved(what);
      if (regions.state(region) === 'lost') return failed(what, Status.DataLost);
      if (status !== Status.Timeout) return failed(what, Status.Unavailable, reply.reason);
    }
    return failed(what, status, reply.reason);
  }
}

/** The range, cut where regions meet. */
export function* partsOf(at: number, bytes: number): Generator<Part> {
  for (let done = 0; done < bytes; ) {
    const address = at + done;
    const inRegion = Math.min(bytes - done, REGION_BYTES - (address % REGION_BYTES));
    yield { region: Math.floor(address / REGION_BYTES), address, bytes: inRegion };
    done += inRegion;
  }
}
