/**
 * A node's three memory files as one thread of a client holds them: opened by their names, checked
 * before anything in them is believed, mapped, and given up again.
 */

import { memoryFileName } from '../../disk/memory-names.js';
import {
  MARKS_OFFSET,
  slotFileBytes,
  slotWord,
  SLOT_GENERATION,
  SLOT_IDLE,
  SLOTS_MAX,
} from '../../disk/slots.js';
import { MAPPED_PART } from '../../disk/durable-layout.js';
import { TableFile } from '../../disk/table-file.js';
import { MAPPING_BYTES_MAX, type Mapping, type MemoryFile } from '../../runtime/memory.js';
import type { DurableFiles } from '../../runtime/durable.js';
import type { Runtime } from '../../runtime/runtime.js';
import { PAGE_BYTES_MAX, PAGE_BYTES_MIN } from '../../wire/limits.js';

/** What the node's answer to `Attach` says. */
export interface AttachFacts {
  readonly slot: number;
  readonly incarnation: number;
  /** 1: the frames are a file on a disk. */
  readonly isDurable?: number;
  /** Names for `Memory.open`. */
  readonly table: string;
  readonly frames: string;
  readonly slots: string;
}

/** Who we are to the node: what its table of slots must say of ours. */
export interface AttachOwner {
  readonly client: number;
  readonly identity: string;
  /** 0: any memory will do. */
  readonly memoryId: number;
}

export class Attachment {
  readonly slot: number;
  /** Of the process that serves: what `alive` must be. */
  readonly incarnation: number;
  readonly table: TableFile;
  /** The table file's words; for the words of its head. */
  readonly head: Int32Array;
  readonly slots: Int32Array;
  /** A byte per frame, for those that are written to while the node asks for it. */
  readonly marks: Uint8Array;
  /** Where the words of our slot begin. */
  readonly slotAt: number;
  readonly pageShift: number;
  readonly frames: number;
  /** Pieces of the frames file, of a power of two of frames each. */
  readonly pieces: readonly Mapping[];
  readonly pieceShift: number;
  readonly #files: readonly MemoryFile[];

  private constructor(facts: AttachFacts, files: Files, table: TableFile) {
    const { pageBytes, frames } = table.facts;
    this.slot = facts.slot;
    this.incarnation = facts.incarnation;
    this.table = table;
    this.head = files.head.words;
    const { words, bytes } = files.slots.map(0, slotFileBytes(frames));
    this.slots = words;
    this.marks = bytes.subarray(MARKS_OFFSET, MARKS_OFFSET + frames);
    this.slotAt = slotWord(facts.slot);
    this.pageShift = Math.log2(pageBytes);
    this.frames = frames;
    this.pieces = piecesOf(files.frames, frames * pageBytes);
    this.pieceShift = Math.log2(MAPPING_BYTES_MAX / pageBytes);
    this.#files = [files.table, files.frames, files.slots];
    // Whoever had the slot before us has ended, maybe in the middle of a step.
    Atomics.store(this.slots, this.slotAt + SLOT_GENERATION, SLOT_IDLE);
  }

  /** A string says, for people, why the files cannot be used; nothing of them is held then. */
  static open(runtime: Runtime, facts: AttachFacts, owner: AttachOwner): Attachment | string {
    const { memory, durables } = runtime;
    const held: MemoryFile[] = [];
    const open = (name: string, access: 'read' | 'write'): MemoryFile => {
      const file = memory.open(name, access);
      held.push(file);
      return file;
    };
    try {
      const table = open(facts.table, 'read');
      const isDurable = facts.isDurable === 1;
      const { frames: name } = facts;
      const frames = isDurable ? locked(durables, name, held) : open(name, 'write');
      // Not before: that it can be opened shows that the process lives which the frames belong to.
      const slots = open(facts.slots, 'write');
      if (table.bytes > MAPPING_BYTES_MAX) throw new Error('the table file is too large to map');
      const head = table.map(0, table.bytes);
      const files: Files = { table, frames, slots, head };
      return new Attachment(facts, files, checked(files, facts, owner));
    } catch (error) {
      for (const file of held) file.release();
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** Gives the files up: nothing of this may be used any more. */
  release(): void {
    for (const file of this.#files) file.release();
  }
}

/** As long as it is held nobody opens the file anew, who would not know of our slot. */
function locked(durables: DurableFiles, name: string, held: MemoryFile[]): MemoryFile {
  const file = durables.openNamed(name);
  held.push(file);
  if (!file.lock(MAPPED_PART, 'shared')) throw new Error('its file is being opened by somebody');
  return file;
}

interface Files {
  readonly table: MemoryFile;
  readonly frames: MemoryFile;
  readonly slots: MemoryFile;
  readonly head: Mapping;
}

const ROLES = ['table', 'frames', 'slots'] as const;

/** The table file, if all three belong together and to us; else it throws. */
function checked(files: Files, facts: AttachFacts, owner: AttachOwner): TableFile {
  const table = TableFile.open(files.head);
  if (typeof table === 'string') throw new Error(table);
  const { memoryId, pageBytes, frames } = table.facts;
  // A file on a disk is known by the process that has it open, and its lock.
  const roles = facts.isDurable === 1 ? ROLES.filter((role) => role !== 'frames') : ROLES;
  for (const role of roles) {
    // The process that held the file can have ended, and another have its number.
    if (files[role].name !== memoryFileName(role, table.facts)) {
      throw new Error(`the file of the ${role} is that of another memory`);
    }
  }
  if (owner.memoryId !== 0 && memoryId !== owner.memoryId) throw new Error('it is other memory');
  const isPage = Number.isInteger(Math.log2(pageBytes));
  if (!isPage || pageBytes < PAGE_BYTES_MIN || pageBytes > PAGE_BYTES_MAX) {
    throw new Error(`pages of ${pageBytes} bytes cannot be`);
  }
  if (frames < 1 || files.frames.bytes < frames * pageBytes) {
    throw new Error('the file of the frames is shorter than they are');
  }
  if (files.slots.bytes < slotFileBytes(frames) || facts.slot >= SLOTS_MAX) {
    throw new Error('the slot is not in the file of the slots');
  }
  const known = table.owners.owner(facts.slot);
  if (known?.client !== owner.client || known.identity !== owner.identity) {
    throw new Error('the slot is not ours');
  }
  if (facts.incarnation === 0 || table.alive !== facts.incarnation) {
    throw new Error('the process that answered serves no more');
  }
  return table;
}

function piecesOf(file: MemoryFile, bytes: number): Mapping[] {
  const pieces: Mapping[] = [];
  for (let at = 0; at < bytes; at += MAPPING_BYTES_MAX) {
    pieces.push(file.map(at, Math.min(MAPPING_BYTES_MAX, bytes - at)));
  }
  return pieces;
}
