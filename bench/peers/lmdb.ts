/** An LMDB store of 64-byte values: read in this process from a mapped file, without a server. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open } from 'lmdb';

export interface LmdbStore {
  /** Into the buffer that the store keeps for it: a copy, and no object for the caller. */
  get(key: number): Uint8Array;
  close(): Promise<void>;
}

export async function openLmdb(keys: number, valueBytes: number): Promise<LmdbStore> {
  const folder = mkdtempSync(join(tmpdir(), 'memrack-bench-'));
  const store = open<Buffer, number>({
    path: join(folder, 'store'),
    encoding: 'binary',
    keyEncoding: 'uint32',
    noSync: true,
  });
  const value = Buffer.alloc(valueBytes, 7);
  await store.transaction(() => {
    for (let key = 0; key < keys; key += 1) void store.put(key, value);
  });
  return {
    get: (key) => {
      const found = store.getBinaryFast(key);
      if (found === undefined) throw new Error(`LMDB has no key ${key}`);
      return found;
    },
    close: async () => {
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
