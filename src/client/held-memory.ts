/**
 * Freeing and protecting what is allocated, over all regions that it lies in, as far as their
 * memory is still there.
 */

import { Status } from '../base/status.js';
import { sleep } from '../runtime/clock.js';
import type { Runtime } from '../runtime/runtime.js';
import { REGION_BYTES } from '../wire/limits.js';
import { AllocFlag, MessageType, Right } from '../wire/messages.js';
import { type ErrorCode, failed, MemrackError } from './error.js';
import { Owners, partsOf } from './owners.js';
import type { PieceCalls } from './piece-calls.js';
import type { Part } from './pieces.js';
import type { Placement } from './placement.js';
import type { RegionMap } from './region-map.js';

/** Asks again for what a stopped thread holds back at the node. */
const BUSY_PAUSE_MS = 50;

export type Rights = 'none' | 'r' | 'rw';
const RIGHTS: Readonly<Record<Rights, number>> = {
  none: 0,
  r: Right.READ,
  rw: Right.READ | Right.WRITE,
};

/** In pages. Cancelled: a stopped thread held it back, or there was no frame to move it to. */
export interface Relocated {
  readonly moved: number;
  readonly cancelled: number;
}

export interface HeldParts {
  readonly runtime: Runtime;
  readonly regions: RegionMap;
  readonly space: number;
  readonly pieces: PieceCalls;
  readonly placement: Placement;
}

/** A part of an allocation that is there, or was where memory is gone. */
interface FoundPart extends Part {
  readonly isLost: boolean;
}

export class HeldMemory {
  readonly #parts: HeldParts;
  readonly #owners: Owners;

  constructor(parts: HeldParts) {
    this.#parts = parts;
    this.#owners = new Owners(parts.runtime, parts.regions);
  }

  /** False: it is gone with the memory that it was in. */
  async #freePart(part: Part, deadline: number): Promise<boolean> {
    const request = { space: this.#parts.space, nonce: 0, address: part.address };
    const reply = await this.#owners.call(part.region, MessageType.Free, request, deadline);
    if (reply.status === Status.Ok) return true;
    const error = await this.#owners.explain(`freeing at ${part.address}`, part.region, reply);
    if (error.code === 'DataLost') return false;
    throw error;
  }

  /**
   * `reaches` is told how long the allocation is as soon as it is known. What was in memory that is
   * gone counts as freed; `DataLost` when that is all of it.
   */
  async free(at: number, deadline: number, reaches: (bytes: number) => void): Promise<void> {
    const parts = await this.#inspect(at, deadline);
    reaches(parts.reduce((sum, part) => sum + part.bytes, 0));
    let freed = 0;
    // The last first: what is left of an interrupted free can still be freed by its start.
    for (const [i, part] of parts.reverse().entries()) {
      if (part.isLost) continue;
      try {
        if (await this.#freePart(part, deadline)) freed += 1;
      } catch (error) {
        if (i === 0 || !(error instanceof MemrackError)) throw error;
        const remedy = 'free it again';
        throw new MemrackError(error.code, 'only a part was freed', {
          outcome: 'unknown',
          remedy,
          cause: error,
        });
      }
      this.#parts.placement.freed(part.region, part.bytes);
    }
    if (freed === 0) throw failed(`the memory at ${at} is gone`, Status.DataLost);
  }

  /** All parts of the allocation that begins at `at`, as far as they are still there. */
  async #inspect(at: number, deadline: number): Promise<FoundPart[]> {
    const parts: FoundPart[] = [];
    for (let address = at; ; ) {
      const region = Math.floor(address / REGION_BYTES);
      const isAfterLoss = parts.at(-1)?.isLost === true;
      const found = await this.#inspectPart(at, address, isAfterLoss, deadline);
      if (found === undefined) return parts;
      parts.push({ region, address, bytes: found.bytes, isLost: found.isLost });
      if (!found.continues) return parts;
      address = (region + 1) * REGION_BYTES;
    }
  }

