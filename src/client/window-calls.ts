/**
 * Opening, narrowing and revoking windows: one at the node of each region of the range.
 *
 * A window that was opened and that nobody was told of is revoked again as far as that can be done
 * soon; where its node does not answer it stays open, and nobody knows its epoch.
 */

import { Status } from '../base/status.js';
import { sleep } from '../runtime/clock.js';
import type { Runtime } from '../runtime/runtime.js';
import { MessageType, Right } from '../wire/messages.js';
import { failed, MemrackError } from './error.js';
import { Owners, partsOf } from './owners.js';
import type { Part } from './pieces.js';
import type { RegionMap } from './region-map.js';
import type { WindowFacts, WindowPart, WindowRights } from './window-token.js';

/** Asks again for what a stopped thread holds back at the node. */
const BUSY_PAUSE_MS = 50;
const TAKE_BACK_MS = 1000;
const RIGHTS: Readonly<Record<WindowRights, number>> = {
  r: Right.READ,
  rw: Right.READ | Right.WRITE,
};
export const STALE_REMEDY = 'it was revoked, or its node has restarted: ask for another one';

export class WindowCalls {
  readonly #runtime: Runtime;
  readonly #regions: RegionMap;
  readonly #owners: Owners;
  readonly #space: number;

  constructor(runtime: Runtime, regions: RegionMap, space: number) {
    this.#runtime = runtime;
    this.#regions = regions;
    this.#owners = new Owners(runtime, regions);
    this.#space = space;
  }

  /** With `parent`, cut from that; the caller has checked that it lies within it. */
  async open(
    at: number,
    bytes: number,
    rights: WindowRights,
    deadline: number,
    parent?: WindowFacts,
  ): Promise<WindowFacts> {
    const pieces = [...partsOf(at, bytes)];
    const opening = pieces.map((piece) => {
      return this.#openPart(piece, rights, deadline, parent && partOf(parent, piece.region));
    });
    const opened = await Promise.allSettled(opening);
    const parts: WindowPart[] = [];
    for (const one of opened) if (one.status === 'fulfilled') parts.push(one.value);
    const facts = { space: this.#space, at, bytes, rights, parts };
    const failure = opened.find((one) => one.status === 'rejected');
    if (failure === undefined) return facts;
    const soon = this.#runtime.clock.now() + TAKE_BACK_MS;
    const takingBack = opened.map((one, i) =>
      one.status === 'fulfilled'
        ? this.#revokePart(pieces[i] as Part, one.value, Math.min(soon, deadline))
        : undefined,
    );
    await Promise.allSettled(takingBack);
    throw failure.reason;
  }

  async #openPart(
    { region, address, bytes }: Part,
    rights: WindowRights,
    deadline: number,
    parent: WindowPart | undefined,
  ): Promise<WindowPart> {
    const request = {
      space: this.#space,
      rights: RIGHTS[rights],
      base: address,
      bytes,
      parent: parent === undefined ? 0 : parent.window + 1,
      parentEpoch: parent?.epoch ?? 0,
      lease: 0,
      leaseEpoch: 0,
      isShared: 1,
    };
    const reply = await this.#owners.call(region, MessageType.OpenRange, request, deadline);
    if (reply.status === Status.Ok) return { window: reply.window, epoch: reply.epoch };
    // What may be open there was told to nobody.
    const isUnheard = reply.status === Status.OutcomeUnknown;
    const status = isUnheard ? Status.Unavailable : reply.status;
    throw await this.#explain(`at ${address}`, region, { ...reply, status });
  }

  /** Everywhere, whatever happens at one of the nodes. */
  async revoke(facts: WindowFacts, deadline: number): Promise<void> {
    const pieces = [...partsOf(facts.at, facts.bytes)];
    const ended = await Promise.allSettled(
      pieces.map((piece, i) => this.#revokePart(piece, facts.parts[i] as WindowPart, deadline)),
    );
    const causes: MemrackError[] = [];
    for (const one of ended) if (one.status === 'rejected') causes.push(one.reason);
    const cause = causes[0];
    if (cause === undefined) return;
    // Not ours to revoke: nothing was done, and nothing will be by asking again.
    if (causes.length === ended.length && cause.code === 'Denied') throw cause;
    const remedy = 'revoke it again';
    const what = 'the window may still be open';
    throw new MemrackError(cause.code, what, { outcome: 'unknown', remedy, cause });
  }

  /** Nothing is left of it when this resolves; that includes the memory that it was for. */
  async #revokePart(piece: Part, part: WindowPart, deadline: number): Promise<void> {
    for (;;) {
      const status = await this.#revokeOnce(piece, part, deadline);
      if (status !== Status.Busy) return;
      const { clock, timers } = this.#runtime;
      if (clock.now() + BUSY_PAUSE_MS >= deadline) {
        throw failed('a stopped process still uses the window', Status.Busy);
      }
      await sleep(timers, BUSY_PAUSE_MS);
    }
  }

  /** Busy: it is closed, but a stopped thread may still be at work under it. */
  async #revokeOnce(piece: Part, { window, epoch }: WindowPart, deadline: number): Promise<Status> {
    try {
      const connection = await this.#owners.reach(piece.region, deadline);
      const timeoutMs = this.#leftMs(deadline);
      const request = { window, epoch };
      const reply = await connection.link.call(MessageType.RevokeWindow, request, timeoutMs);
      // Stale is told like Ok: only when nobody can be at work under any earlier window.
      if (reply.status === Status.Ok || reply.status === Status.Stale) return Status.Ok;
      if (reply.status === Status.Busy) return reply.status;
      throw await this.#explain(`at ${piece.address}`, piece.region, reply);
    } catch (error) {
      if (error instanceof MemrackError && isGone(error.code)) return Status.Ok;
      throw error;
    }
  }

  /** As `Owners.explain`; what is stale stays stale where its memory is still there. */
  async #explain(
    what: string,
    region: number,
    reply: { readonly status: Status; readonly reason?: string },
  ): Promise<MemrackError> {
    const explained = await this.#owners.explain(what, region, reply);
    if (reply.status !== Status.Stale || explained.code !== 'Unavailable') return explained;
    return staleWindow(what);
  }

  #leftMs(deadline: number): number {
    return Math.max(1, deadline - this.#runtime.clock.now());
  }

  /** For operations through a window that was opened here or elsewhere. */
  get regions(): RegionMap {
    return this.#regions;
  }
}

export function staleWindow(what: string): MemrackError {
  return new MemrackError('Stale', `the window ${what} is not open any more`, {
    remedy: STALE_REMEDY,
  });
}

/** The space was removed, or its memory is lost. */
function isGone(code: string): boolean {
  return code === 'DataLost' || code === 'NotFound';
}

function partOf(facts: WindowFacts, region: number): WindowPart | undefined {
  const [first] = partsOf(facts.at, facts.bytes);
  return facts.parts[region - (first?.region ?? 0)];
}
