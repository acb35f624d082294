/** The files of the main job: all regular files below a folder, up to a number of bytes. */

import { readdir, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { KEY_BYTES_MAX } from '../../wire/limits.js';

export interface TreeFile {
  /** Relative to the folder: the key in the directory. */
  readonly key: string;
  readonly bytes: number;
}

export interface Tree {
  readonly files: readonly TreeFile[];
  readonly bytes: number;
  /** Files beyond the limit, or whose name is no key: said, never passed over in silence. */
  readonly omitted: number;
  readonly omittedBytes: number;
}

export interface TreeOptions {
  readonly bytesMax: number;
  /** Leave out what lies below folders like `.cache`: tools write there while the job runs. */
  readonly skipHidden: boolean;
}

export async function readTree(folder: string, options: TreeOptions): Promise<Tree> {
  const { bytesMax, skipHidden } = options;
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !skipHidden || !/(^|\/)\.[^/]+\//.test(relative(folder, path)))
    .sort();
  const files: TreeFile[] = [];
  let bytes = 0;
  let omitted = 0;
  let omittedBytes = 0;
  for (const path of paths) {
    const { size } = await stat(path);
    const key = relative(folder, path);
    if (bytes + size > bytesMax || Buffer.byteLength(key) > KEY_BYTES_MAX) {
      omitted += 1;
      omittedBytes += size;
      continue;
    }
    files.push({ key, bytes: size });
    bytes += size;
  }
  return { files, bytes, omitted, omittedBytes };
}

/** Cuts the files into `parts` neighbouring runs of about equal weight. */
export function splitTree(files: readonly TreeFile[], parts: number): TreeFile[][] {
  // A file costs about as much as some KiB of it, however small it is.
  const FILE_WEIGHT = 16 * 1024;
  const weight = (file: TreeFile): number => file.bytes + FILE_WEIGHT;
  const total = files.reduce((sum, file) => sum + weight(file), 0);
  const split: TreeFile[][] = Array.from({ length: parts }, () => []);
  let passed = 0;
  for (const file of files) {
    const part = Math.min(parts - 1, Math.floor((passed / Math.max(1, total)) * parts));
    split[part]?.push(file);
    passed += weight(file);
  }
  return split;
}
