/**
 * The image of a disk: a real file system with files of the job where `mke2fs` is installed, else
 * the bytes of those files one after another.
 */

import { copyFileSync, mkdirSync } from 'node:fs';
import { appendFile, readFile, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { findProgram, runProgram } from './foreign-programs.js';
import type { Tree } from './tree.js';

export interface DiskImage {
  readonly path: string;
  readonly bytes: number;
  readonly files: number;
  readonly isFileSystem: boolean;
}

/** Of the file system, the part that files may take. */
const FILLED = 0.7;

/** In `folder`, with files of `from`. */
export async function makeImage(
  folder: string,
  from: string,
  tree: Tree,
  bytes: number,
): Promise<DiskImage> {
  const path = join(folder, 'disk.img');
  const chosen: string[] = [];
  let sum = 0;
  for (const file of tree.files) {
    if (sum + file.bytes > bytes * FILLED) break;
    sum += file.bytes;
    chosen.push(file.key);
  }
  const mke2fs = findProgram('mke2fs');
  if (mke2fs === undefined) {
    await writeFile(path, '');
    for (const file of chosen) await appendFile(path, await readFile(join(from, file)));
    await truncate(path, bytes);
    return { path, bytes, files: chosen.length, isFileSystem: false };
  }
  const staged = join(folder, 'files');
  for (const file of chosen) {
    mkdirSync(dirname(join(staged, file)), { recursive: true });
    copyFileSync(join(from, file), join(staged, file));
  }
  await runProgram(mke2fs, ['-q', '-F', '-t', 'ext4', '-d', staged, path, `${bytes / 1024}k`]);
  return { path, bytes, files: chosen.length, isFileSystem: true };
}

/** Where the image and the first bytes of the other file differ; -1: nowhere. */
export async function firstDifference(image: DiskImage, other: string): Promise<number> {
  const [mine, all] = await Promise.all([readFile(image.path), readFile(other)]);
  const theirs = all.subarray(0, image.bytes);
  if (mine.equals(theirs)) return -1;
  const at = mine.findIndex((byte, i) => byte !== theirs[i]);
  return at < 0 ? image.bytes : at;
}
