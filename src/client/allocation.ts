/**
 * Allocating, freeing and protecting ranges, over as many regions and nodes as it takes.
 *
 * What fits into one region is two calls to one node, of which the second confirms the first. A
 * larger allocation is made of pieces in regions that lie side by side, the first piece first; when
 * all of them exist, the confirmation of the first one makes it. See ARCHITECTURE.md.
 */

import { Status } from '../base/status.js';
import { sleep } from '../runtime/clock.js';
import type { Runtime } from '../runtime/runtime.js';
import { GRANT_REGIONS_MAX, REGION_BYTES } from '../wire/limits.js';
import { AllocFlag, MessageType, Right } from '../wire/messages.js';
import type { Connection } from './connections.js';
import type { Control } from './control.js';
import { codeOf, MemrackError } from './error.js';
import { type Allocated, type Part, PieceCalls } from './piece-calls.js';
import { Placement } from './placement.js';
import type { RegionMap } from './region-map.js';

export type Rights = 'none' | 'r' | 'rw';
const RIGHTS: Readonly<Record<Rights, number>> = {
  none: 0,
  r: Right.READ,
  rw: Right.READ | Right.WRITE,
};

export interface AllocationParts {
  readonly runtime: Runtime;
  readonly control: Control;
  readonly regions: RegionMap;
  readonly space: number;
  readonly pageBytes: number;
}

/** No node has room. */
interface NoRoom {
  readonly status: Status;
  /** Every node that serves was asked itself. */
  readonly isSure: boolean;
}

/** Longer than between two heartbeats: then the controller knows what was freed before. */
const LOADS_FRESH_MS = 2500;
const LOADS_POLL_MS = 200;
/** Regions that are tried, and granted, for one allocation before it is `NoSpace`. */
const TRIES_MAX = 16;
const GRANTS_MAX = 3;
/** A node that is silent for longer does not keep a large allocation from going elsewhere. */
const EMPTY_RUN_MS = 1000;

function failed(what: string, status: Status, reason = ''): MemrackError {
  return new MemrackError(codeOf(status), reason === '' ? what : `${what}: ${reason}`);
}

export class Allocation {
  readonly #parts: AllocationParts;
  readonly #placement: Placement;
  readonly #pieces: PieceCalls;

  constructor(parts: AllocationParts) {
    this.#parts = parts;
    this.#placement = new Placement(parts.runtime, parts.control, parts.regions);
    this.#pieces = new PieceCalls(parts);
  }

  async alloc(bytes: number, wish: number, deadline: number): Promise<number> {
    const { pageBytes } = this.#parts;
    const rounded = Math.ceil(bytes / pageBytes) * pageBytes;
    if (rounded > GRANT_REGIONS_MAX * REGION_BYTES) {
      const remedy = `allocate at most ${GRANT_REGIONS_MAX} GiB at once`;
      throw new MemrackError('NoSpace', 'the allocation is too large', { remedy });
    }
    if (this.#pieces.isFull) {
      const remedy = 'see which memory nodes do not answer: `memrack status`';
      throw new MemrackError('Busy', 'too much waits to be given back', { remedy });
    }
    const { clock, timers } = this.#parts.runtime;
    const sureAt = Math.min(deadline, clock.now() + LOADS_FRESH_MS);
    for (;;) {
      const made =
        rounded > REGION_BYTES
          ? await this.#allocLarge(rounded, deadline)
          : await this.#allocSmall(rounded, wish, deadline);
      if (typeof made === 'number') return made;
      const isSure = made.isSure || clock.now() + LOADS_POLL_MS >= sureAt;
      if (made.status !== Status.NoSpace || isSure) {
        throw failed('no memory node has room', made.status);
      }
      // What the controller knows of the nodes may be older than what was freed since.
      await sleep(timers, LOADS_POLL_MS);
      this.#placement.forgetLoads();
    }
  }