  /** The part at `address` of the allocation at `at`; undefined: that ended before it. */
  async #inspectPart(
    at: number,
    address: number,
    isAfterLoss: boolean,
    deadline: number,
  ): Promise<{ bytes: number; isLost: boolean; continues: boolean } | undefined> {
    const region = Math.floor(address / REGION_BYTES);
    const isFirst = address === at;
    const answer = await this.#ask(address, isFirst, deadline);
    if (answer === 'nothing') return undefined;
    if (answer === 'lost') {
      // Where two parts are lost side by side, what follows may be another allocation's.
      if (isAfterLoss) return undefined;
      const isWhole = address === region * REGION_BYTES;
      if (isFirst && isWhole) await this.#checkStart(at, deadline);
      return { bytes: (region + 1) * REGION_BYTES - address, isLost: true, continues: isWhole };
    }
    const isContinuation = (answer.flags & AllocFlag.CONTINUATION) !== 0;
    if (isFirst && (answer.base !== at || isContinuation)) throw notTheStart(at, answer.base);
    if (!isFirst && !isContinuation) return undefined;
    const continues = (answer.flags & AllocFlag.CONTINUES) !== 0;
    return { bytes: answer.bytes, isLost: false, continues };
  }

  /** What lies at `at` is lost: only what lies before it can tell that it is no start. */
  async #checkStart(at: number, deadline: number): Promise<void> {
    if (at <= REGION_BYTES) return;
    const before = await this.#ask(at - 1, false, deadline);
    if (typeof before === 'string' || (before.flags & AllocFlag.CONTINUES) === 0) return;
    throw notTheStart(at, before.base);
  }

  async #ask(
    address: number,
    isFirst: boolean,
    deadline: number,
  ): Promise<{ base: number; bytes: number; flags: number } | 'lost' | 'nothing'> {
    const region = Math.floor(address / REGION_BYTES);
    try {
      const request = { space: this.#parts.space, nonce: 0, address };
      const reply = await this.#owners.call(region, MessageType.Inspect, request, deadline);
      if (reply.status === Status.Ok) return reply;
      throw await this.#owners.explain(`no allocation begins at ${address}`, region, reply);
    } catch (error) {
      const code = error instanceof MemrackError ? error.code : undefined;
      if (code === 'DataLost') return 'lost';
      // What an interrupted free has given back already.
      if (code === 'NotAllocated' && !isFirst) return 'nothing';
      throw error;
    }
  }

  /** Moves what is there to other frames of its nodes; nobody that uses it sees a difference. */
  async relocate(at: number, bytes: number, deadline: number): Promise<Relocated> {
    const total = { moved: 0, cancelled: 0 };
    for (const { region, address, bytes: inRegion } of partsOf(at, bytes)) {
      const request = { space: this.#parts.space, address, bytes: inRegion };
      const reply = await this.#owners.call(region, MessageType.Relocate, request, deadline);
      if (reply.status !== Status.Ok)
        throw await this.#owners.explain(`at ${address}`, region, reply);
      total.moved += reply.moved;
      total.cancelled += reply.cancelled;
    }
    return total;
  }

  async protect(at: number, bytes: number, rights: Rights, deadline: number): Promise<void> {
    for (const part of partsOf(at, bytes)) {
      try {
        await this.#protectPart(part, rights, deadline);
      } catch (error) {
        if (part.address === at || !(error instanceof MemrackError)) throw error;
        throw new MemrackError(error.code, 'only a part was changed', {
          outcome: 'unknown',
          cause: error,
        });
      }
    }
  }

  /** Busy: the rights are changed, but a thread that is stopped may still work under others. */
  async #protectPart(part: Part, rights: Rights, deadline: number): Promise<void> {
    const { runtime, space } = this.#parts;
    const { region, address, bytes } = part;
    const request = { space, rights: RIGHTS[rights], address, bytes };
    for (let isChanged = false; ; isChanged = true) {
      const reply = await this.#owners.call(region, MessageType.Protect, request, deadline);
      if (reply.status === Status.Ok) return;
      if (reply.status !== Status.Busy) {
        const error = await this.#owners.explain(`at ${address}`, region, reply);
        throw isChanged ? stillUsed(error.code, error) : error;
      }
      if (runtime.clock.now() + BUSY_PAUSE_MS >= deadline) throw stillUsed('Busy');
      await sleep(runtime.timers, BUSY_PAUSE_MS);
    }
  }
}

function stillUsed(code: ErrorCode, cause?: MemrackError): MemrackError {
  const what = 'a stopped process may still use the memory as before';
  return new MemrackError(code, what, { outcome: 'unknown', remedy: 'protect it again', cause });
}

function notTheStart(at: number, base: number): MemrackError {
  const remedy = `pass the start of the allocation, ${base}, as alloc gave it`;
  return new MemrackError('NotAllocated', `${at} lies within an allocation`, { remedy });
}
