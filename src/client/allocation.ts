/**
 * Allocating ranges, over as many regions and nodes as it takes.
 *
 * What fits into one region is two calls to one node, of which the second confirms the first. A
 * larger allocation is made of pieces in regions that lie side by side, the first piece first; when
 * all of them exist, the confirmation of the first one makes it. See ARCHITECTURE.md.
 */

import { Status } from '../base/status.js';
import { sleep } from '../runtime/clock.js';
import type { Runtime } from '../runtime/runtime.js';
import { GRANT_REGIONS_MAX, REGION_BYTES } from '../wire/limits.js';
import { AllocFlag } from '../wire/messages.js';
import type { Control } from './control.js';
import { failed, MemrackError, spaceRemoved } from './error.js';
import { HeldMemory, type Relocated, type Rights } from './held-memory.js';
import { isElsewhere } from './elsewhere.js';
import { type Allocated, PieceCalls } from './piece-calls.js';
import type { Part } from './pieces.js';
import { Placement } from './placement.js';
import type { RegionMap } from './region-map.js';

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

export class Allocation {
  readonly #parts: AllocationParts;
  readonly #placement: Placement;
  readonly #pieces: PieceCalls;
  readonly #held: HeldMemory;

  constructor(parts: AllocationParts) {
    this.#parts = parts;
    this.#placement = new Placement(parts.runtime, parts.control, parts.regions);
    this.#pieces = new PieceCalls(parts);
    this.#held = new HeldMemory({ ...parts, pieces: this.#pieces, placement: this.#placement });
  }

  /** As `PieceCalls` says. */
  get abandoned(): readonly Promise<void>[] {
    return this.#pieces.abandoned;
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
    const answer = await regions.refresh(runtime.clock.now() + LOOK_AGAIN_MS);
    if (answer === Status.NotFound) throw spaceRemoved('no memory was allocated');
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
      // A region that was granted unheard is empty, and is found by the next look at the map.
      const isUnheard = answer.status === Status.OutcomeUnknown;
      const status = isUnheard ? Status.Unavailable : answer.status;
      throw control.failure('grant of memory', status, answer.reason);
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

  /** See `HeldMemory`. */
  free(at: number, deadline: number, reaches: (bytes: number) => void): Promise<void> {
    return this.#held.free(at, deadline, reaches);
  }

  relocate(at: number, bytes: number, deadline: number): Promise<Relocated> {
    return this.#held.relocate(at, bytes, deadline);
  }

  protect(at: number, bytes: number, rights: Rights, deadline: number): Promise<void> {
    return this.#held.protect(at, bytes, rights, deadline);
  }
}

const LOOK_AGAIN_MS = 1000;
