/** Flushes: what this client wrote before outlives the machines of its nodes when they say so. */

import { Status } from '../base/status.js';
import { sleep } from '../runtime/clock.js';
import type { Runtime } from '../runtime/runtime.js';
import { MessageType } from '../wire/messages.js';
import { MemrackError } from './error.js';
import { Owners, partsOf } from './owners.js';
import type { Part } from './pieces.js';
import type { RegionMap } from './region-map.js';
import type { TakenPages, Unflushed } from './unflushed.js';

export interface FlushParts {
  readonly runtime: Runtime;
  readonly regions: RegionMap;
  readonly space: number;
  readonly unflushed: Unflushed;
}

const RETRY_MS = 20;
/** Nothing of the range was written since it was flushed. */
const NOTHING: TakenPages = { opening: 0, pages: [] };

export class Flushes {
  readonly #parts: FlushParts;
  readonly #owners: Owners;

  constructor(parts: FlushParts) {
    this.#parts = parts;
    this.#owners = new Owners(parts.runtime, parts.regions);
  }

  /** All nodes of the range are asked; ends as the first that failed, when all have answered. */
  async flush(at: number, bytes: number, deadline: number): Promise<void> {
    const ends = [...partsOf(at, bytes)].map((part) => this.#flushPart(part, deadline));
    const failures = (await Promise.all(ends)).filter((end) => end !== undefined);
    // That something is gone is told once, so it goes before what can be asked for again.
    const lost = failures.find((error) => error instanceof MemrackError && isLost(error));
    const failure = lost ?? failures[0];
    if (failure !== undefined) throw failure;
  }

  async #flushPart(part: Part, deadline: number): Promise<unknown> {
    const { unflushed } = this.#parts;
    const { written, forgotten } = unflushed.take(part.address, part.bytes);
    // Of each opening by itself: what was written at one node may be lost, and what was written
    // before it, where the region was then, be safe since it was moved.
    const left = written.length > 0 ? [...written] : [NOTHING];
    const lost: TakenPages[] = [];
    let failure: unknown;
    try {
      for (let next = left[0]; next !== undefined; next = left[0]) {
        if (!(await this.#ask(part, next.opening, deadline))) lost.push(next);
        left.shift();
      }
    } catch (error) {
      if (error instanceof MemrackError && isLost(error)) return error;
      // That some is gone is told now; the rest can be asked for again.
      unflushed.giveBack(part.address, { written: left, forgotten: [] });
      failure = error;
    }
    const isGone = lost.length > 0 || (forgotten.length > 0 && failure === undefined);
    if (!isGone) unflushed.giveBack(part.address, { written: [], forgotten });
    else this.#noteWhatIsThere(part, [...lost.flatMap(({ pages }) => pages), ...forgotten]);
    return isGone ? gone(part) : failure;
  }

  /**
   * What is there now may be read and taken for good, and is not flushed either: it may have been
   * written under the opening of now, by a write that was sent anew.
   */
  #noteWhatIsThere({ region, address }: Part, pages: readonly number[]): void {
    const { regions, unflushed } = this.#parts;
    const opening = regions.connection(region)?.link.opening;
    const isKnown = opening !== undefined;
    const written = isKnown ? [{ opening, pages }] : [];
    unflushed.giveBack(address, { written, forgotten: isKnown ? [] : pages });
  }

  /** False: what was written under this opening may be gone. */
  async #ask(part: Part, opening: number, deadline: number): Promise<boolean> {
    const { runtime, space } = this.#parts;
    const { region, address, bytes } = part;
    for (;;) {
      const request = { space, opening, address, bytes };
      const reply = await this.#owners.call(region, MessageType.Flush, request, deadline);
      if (reply.status === Status.Ok) return true;
      if (reply.status === Status.DataLost) return false;
      const isOver = runtime.clock.now() + RETRY_MS >= deadline;
      const error = await this.#owners.explain(`flushing at ${address}`, region, reply);
      if (isOver || error.code !== 'Unavailable') throw error;
      await sleep(runtime.timers, RETRY_MS);
    }
  }
}

function isLost({ code }: MemrackError): boolean {
  return code === 'DataLost';
}

function gone({ address, bytes }: Part): MemrackError {
  const remedy = 'read what is there, and write it again; what was flushed before is there';
  const what =
    `the node of ${bytes} bytes at ${address} has come back, and some of what was written there ` +
    'and not flushed may be gone';
  return new MemrackError('DataLost', what, { remedy });
}
