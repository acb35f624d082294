/** The files of a memory node as its supervisor makes them: of memory alone, or from a disk. */

import { formatBytes } from '../base/units.js';
import { memoryFileName } from '../disk/memory-names.js';
import { slotFileBytes } from '../disk/slots.js';
import { formatTableFile, TableFile, tableFileBytes, type TableFacts } from '../disk/table-file.js';
import { storeWord } from '../disk/layout.js';
import { assert, defined } from '../base/assert.js';
import type { DurableFile } from '../runtime/durable.js';
import type { Mapping } from '../runtime/memory.js';
import type { Runtime } from '../runtime/runtime.js';
import { REGION_BYTES } from '../wire/limits.js';
import { CannotStart } from './process.js';
import { type CheckedSupervisorConfig, type DurableFacts, REGION_ENTRIES } from './config.js';
import { createFile, mappingOf, openFile } from './durable/file.js';
import type { NodeFiles } from './sharing.js';

/** Left to the machine beside what is lent. */
const MACHINE_RESERVE_BYTES = 64 * 1024 * 1024;
/** An older copy begins so far above that no epoch of the one that went on meets one of its. */
const TRUSTED_INCARNATIONS = 2 ** 20;

export interface Memory {
  readonly memoryId: number;
  readonly files: NodeFiles;
  readonly table: TableFile;
  /** Where the frames are a file on a disk. */
  readonly durable: { readonly facts: DurableFacts; readonly flusher: DurableFile } | undefined;
}

/** New and empty, without a name. Throws a `CannotStart`. */
export async function makeMemory(
  runtime: Runtime,
  config: CheckedSupervisorConfig,
): Promise<Memory> {
  const { memoryBytes } = config;
  const facts = newFacts(runtime, config);
  const tableBytes = tableFileBytes(facts);
  const slotBytes = slotFileBytes(facts.frames);
  checkAvailable(runtime, memoryBytes + tableBytes + slotBytes, memoryBytes);
  const { memory } = runtime;
  const table = memory.create(memoryFileName('table', facts), tableBytes);
  const mapping = table.map(0, tableBytes);
  formatTableFile(mapping, facts);
  const frameFile = memory.create(memoryFileName('frames', facts), memoryBytes);
  return {
    memoryId: facts.memoryId,
    files: {
      tableMemory: table.handle,
      frameMemory: frameFile.handle,
      slotMemory: makeSlots(runtime, facts),
    },
    table: tableOf(mapping),
    durable: undefined,
  };
}

/** That of a file, which is made first where the configuration says so. Throws a `CannotStart`. */
export async function openMemory(
  runtime: Runtime,
  config: CheckedSupervisorConfig,
  isStopped: () => boolean,
): Promise<Memory> {
  const persistent = defined(config.persistent);
  if (persistent.create) await createFile(runtime, persistent, newFacts(runtime, config));
  const opened = await openFile(runtime, persistent, config.id, isStopped);
  const { stored, opening, unprovenFileSystem } = opened;
  const { tableBytes } = stored.sizes;
  // Its name is checked by those who open it, so it is made when the facts are known.
  const words = stored.table;
  const facts = tableOf(mappingOf(words)).facts;
  const { frameBytes } = stored.sizes;
  checkAvailable(runtime, tableBytes + slotFileBytes(facts.frames), frameBytes);
  const file = runtime.memory.create(memoryFileName('table', facts), tableBytes);
  const mapping = file.map(0, tableBytes);
  mapping.words.set(words);
  const table = tableOf(mapping);
  table.forgetPassing();
  table.noteOpening(opening);
  const isTrusted = persistent.trustCopy;
  if (isTrusted) table.raiseIncarnation(runtime.entropy.u32() % TRUSTED_INCARNATIONS);
  return {
    memoryId: facts.memoryId,
    files: {
      tableMemory: file.handle,
      frameMemory: opened.file.handle,
      slotMemory: makeSlots(runtime, facts),
    },
    table,
    durable: { facts: { opening, unprovenFileSystem, isTrusted }, flusher: opened.flusher },
  };
}

function newFacts(runtime: Runtime, config: CheckedSupervisorConfig): TableFacts {
  const { id, pageBytes, frames, tableEntries, windowEntries } = config;
  return {
    nodeId: id,
    memoryId: runtime.entropy.u53(),
    pageBytes,
    frames,
    tableEntries,
    regionEntries: REGION_ENTRIES,
    regionBytes: REGION_BYTES,
    windowEntries,
  };
}

function checkAvailable({ memory }: Runtime, bytes: number, lent: number): void {
  const needed = bytes + MACHINE_RESERVE_BYTES;
  const available = memory.available();
  if (available >= needed) return;
  throw new CannotStart(
    `lending ${formatBytes(lent)} needs ${formatBytes(needed)} with tables and a ` +
      `reserve for the machine, but only ${formatBytes(available)} are available: ` +
      'lend less (--memory), or end programs that use memory on this machine',
  );
}

function makeSlots({ memory }: Runtime, facts: TableFacts): number {
  return memory.create(memoryFileName('slots', facts), slotFileBytes(facts.frames)).handle;
}

function tableOf(mapping: Mapping): TableFile {
  const table = TableFile.open(mapping, storeWord);
  assert(typeof table !== 'string', 'a table that was made or checked just now');
  return table;
}
