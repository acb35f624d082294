/** Flushes: what this client wrote before outlives the machines of its nodes when they say so. */

import { Status } from '../base/status.js';
import { sleep } from '../runtime/clock.js';
import type { Runtime } from '../runtime/runtime.js';
import { MessageType } from '../wire/messages.js';
import { MemrackError } from './error.js';
import { Owners, partsOf } from './owners.js';
import type { Part } from './pieces.js';
import type { RegionMap } from './region-map.js';
import type { Taken, Unflushed } from './unflushed.js';

export interface FlushParts {
  readonly runtime: Runtime;
  readonly regions: RegionMap;
  readonly space: number;
  readonly unflushed: Unflushed;
}

const RETRY_MS = 20;

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
    const taken = unflushed.take(part.address, part.bytes);
    try {
      await this.#ask(part, taken, deadline);
    } catch (error) {
      if (!(error instanceof MemrackError && isLost(error)))
        unflushed.giveBack(part.address, taken);
      return error;
    }
    return taken.old.length > 0 ? gone(part) : undefined;
  }

  async #ask(part: Part, { opening }: Taken, deadline: number): Promise<void> {
    const { runtime, space } = this.#parts;
    const { region, address, bytes } = part;
    for (;;) {
      const connection = await this.#owners.reach(region, deadline);
      const request = { space, opening, address, bytes };
      const timeoutMs = Math.max(1, deadline - runtime.clock.now());
      const reply = await connection.link.call(MessageType.Flush, request, timeoutMs);
      if (reply.status === Status.Ok) return;
      if (reply.status === Status.DataLost) throw gone(part);
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
