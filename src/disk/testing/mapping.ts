/** Memory for tests: a mapping over a plain buffer, and a store that dies before the n-th word. */

import type { Mapping } from '../../runtime/memory.js';
import { type StoreWord, storeWord } from '../layout.js';
import { formatTableFile, TableFile, type TableFacts, tableFileBytes } from '../table-file.js';

export function mappingOf(buffer: ArrayBuffer | SharedArrayBuffer): Mapping {
  return {
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    words: new Int32Array(buffer),
    wide: new BigUint64Array(buffer),
  };
}

export const FACTS: TableFacts = {
  nodeId: 'node-1',
  memoryId: 2 ** 40 + 7,
  pageBytes: 2 ** 26,
  frames: 8,
  tableEntries: 64,
  regionEntries: 16,
  windowEntries: 64,
  regionBytes: 2 ** 30,
};

export function freshTable(facts: TableFacts = FACTS, store: StoreWord = storeWord) {
  const mapping = mappingOf(new ArrayBuffer(tableFileBytes(facts)));
  formatTableFile(mapping, facts);
  return { mapping, table: openTable(mapping, store) };
}

export function openTable(mapping: Mapping, store: StoreWord = storeWord): TableFile {
  const table = TableFile.open(mapping, store);
  if (typeof table === 'string') throw new Error(table);
  return table;
}

/** The same bytes again, as a new process would find them. */
export function copyOf(mapping: Mapping): Mapping {
  return mappingOf(mapping.bytes.slice().buffer);
}

/** What a process that is killed does: it stops before a store, and that is all that happens. */
export class Death extends Error {}

/** Lets `stores` words through, then dies. */
export function dyingAfter(stores: number): StoreWord {
  let left = stores;
  return (words, at, value) => {
    if (left === 0) throw new Death();
    left -= 1;
    storeWord(words, at, value);
  };
}
