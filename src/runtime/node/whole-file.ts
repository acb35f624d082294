/** Files that are whole and durable, or not there. */

import { closeSync, fsyncSync, linkSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Makes a new file, which only its owner may read. After it resolves a power failure takes neither
 * its bytes nor its name away; when it throws (`ErrnoException`; EEXIST where there is a file of
 * that name already), nothing is left behind.
 */
export function writeWholeFile(path: string, bytes: Uint8Array): void {
  const draft = `${path}.draft`;
  try {
    writeDraft(draft, bytes);
    // Unlike a rename it never takes the place of a file that came meanwhile.
    linkSync(draft, path);
  } finally {
    rmSync(draft, { force: true });
  }
  flushFolder(dirname(path));
}

/** Makes durable which names are in a folder. */
export function flushFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function writeDraft(path: string, bytes: Uint8Array): void {
  const file = openSync(path, 'w', 0o600);
  try {
    writeFileSync(file, bytes);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
