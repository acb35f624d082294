/**
 * Blocks of which a copy may have half of a write: whoever wrote there over shared memory was
 * ended, or cut off, in the middle (docs/internals/replication.md, "Torn blocks"). They are made
 * equal from the other copies before anybody uses them; then the copy forgets that they were torn.
 */

import { Status } from '../base/status.js';
import { sleep } from '../runtime/clock.js';
import type { Copy, TornRange } from './copy.js';
import { areaOf, BLOCK_BYTES, PIECE_BLOCKS } from './layout.js';
import { replicationFaults } from './planted.js';
import type { ReplicaParts, Slab } from './slab.js';

const RETRY_MS = 20;

interface Torn {
  readonly copy: Copy;
  readonly range: TornRange;
  /** Its blocks. */
  readonly first: number;
  readonly count: number;
}

export class TornBlocks {
  readonly #parts: ReplicaParts;
  readonly #set: Slab;
  readonly #settleHeld: (first: number) => Promise<void>;
  readonly #torn = new Set<Torn>();
  #isBegun: boolean;

  /** `settleHeld` makes the copies of a piece equal whose blocks are held. */
  constructor(parts: ReplicaParts, set: Slab, settleHeld: (first: number) => Promise<void>) {
    this.#parts = parts;
    this.#set = set;
    this.#settleHeld = settleHeld;
    this.#isBegun = parts.isNew;
  }

  /** The copy tells whenever its way is opened, before anything goes over that. */
  watch(copy: Copy): void {
    copy.whenTorn?.((ranges) => {
      for (const range of ranges) this.#note(copy, range);
    });
  }

  /** In the turn in which reads and writes begin: they wait for these blocks. */
  begin(): void {
    this.#isBegun = true;
    for (const torn of this.#torn) void this.#mend(torn);
  }

  /** Whether the copy may have half of a write in this piece. */
  isTorn(index: number, piece: number): boolean {
    const bit = 1 << index;
    for (const { copy, first, count } of this.#torn) {
      const overlaps = first < piece + PIECE_BLOCKS && piece < first + count;
      if (overlaps && this.#set.members.bitOf(copy.id) === bit) return true;
    }
    return false;
  }

  #note(copy: Copy, range: TornRange): void {
    for (const one of this.#torn) {
      if (one.copy === copy && one.range.from === range.from) return;
    }
    const { blocks } = this.#parts.layout;
    const first = Math.min(blocks, Math.floor(range.from / BLOCK_BYTES));
    const end = Math.min(blocks, Math.ceil((range.from + range.bytes) / BLOCK_BYTES));
    const torn = { copy, range, first, count: end - first };
    if (replicationFaults.tornTaken) return;
    this.#torn.add(torn);
    if (this.#isBegun) void this.#mend(torn);
  }

  /** Nothing is written there before the copy has forgotten it: else two could be torn at once. */
  async #mend(torn: Torn): Promise<void> {
    const { first, count } = torn;
    // What is behind the blocks is written in whole words, or before an intent word is cleared.
    const isHeld = count > 0 && (await this.#set.hold(first, count));
    if (count > 0 && !isHeld) return;
    for (let piece = first - (first % PIECE_BLOCKS); piece < first + count; piece += PIECE_BLOCKS) {
      while (this.#isLeft(torn, piece)) {
        await this.#settleHeld(piece);
        // No copy could be read that counts: there will be one, or this one leaves.
        if (this.#isLeft(torn, piece)) await sleep(this.#parts.timers, RETRY_MS);
      }
    }
    await this.#forget(torn);
    this.#torn.delete(torn);
    if (isHeld) this.#set.letGo(first, count);
  }

  #isLeft({ copy }: Torn, piece: number): boolean {
    const { areas, members, isOver } = this.#set;
    if (isOver || members.bitOf(copy.id) === 0 || areas.isLost[areaOf(piece)] !== 0) return false;
    return areas.anyUnsettled(piece, PIECE_BLOCKS);
  }

  async #forget({ copy, range }: Torn): Promise<void> {
    const { members } = this.#set;
    while (!this.#set.isOver && members.bitOf(copy.id) !== 0) {
      if ((await copy.mended?.(range)) === Status.Ok) return;
      await sleep(this.#parts.timers, RETRY_MS);
    }
  }
}
