/** What the main job and its worker processes tell each other. */

import type { TreeFile } from './tree.js';

export interface WorkerOrder {
  readonly phase: 'write' | 'read';
  readonly url: string;
  /** The folder on disk, for the bytes and for the comparison. */
  readonly folder: string;
  readonly space: string;
  /** Of the keys of files. */
  readonly prefix: string;
  /** Of the keys of packs. */
  readonly packs: string;
  /** Milliseconds since 1970: files changed later cannot be compared. */
  readonly startedAt: number;
  readonly files: readonly TreeFile[];
}

export interface WorkerResult {
  readonly files: number;
  readonly bytes: number;
  /** Milliseconds per file, as the worker saw it. */
  readonly times: readonly number[];
  /** Files that were not what they should be, with the reason. */
  readonly wrong: readonly string[];
}

/** To a worker that has said that it is ready. */
export const GO = 'go';

export type WorkerMessage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'moved'; readonly bytes: number }
  | { readonly kind: 'done'; readonly result: WorkerResult }
  | { readonly kind: 'failed'; readonly message: string };
