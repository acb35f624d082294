/**
 * Frees places that no key of the directory names any more.
 *
 *   take (they are ours alone) -> free each -> forget: those that are freed, those that are not
 *
 * What nobody knows to be freed or not stays taken, for ever: freed twice, the second time could
 * hit what was allocated there since. `memrack status` tells of it.
 */

import type { Runtime } from '../runtime/runtime.js';
import { FILES_PER_MESSAGE_MAX, REGION_BYTES } from '../wire/limits.js';
import { MessageType } from '../wire/messages.js';
import type { Control } from './control.js';
import { MemrackError } from './error.js';

export interface FilePlaceFacts {
  readonly space: number;
  readonly address: number;
  /** Bytes of the contents. */
  readonly length: number;
}

/** Frees what was allocated at a place. */
export type Free = (place: FilePlaceFacts) => Promise<void>;

export interface GarbageParts {
  readonly runtime: Runtime;
  readonly control: Control;
  readonly timeoutMs: number;
  readonly free: Free;
}

type End = 'freed' | 'notFreed' | 'unknown';

interface Sorted {
  readonly freed: FilePlaceFacts[];
  readonly notFreed: FilePlaceFacts[];
}

export class Garbage {
  readonly #parts: GarbageParts;
  /** Of a take that was not answered: what it took is asked for again. */
  #taker = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: GarbageParts) {
    this.#parts = parts;
  }

  /** One after the other: two of them with one taker would free the same places. */
  free(): Promise<boolean> {
    const run = (): Promise<boolean> => this.#free();
    const next = this.#last.then(run, run);
    this.#last = next;
    return next;
  }

  async #free(): Promise<boolean> {
    const { runtime, control } = this.#parts;
    if (this.#taker === 0) this.#taker = Math.max(1, runtime.entropy.u53());
    const taker = this.#taker;
    const request = { taker, limit: FILES_PER_MESSAGE_MAX };
    const type = MessageType.TakeGarbage;
    const taken = await control.demand('taking garbage', type, request, this.#deadline());
    this.#taker = 0;
    const sorted: Sorted = { freed: [], notFreed: [] };
    const groups = byRegion(taken.places);
    await Promise.all(groups.map((group) => this.#freeGroup(group, sorted)));
    await this.#forget(taker, sorted.freed, 1);
    await this.#forget(taker, sorted.notFreed, 0);
    return taken.more === 1 && sorted.freed.length > 0;
  }

  /** Places at one node: where one has no answer, the others would only wait as long. */
  async #freeGroup(places: readonly FilePlaceFacts[], sorted: Sorted): Promise<void> {
    let isAway = false;
    for (const place of places) {
      const end = isAway ? 'notFreed' : await this.#freeOne(place);
      if (end === 'freed') sorted.freed.push(place);
      else isAway = true;
      if (end === 'notFreed') sorted.notFreed.push(place);
    }
  }

  async #freeOne(place: FilePlaceFacts): Promise<End> {
    // An empty file has no memory.
    if (place.address === 0) return 'freed';
    try {
      await this.#parts.free(place);
      return 'freed';
    } catch (error) {
      return endOf(error);
    }
  }

  async #forget(taker: number, places: readonly FilePlaceFacts[], isFreed: 0 | 1): Promise<void> {
    if (places.length === 0) return;
    const type = MessageType.ForgetGarbage;
    const request = { taker, isFreed, places };
    await this.#parts.control.demand('forgetting garbage', type, request, this.#deadline());
  }

  #deadline(): number {
    return this.#parts.runtime.clock.now() + this.#parts.timeoutMs;
  }
}

function byRegion(places: readonly FilePlaceFacts[]): FilePlaceFacts[][] {
  const groups = new Map<string, FilePlaceFacts[]>();
  for (const place of places) {
    const region = `${place.space}:${Math.floor(place.address / REGION_BYTES)}`;
    const group = groups.get(region);
    if (group === undefined) groups.set(region, [place]);
    else group.push(place);
  }
  return [...groups.values()];
}

function endOf(error: unknown): End {
  if (!(error instanceof MemrackError)) throw error;
  const { code, outcome } = error;
  // It went before, with its space or its node, or it was a part of something larger.
  if (code === 'NotAllocated' || code === 'NotFound' || code === 'DataLost') return 'freed';
  return outcome === 'notApplied' && code !== 'Timeout' ? 'notFreed' : 'unknown';
}
