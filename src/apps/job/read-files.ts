/**
 * The reading half of the main job, run by other processes than the writing half: looks every
 * file up in the directory, reads it from remote memory, and compares its SHA-256 with that of
 * the directory and with that of the file on disk, taken anew.
 */

import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { FileFacts } from '../../client/files.js';
import type { Rack } from '../../client/rack.js';
import type { WorkerOrder, WorkerResult } from './messages.js';
import { eachOf } from './write-files.js';

const FILES_UNDER_WAY = 8;
const WRONG_MAX = 20;

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export async function readFiles(
  rack: Rack,
  order: WorkerOrder,
  moved: (bytes: number) => void,
): Promise<WorkerResult> {
  const space = await rack.space(order.space);
  const entries = await directory(rack, order);
  const times: number[] = [];
  const wrong: string[] = [];
  let bytes = 0;
  const readOne = async (file: (typeof order.files)[number]): Promise<void> => {
    const entry = entries.get(order.prefix + file.key);
    if (entry === undefined || entry.space !== space.id) {
      wrong.push(`${file.key}: it is not in the directory`);
      return;
    }
    const began = performance.now();
    const back =
      entry.length === 0 ? new Uint8Array(0) : await space.read(entry.address, entry.length);
    times.push(performance.now() - began);
    moved(back.length);
    bytes += back.length;
    const sum = digest(back);
    if (sum !== entry.sha256) wrong.push(`${file.key}: not the bytes that the directory names`);
    else if (sum !== digest(await readFile(join(order.folder, file.key)))) {
      const { mtimeMs } = await stat(join(order.folder, file.key));
      const why = mtimeMs > order.startedAt ? ': it has changed meanwhile, run the job again' : '';
      wrong.push(`${file.key}: not the bytes on disk${why}`);
    }
  };
  await eachOf(order.files, FILES_UNDER_WAY, readOne);
  const files = times.length;
  return { files, bytes, times, wrong: wrong.slice(0, WRONG_MAX) };
}

/** The entries of this worker's files, from pages of the whole listing. */
async function directory(rack: Rack, order: WorkerOrder): Promise<Map<string, FileFacts>> {
  const wanted = new Set(order.files.map((file) => order.prefix + file.key));
  const entries = new Map<string, FileFacts>();
  for await (const entry of rack.files.list(order.prefix)) {
    if (wanted.has(entry.key)) entries.set(entry.key, entry);
  }
  return entries;
}
