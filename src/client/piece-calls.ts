/**
 * The calls by which memory is taken at one node, and given back when that came to nothing.
 *
 * What a node allocates is provisional until it is confirmed by its nonce. So whatever was not
 * confirmed needs no care: the node takes it back by itself. Only where a confirmation was sent and
 * nobody knows whether it arrived, the client gives the memory back until the node has answered.
 */

import { Status } from '../base/status.js';
import { sleep } from '../runtime/clock.js';
import type { Runtime } from '../runtime/runtime.js';
import { NONCE_END } from '../wire/limits.js';
import { MessageType } from '../wire/messages.js';
import { Owners } from './owners.js';
import type { Part } from './pieces.js';
import type { RegionMap } from './region-map.js';

export interface PieceParts {
  readonly runtime: Runtime;
  readonly regions: RegionMap;
  readonly space: number;
}

export interface Allocated {
  readonly status: Status;
  readonly address: number;
  readonly reason: string;
}

/**
 * `gone`: not in time, because this client or the way to the node stood still; nothing is left.
 * `unknown`: it may be done, now or later.
 */
export type Confirmed = 'kept' | 'gone' | 'unknown';

/** Given back at the same time; with more, nothing is allocated. */
const ABANDONED_MAX = 1024;
/** What is not confirmed is given back only for others to have it sooner. */
const GIVE_BACK_MS = 1000;
const ABANDON_CALL_MS = 2_000;
const LOOK_MS = 1000;
const PAUSE_MS_MIN = 50;
const PAUSE_MS_MAX = 5000;

export class PieceCalls {
  readonly #parts: PieceParts;
  readonly #owners: Owners;
  #nonce: number;
  /** Ends of what is given back. */
  readonly #abandoned = new Set<Promise<void>>();

  constructor(parts: PieceParts) {
    this.#parts = parts;
    this.#owners = new Owners(parts.runtime, parts.regions);
    this.#nonce = parts.runtime.entropy.u32() % NONCE_END;
  }

  /** Too much waits to be given back to nodes that are away. */
  get isFull(): boolean {
    return this.#abandoned.size >= ABANDONED_MAX;
  }

  /** Never that of another one of this client's latest; seldom that of one of somebody else's. */
  nextNonce(): number {
    this.#nonce = (this.#nonce % (NONCE_END - 1)) + 1;
    return this.#nonce;
  }

  left(deadline: number): number {
    return Math.max(1, deadline - this.#parts.runtime.clock.now());
  }

  /** `wish` counts where it lies in the region. What is not known to be done is `Unavailable`. */
  async allocate(
    wanted: { region: number; bytes: number; wish: number; flags: number; nonce: number },
    deadline: number,
  ): Promise<Allocated> {
    const { regions, space } = this.#parts;
    if (regions.connection(wanted.region) === undefined) {
      return { status: Status.Unavailable, address: 0, reason: '' };
    }
    const request = { space, ...wanted };
    const reply = await this.#owners.tryCall(wanted.region, MessageType.Alloc, request, deadline);
    if (reply.status === Status.Ok) return { ...reply, reason: '' };
    const { reason } = reply;
    const isAway = reply.status === Status.Timeout || reply.status === Status.OutcomeUnknown;
    return { status: isAway ? Status.Unavailable : reply.status, address: 0, reason };
  }

  async confirm(part: Part, nonce: number, deadline: number): Promise<Confirmed> {
    const { regions, space } = this.#parts;
    if (regions.connection(part.region) === undefined) return 'unknown';
    const request = { space, nonce, address: part.address };
    const reply = await this.#owners.tryCall(
      part.region,
      MessageType.ConfirmAlloc,
      request,
      deadline,
    );
    const { status } = reply;
    if (status === Status.Ok) return 'kept';
    return status === Status.NotAllocated ? 'gone' : 'unknown';
  }

  /** Gives back what was not confirmed, as far as it can be done soon. */
  async giveBack(parts: readonly Part[], nonce: number): Promise<void> {
    const { regions, space } = this.#parts;
    const calls = parts.map(({ region, address }) => {
      const link = regions.connection(region)?.link;
      return link?.call(MessageType.Free, { space, nonce, address }, GIVE_BACK_MS);
    });
    await Promise.all(calls);
  }

  /** Gives back what may be confirmed, however long it takes; nobody waits for it. */
  abandon(part: Part, nonce: number): void {
    const end = this.#giveBackAtLast(part, nonce).then(() => {
      this.#abandoned.delete(end);
    });
    this.#abandoned.add(end);
  }

  /** What is given back now, and may stay allocated if this client ends before. */
  get abandoned(): readonly Promise<void>[] {
    return [...this.#abandoned];
  }

  async #giveBackAtLast(part: Part, nonce: number): Promise<void> {
    for (let pauseMs = PAUSE_MS_MIN; !(await this.#isGivenBack(part, nonce)); ) {
      await sleep(this.#parts.runtime.timers, pauseMs);
      pauseMs = Math.min(2 * pauseMs, PAUSE_MS_MAX);
    }
  }

  /** True when there is nothing of it any more, or this client has ended. */
  async #isGivenBack({ region, address }: Part, nonce: number): Promise<boolean> {
    const { regions, runtime, space } = this.#parts;
    const request = { space, nonce, address };
    const link = regions.connection(region)?.link;
    const reply = await link?.call(MessageType.Free, request, ABANDON_CALL_MS);
    if (reply?.status === Status.Ok || reply?.status === Status.NotAllocated) return true;
    if (reply?.status === Status.Moved) regions.moved(region, region);
    const status = await regions.refresh(runtime.clock.now() + LOOK_MS);
    // NotFound: the space was removed.
    if (status === Status.Closed || status === Status.NotFound) return true;
    return status === Status.Ok && regions.state(region) === 'lost';
  }
}