  async #allocSmall(bytes: number, wish: number, deadline: number): Promise<number | NoRoom> {
    await this.#parts.regions.refreshOnce(deadline);
    let status: Status = Status.NoSpace;
    let grants = 0;
    const tried = new Set<number>();
    const first = this.#wishedRegion(bytes, wish);
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const known = await this.#placement.choose(bytes, tried, tries === 0 ? first : 0, deadline);
      let { region } = known;
      if (region === 0) {
        if (grants === GRANTS_MAX || known.isHopeless) break;
        grants += 1;
        const granted = await this.#grant({ count: 1, bytes, near: known.near }, deadline);
        if (typeof granted === 'number') break;
        region = (granted[0] as Part).region;
      }
      tried.add(region);
      const reply = await this.#allocOne(region, bytes, wish, deadline);
      if (reply.status === Status.Ok) return reply.address;
      if (reply.status === Status.NoSpace) this.#placement.isFull(region, bytes);
      else if (isElsewhere(reply.status)) status = await this.#lookAgain();
      else if (reply.status === Status.NotAllocated) tried.delete(region);
      else throw failed('the memory node did not allocate', reply.status, reply.reason);
    }
    return { status, isSure: this.#placement.haveAllAnswered(tried) };
  }

  /** The node does not have the region any more, or is away: another region may do. */
  async #lookAgain(): Promise<Status> {
    const { regions, runtime } = this.#parts;
    await regions.refresh(runtime.clock.now() + LOOK_AGAIN_MS);
    return Status.Unavailable;
  }

  /** The region of the wish, when the whole range would lie in one that is known; else 0. */
  #wishedRegion(bytes: number, wish: number): number {
    const region = Math.floor(wish / REGION_BYTES);
    const isWithin = Math.floor((wish + bytes - 1) / REGION_BYTES) === region;
    return isWithin && this.#parts.regions.state(region) === 'serving' ? region : 0;
  }

  async #grant(
    wanted: { readonly count: number; readonly bytes: number; readonly near: string },
    deadline: number,
  ): Promise<Part[] | Status> {
    const { control, regions, space } = this.#parts;
    const answer = await control.grant(space, wanted, deadline);
    if (answer.status !== Status.Ok) {
      if (answer.status === Status.NoSpace) return answer.status;
      throw control.failure('grant of memory', answer.status, answer.reason);
    }
    const parts: Part[] = [];
    for (const facts of answer.regions) {
      const { region } = facts;
      regions.learn(facts);
      parts.push({ region, address: region * REGION_BYTES, bytes: REGION_BYTES });
    }
    if (parts.length !== wanted.count) return Status.NoSpace;
    return parts.sort((a, b) => a.region - b.region);
  }

  /** NotAllocated: it was made and not confirmed in time; it may be tried again. */
  async #allocOne(
    region: number,
    bytes: number,
    wish: number,
    deadline: number,
  ): Promise<Allocated> {
    const nonce = this.#pieces.nextNonce();
    const isHere = Math.floor(wish / REGION_BYTES) === region;
    const wanted = { region, bytes, wish: isHere ? wish : 0, flags: 0, nonce };
    const reply = await this.#pieces.allocate(wanted, deadline);
    if (reply.status !== Status.Ok) return reply;
    return this.#confirm([{ region, address: reply.address, bytes }], nonce, deadline);
  }

  /**
   * The first piece decides. The others learn of it at once, or else ask for it: for them nobody
   * waits. Throws where it cannot be known whether the memory is ours.
   */
  async #confirm(made: readonly Part[], nonce: number, deadline: number): Promise<Allocated> {
    const first = made[0] as Part;
    const { address } = first;
    const end = await this.#pieces.confirm(first, nonce, deadline);
    if (end === 'unknown') {
      this.#pieces.abandon(first, nonce);
      const why = 'it did not confirm it, and gets it back';
      throw failed('the memory node does not answer', Status.Unavailable, why);
    }
    if (end === 'gone') {
      await this.#pieces.giveBack(made.slice(1), nonce);
      return { status: Status.NotAllocated, address, reason: 'it was not confirmed in time' };
    }
    for (const part of made) {
      if (part !== first) void this.#pieces.confirm(part, nonce, deadline);
      this.#placement.took(part.region, part.bytes);
    }
    return { status: Status.Ok, address, reason: '' };
  }

  /** New regions only where none of those that are granted has room. */
  async #allocLarge(bytes: number, deadline: number): Promise<number | NoRoom> {
    await this.#parts.regions.refreshOnce(deadline);
    const count = Math.ceil(bytes / REGION_BYTES);
    for (const first of this.#placement.runs(count, TRIES_MAX)) {
      const soon = Math.min(deadline, this.#parts.runtime.clock.now() + EMPTY_RUN_MS);
      const made = await this.#allocRun(first, bytes, soon, deadline);
      if (made.status === Status.Ok) return made.address;
    }
    const granted = await this.#grant({ count, bytes: REGION_BYTES, near: '' }, deadline);
    if (typeof granted === 'number') return { status: granted, isSure: false };
    const { region } = granted[0] as Part;
    const { status, address, reason } = await this.#allocRun(region, bytes, deadline, deadline);
    if (status === Status.Ok) return address;
    const end = status === Status.NotAllocated ? Status.Unavailable : status;
    throw failed('no allocation over several regions', end, reason);
  }

  /** All pieces, in regions side by side, or none; each node answers `by` then. */
  async #allocRun(first: number, bytes: number, by: number, deadline: number): Promise<Allocated> {
    const nonce = this.#pieces.nextNonce();
    const made: Part[] = [];
    for (let done = 0; done < bytes; done += REGION_BYTES) {
      const region = first + done / REGION_BYTES;
      const address = region * REGION_BYTES;
      const part = { region, address, bytes: Math.min(REGION_BYTES, bytes - done) };
      const isLast = done + REGION_BYTES >= bytes;
      const flags = (done === 0 ? 0 : AllocFlag.CONTINUATION) | (isLast ? 0 : AllocFlag.CONTINUES);
      const wanted = { region, bytes: part.bytes, wish: address, flags, nonce };
      const reply = await this.#pieces.allocate(wanted, by);
      if (reply.status !== Status.Ok) {
        if (reply.status === Status.NoSpace) this.#placement.isFull(region, part.bytes);
        await this.#pieces.giveBack(made, nonce);
        return reply;
      }
      made.push(part);
    }
    return this.#confirm(made, nonce, deadline);
  }

  async #freePart(part: Part, deadline: number): Promise<void> {
    const connection = await this.#reach(part.region, deadline);
    const request = { space: this.#parts.space, nonce: 0, address: part.address };
    const timeoutMs = this.#pieces.left(deadline);
    const reply = await connection.link.call(MessageType.Free, request, timeoutMs);
    if (reply.status === Status.Ok) return;
    throw await this.#explain(`freeing at ${part.address}`, part.region, reply);
  }

  /** The connection to the owner of a region, or the reason why there is none. */
  async #reach(region: number, deadline: number): Promise<Connection> {
    const { regions } = this.#parts;
    if (regions.connection(region) === undefined) {
      const status = await regions.refresh(deadline);
      if (status !== Status.Ok) throw failed('the owner of the region is not known', status);
    }
    if (regions.state(region) === 'lost') {
      throw failed(`the memory of region ${region} is gone`, Status.DataLost);
    }
    const connection = regions.connection(region);
    if (connection === undefined) {
      throw failed('nothing is allocated there', Status.NotAllocated);
    }
    return connection;
  }

  /** A refusal, after a look whether the region still exists. */
  async #explain(
    what: string,
    region: number,
    reply: { readonly status: Status; readonly reason?: string },
  ): Promise<MemrackError> {
    const { regions, runtime } = this.#parts;
    const { status } = reply;
    if (isElsewhere(status) || status === Status.Timeout) {
      await regions.refresh(runtime.clock.now() + LOOK_AGAIN_MS);
      if (regions.state(region) === 'lost') return failed(what, Status.DataLost);
      if (status !== Status.Timeout) return failed(what, Status.Unavailable, reply.reason);
    }
    return failed(what, status, reply.reason);
  }

  /** `reaches` is told how long the allocation is as soon as it is known. */
  async free(at: number, deadline: number, reaches: (bytes: number) => void): Promise<void> {
    const parts = await this.#inspect(at, deadline);
    reaches(parts.reduce((sum, part) => sum + part.bytes, 0));
    // The last first: what is left of an interrupted free can still be freed by its start.
    for (const [i, part] of parts.reverse().entries()) {
      try {
        await this.#freePart(part, deadline);
      } catch (error) {
        if (i === 0 || !(error instanceof MemrackError)) throw error;
        const remedy = 'free it again';
        throw new MemrackError(error.code, 'only a part was freed', {
          outcome: 'unknown',
          remedy,
          cause: error,
        });
      }
      this.#placement.freed(part.region, part.bytes);
    }
  }

  /** All parts of the allocation that begins at `at`. */
  async #inspect(at: number, deadline: number): Promise<Part[]> {
    const parts: Part[] = [];
    for (let address = at; ; ) {
      const region = Math.floor(address / REGION_BYTES);
      const connection = await this.#reach(region, deadline);
      const request = { space: this.#parts.space, nonce: 0, address };
      const timeoutMs = this.#pieces.left(deadline);
      const reply = await connection.link.call(MessageType.Inspect, request, timeoutMs);
      if (reply.status !== Status.Ok) {
        // What an interrupted free has given back already.
        if (parts.length > 0 && reply.status === Status.NotAllocated) return parts;
        throw await this.#explain(`no allocation begins at ${at}`, region, reply);
      }
      const isFirst = parts.length === 0;
      const isContinuation = (reply.flags & AllocFlag.CONTINUATION) !== 0;
      if (isFirst && (reply.base !== at || isContinuation)) throw notTheStart(at, reply.base);
      if (!isFirst && !isContinuation) return parts;
      parts.push({ region, address, bytes: reply.bytes });
      if ((reply.flags & AllocFlag.CONTINUES) === 0) return parts;
      address = (region + 1) * REGION_BYTES;
    }
  }

  async protect(at: number, bytes: number, rights: Rights, deadline: number): Promise<void> {
    for (let done = 0; done < bytes; ) {
      const address = at + done;
      const region = Math.floor(address / REGION_BYTES);
      const inRegion = Math.min(bytes - done, REGION_BYTES - (address % REGION_BYTES));
      const connection = await this.#reach(region, deadline);
      const request = {
        space: this.#parts.space,
        rights: RIGHTS[rights],
        address,
        bytes: inRegion,
      };
      const timeoutMs = this.#pieces.left(deadline);
      const reply = await connection.link.call(MessageType.Protect, request, timeoutMs);
      if (reply.status !== Status.Ok) {
        const error = await this.#explain(`at ${address}`, region, reply);
        if (done === 0) throw error;
        throw new MemrackError(error.code, 'only a part was changed', {
          outcome: 'unknown',
          cause: error,
        });
      }
      done += inRegion;
    }
  }
}

const LOOK_AGAIN_MS = 1000;

function notTheStart(at: number, base: number): MemrackError {
  const remedy = `pass the start of the allocation, ${base}, as alloc gave it`;
  return new MemrackError('NotAllocated', `${at} lies within an allocation`, { remedy });
}

/** Answers that a change of the region's owner, or of the way to it, could explain. */
function isElsewhere(status: Status): boolean {
  return (
    status === Status.NotFound ||
    status === Status.Unavailable ||
    status === Status.Stale ||
    status === Status.Closed
  );
}
