/**
 * Places that were files' and are named by nothing any more, until somebody has freed them.
 *
 *   (a file is replaced or removed) --> waiting --take--> taken --forget, freed--> (gone)
 *                                          ^                |
 *                                          +-- not freed ---+
 *
 * The row is made by the same commit that takes the key away, so whoever dies before freeing leaves
 * it for others. A place is freed by the one who took it, and by nobody else: freed twice, the
 * second time could hit what was allocated there meanwhile. So what was taken by somebody who then
 * vanished is never given to another. It is shown, and goes with its space.
 */

import type { Serial } from '../base/serial.js';
import { Status } from '../base/status.js';
import { FILES_PER_MESSAGE_MAX } from '../wire/limits.js';
import { type Metadata, type MetadataChange, type Place, placeKey } from './metadata/metadata.js';
import type { FileRow, GarbageRow } from './metadata/schema.js';
import { ok, type Result, refuse } from './refusal.js';

export interface GarbagePage {
  readonly places: GarbageRow[];
  readonly more: boolean;
}

export class Garbage {
  readonly #metadata: Metadata;
  readonly #changes: Serial;

  constructor(metadata: Metadata, changes: Serial) {
    this.#metadata = metadata;
    this.#changes = changes;
  }

  /** What this taker has taken already, or else what waits, at most `limit`. */
  async take(taker: number, limit: number): Promise<Result<GarbagePage>> {
    if (taker < 1 || limit < 1) {
      return refuse(Status.Invalid, 'a taker of garbage needs a number above 0, and a limit too');
    }
    return this.#changes.run(async () => {
      const taken = this.#of(taker);
      const waiting = this.#of(0);
      if (taken.length > 0) return ok({ places: taken, more: waiting.length > 0 });
      const count = Math.min(limit, FILES_PER_MESSAGE_MAX);
      const places = waiting.slice(0, count).map((row) => ({ ...row, taker }));
      await this.#metadata.commit(places.map((put) => ({ table: 'garbage', put }) as const));
      return ok({ places, more: waiting.length > count });
    });
  }

  /** Idempotent. `isFreed` false: they certainly were not, and wait again. */
  forget(taker: number, places: readonly Place[], isFreed: boolean): Promise<void> {
    return this.#changes.run(async () => {
      const rows = places
        .map((place) => this.#metadata.garbage.get(placeKey(place)))
        .filter((row) => row !== undefined && row.taker === taker && taker !== 0);
      const changes = rows.map((row): MetadataChange => {
        const known = row as GarbageRow;
        if (isFreed) return { table: 'garbage', remove: known };
        return { table: 'garbage', put: { ...known, taker: 0 } };
      });
      await this.#metadata.commit(changes);
    });
  }

  /** Garbage of a space that is being removed goes with it. */
  #of(taker: number): GarbageRow[] {
    const { garbage } = this.#metadata;
    return [...garbage.values()].filter(
      (row) => row.taker === taker && this.#metadata.activeSpace(row.space) !== undefined,
    );
  }
}

/** Of garbage that an older copy of the database knew: it may be freed, so nobody gets it. */
export const TAKER_NOBODY = 2 ** 53 - 1;

/**
 * The changes of garbage that belong into the commit that enters `live` and takes the names of
 * `dropped` away. A place that is entered again was allocated again, so it is freed already.
 */
export function garbageChanges(
  metadata: Metadata,
  live: readonly FileRow[],
  dropped: readonly FileRow[],
  nowMs: number,
): MetadataChange[] {
  const named = new Set(live.map(placeKey));
  const changes = new Map<string, MetadataChange>();
  const kept: MetadataChange[] = [];
  for (const row of live) {
    const key = placeKey(row);
    if (metadata.garbage.has(key)) changes.set(key, { table: 'garbage', remove: row });
  }
  for (const { key: name, space, address, length } of dropped) {
    const key = placeKey({ space, address });
    if (named.has(key)) continue;
    // The entry came from an older copy of the database: its place may be somebody else's by now.
    if (metadata.doubtfulFiles.has(name)) {
      kept.push({ table: 'doubtfulFiles', remove: name });
      continue;
    }
    const put = { space, address, length, sinceMs: nowMs, taker: 0 };
    changes.set(key, { table: 'garbage', put });
  }
  return [...changes.values(), ...kept];
}
