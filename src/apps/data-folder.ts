/** The folder for metadata, made and tried before anything is started. */

import { accessSync, constants, mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { ConfigError } from '../base/config-error.js';

/** The folder as an absolute path, after it was made if it was missing. Throws `ConfigError`. */
export function prepareDataFolder(folder: string): string {
  const path = resolve(folder);
  try {
    make(path);
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    const { code = 'failed' } = error as NodeJS.ErrnoException;
    const why = `${JSON.stringify(folder)} cannot be used (${code})`;
    throw new ConfigError('command line', [
      `--data: ${why}: name a folder that may be written, or leave --data out`,
    ]);
  }
  return path;
}

/** One level at a time: the recursive form of Node's never returns below some virtual folders. */
function make(path: string): void {
  const facts = statSync(path, { throwIfNoEntry: false });
  if (facts?.isDirectory() === true) return;
  const parent = dirname(path);
  if (facts === undefined && parent !== path) make(parent);
  mkdirSync(path);
}
