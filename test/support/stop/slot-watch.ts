// What the slots of a rack's nodes say, read from outside through the descriptors of their
// supervisors: whose they are, and whether their threads are in the middle of a step.
import { closeSync, fstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { ENTRY_WORDS } from '../../../src/disk/page-table.js';
import {
  SLOT_ENTRY,
  SLOT_FILE_BYTES,
  SLOT_GENERATION,
  SLOT_IDLE,
  slotWord,
} from '../../../src/disk/slots.js';
import { TableFile } from '../../../src/disk/table-file.js';
import { pidsOf, type TestRack } from '../rack.js';

interface NodeFiles {
  readonly supervisor: number;
  readonly table: number;
  readonly slots: number;
}

/** A slot of a thread: at which node, and where. */
export interface SlotPlace {
  readonly node: number;
  readonly slot: number;
}

export class SlotWatch {
  readonly #nodes: readonly NodeFiles[];
  readonly #words = new Int32Array(SLOT_FILE_BYTES / 4);

  constructor(rack: TestRack) {
    this.#nodes = pidsOf(rack, 'supervisor').map((supervisor) => ({
      supervisor,
      table: openFile(supervisor, 'table'),
      slots: openFile(supervisor, 'slots'),
    }));
  }

  /** The supervisors' processes, in the order in which slots name their nodes. */
  get supervisors(): readonly number[] {
    return this.#nodes.map(({ supervisor }) => supervisor);
  }

  /** The slots of the threads of a process. */
  slotsOf(pid: number): SlotPlace[] {
    return this.#nodes.flatMap(({ table }, node) => {
      const { owners } = readTable(table);
      const isTheirs = (slot: number): boolean =>
        owners.owner(slot)?.identity.split('/').at(-2) === String(pid);
      return owners
        .taken()
        .filter(isTheirs)
        .map((slot) => ({ node, slot }));
    });
  }

  isInStep({ node, slot }: SlotPlace): boolean {
    const files = this.#nodes[node];
    if (files === undefined) return false;
    const word = slotWord(slot) + SLOT_GENERATION;
    readSync(files.slots, this.#words, 0, 4, 4 * word);
    return this.#words[0] !== SLOT_IDLE;
  }

  /** The address that a thread in a step works on, where that is in this space. */
  addressOf({ node, slot }: SlotPlace, space: number): number | undefined {
    const files = this.#nodes[node];
    if (files === undefined) return undefined;
    readSync(files.slots, this.#words, 0, 4, 4 * (slotWord(slot) + SLOT_ENTRY));
    const { pages, facts } = readTable(files.table);
    const entry = (this.#words[0] as number) - 1;
    if (entry < 0 || entry >= pages.entries) return undefined;
    const at = entry * ENTRY_WORDS;
    return pages.spaceOf(at) === space ? pages.pageOf(at) * facts.pageBytes : undefined;
  }

  /** How many threads are in a step at this node just now. */
  inStepAt(node: number): number {
    const files = this.#nodes[node];
    if (files === undefined) return 0;
    readSync(files.slots, this.#words, 0, SLOT_FILE_BYTES, 0);
    const { owners } = readTable(files.table);
    const generationOf = (slot: number) => this.#words[slotWord(slot) + SLOT_GENERATION];
    return owners.taken().filter((slot) => generationOf(slot) !== SLOT_IDLE).length;
  }

  close(): void {
    for (const { table, slots } of this.#nodes) {
      closeSync(table);
      closeSync(slots);
    }
  }
}

function openFile(pid: number, role: string): number {
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    const path = `/proc/${pid}/fd/${fd}`;
    try {
      if (readlinkSync(path).includes(`memfd:memrack-${role}-`)) return openSync(path, 'r');
    } catch {
      // It was closed meanwhile.
    }
  }
  throw new Error(`the supervisor ${pid} has no file for ${role}`);
}

function readTable(fd: number): TableFile {
  const buffer = new SharedArrayBuffer(fstatSync(fd).size);
  const bytes = new Uint8Array(buffer);
  readSync(fd, bytes, 0, bytes.length, 0);
  const table = TableFile.open({
    bytes,
    words: new Int32Array(buffer),
    view: new DataView(buffer),
    wide: new BigUint64Array(buffer),
  });
  if (typeof table === 'string') throw new Error(table);
  return table;
}
