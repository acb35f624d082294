/**
 * The writing half of the main job: packs files into large allocations, writes them with many
 * under way, and enters them into the directory with their SHA-256, a pack at a time. The pack has
 * an entry of its own: as its place is what was allocated, removing that one gives all of it back.
 */

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MiB } from '../../base/units.js';
import type { FileFacts } from '../../client/files.js';
import type { Rack } from '../../client/rack.js';
import type { WorkerOrder, WorkerResult } from './messages.js';
import type { TreeFile } from './tree.js';

/** Large enough that a directory entry per file, not an allocation per file, is the cost. */
export const PACK_BYTES = 16 * MiB;
const FILES_UNDER_WAY = 8;
/** Files begin at whole cache lines. */
const ALIGNMENT = 64;
/** The first line of a pack is no file's, so that the place of the pack is no file's either. */
const PACK_START = ALIGNMENT;

/** Neighbouring files that share one allocation; a larger file has one of its own. */
export interface Pack {
  readonly files: readonly (TreeFile & { readonly offset: number })[];
  readonly bytes: number;
}

export function packFiles(files: readonly TreeFile[]): Pack[] {
  const packs: Pack[] = [];
  let current: (TreeFile & { offset: number })[] = [];
  let bytes = PACK_START;
  const end = (): void => {
    if (current.length > 0) packs.push({ files: current, bytes });
    current = [];
    bytes = PACK_START;
  };
  for (const file of files) {
    const room = Math.ceil(file.bytes / ALIGNMENT) * ALIGNMENT;
    if (bytes + room > PACK_BYTES) end();
    current.push({ ...file, offset: bytes });
    bytes += room;
  }
  end();
  return packs;
}

export async function writeFiles(
  rack: Rack,
  order: WorkerOrder,
  moved: (bytes: number) => void,
): Promise<WorkerResult> {
  const space = await rack.space(order.space);
  const times: number[] = [];
  let total = 0;
  for (const pack of packFiles(order.files)) {
    const at = await space.alloc(pack.bytes);
    // Named before anything is written: whoever ends now leaves nothing that cannot be found.
    const whole = { key: `${order.packs}${at}`, space: space.id, address: at, sha256: '' };
    await rack.files.put([{ ...whole, length: pack.bytes }]);
    const entries: FileFacts[] = [];
    const writeOne = async (file: (typeof pack.files)[number]): Promise<void> => {
      const bytes = await readFile(join(order.folder, file.key));
      if (bytes.length !== file.bytes) throw new Error(`${file.key} changed while it was read`);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      const began = performance.now();
      if (bytes.length > 0) await space.write(at + file.offset, bytes);
      times.push(performance.now() - began);
      moved(bytes.length);
      const address = bytes.length === 0 ? 0 : at + file.offset;
      const key = order.prefix + file.key;
      entries.push({ key, space: space.id, address, length: bytes.length, sha256 });
      total += bytes.length;
    };
    await eachOf(pack.files, FILES_UNDER_WAY, writeOne);
    await rack.files.put(entries);
  }
  return { files: order.files.length, bytes: total, times, wrong: [] };
}

/** Runs `work` for every item, at most `limit` at the same time; the first failure ends it. */
export async function eachOf<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  const run = async (): Promise<void> => {
    for (let item = items[next]; item !== undefined; item = items[next]) {
      next += 1;
      await work(item);
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, run));
}
