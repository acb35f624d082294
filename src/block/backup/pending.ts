/**
 * Blocks that the file does not have yet: the bytes that were written last, one place for each.
 *
 *   put -> QUEUED -- taken --> WRITING -- on the disk --> WRITTEN -- flushed --> free
 *            ^                    |                          |
 *            +------ put again ---+--------------------------+
 *
 * What is taken is copied, so who writes a block again while it is on its way replaces the bytes
 * here, and they go to the disk after it.
 */

import { BLOCK_BYTES } from '../../replication/layout.js';
import { backupFaults } from './planted.js';

const Phase = { QUEUED: 0, WRITING: 1, WRITTEN: 2 } as const;
/** Memory is taken in parts, as it is first needed. */
const PART_BLOCKS = 256;

export class PendingBlocks {
  readonly #slots: number;
  readonly #parts: Uint8Array[] = [];
  readonly #phase: Uint8Array;
  readonly #free: number[] = [];
  #made = 0;
  readonly #slotOf = new Map<number, number>();
  readonly #queued = new Set<number>();
  /** By area: blocks of it that are here. */
  readonly #inArea = new Map<number, number>();
  readonly #areaOf: (block: number) => number;

  constructor(bytes: number, areaOf: (block: number) => number) {
    this.#slots = Math.floor(bytes / BLOCK_BYTES);
    this.#phase = new Uint8Array(this.#slots);
    this.#areaOf = areaOf;
  }

  get queued(): number {
    return this.#queued.size;
  }

  /** Room for so many that are not here. */
  hasRoom(blocks: number): boolean {
    return this.#slots - this.#slotOf.size >= blocks;
  }

  holdsArea(area: number): boolean {
    return this.#inArea.has(area);
  }

  /** There is room for it. */
  put(block: number, from: Uint8Array, start: number): void {
    const known = this.#slotOf.get(block);
    const slot = known ?? this.#take(block);
    this.#bytesOf(slot).set(from.subarray(start, start + BLOCK_BYTES));
    if (backupFaults.outOfOrder && known !== undefined && this.#phase[slot] === Phase.WRITING) {
      return;
    }
    this.#phase[slot] = Phase.QUEUED;
    this.#queued.add(block);
  }

  #take(block: number): number {
    const slot = this.#free.pop() ?? this.#made++;
    this.#slotOf.set(block, slot);
    const area = this.#areaOf(block);
    this.#inArea.set(area, (this.#inArea.get(area) ?? 0) + 1);
    return slot;
  }

  #bytesOf(slot: number): Uint8Array {
    const part = Math.floor(slot / PART_BLOCKS);
    this.#parts[part] ??= new Uint8Array(PART_BLOCKS * BLOCK_BYTES);
    const at = (slot % PART_BLOCKS) * BLOCK_BYTES;
    return this.#parts[part].subarray(at, at + BLOCK_BYTES);
  }

  /** Whether it is here: then its bytes were copied. */
  get(block: number, into: Uint8Array, start: number): boolean {
    const slot = this.#slotOf.get(block);
    if (slot === undefined) return false;
    into.set(this.#bytesOf(slot), start);
    return true;
  }

  /** Blocks that are to be written now, in the order of the file. */
  inOrder(): number[] {
    return [...this.#queued].sort((a, b) => a - b);
  }

  /** For writing: false where it is on its way already. */
  takeOut(block: number, into: Uint8Array, start: number): boolean {
    const slot = this.#slotOf.get(block);
    if (slot === undefined || !this.#queued.delete(block)) return false;
    into.set(this.#bytesOf(slot), start);
    this.#phase[slot] = Phase.WRITING;
    return true;
  }

  /** Those that were taken out: on the disk, or, after an error, to be written again. */
  ended(block: number, isWritten: boolean): void {
    const slot = this.#slotOf.get(block);
    if (slot === undefined || this.#phase[slot] !== Phase.WRITING) return;
    this.#phase[slot] = isWritten ? Phase.WRITTEN : Phase.QUEUED;
    if (!isWritten) this.#queued.add(block);
  }

  /** All that was on the disk when a flush began is safe: those of them that nobody wrote since. */
  flushed(blocks: readonly number[]): void {
    for (const block of blocks) {
      const slot = this.#slotOf.get(block);
      if (slot === undefined || this.#phase[slot] !== Phase.WRITTEN) continue;
      this.#slotOf.delete(block);
      this.#free.push(slot);
      const area = this.#areaOf(block);
      const left = (this.#inArea.get(area) as number) - 1;
      if (left === 0) this.#inArea.delete(area);
      else this.#inArea.set(area, left);
    }
  }
}
