/**
 * Blocks of which a copy may have half of a write: whoever wrote there over shared memory was
 * ended, or cut off, in the middle (docs/internals/replication.md, "Torn blocks"). They are made
 * equal from the other copies before anybody uses them; then the copy forgets that they were torn.
 */

import { Status } from '../base/status.js';
import { sleep } from '../runtime/clock.js';
import type { Copy, TornRange } from './copy.js';
import { areaOf, BLOCK_BYTES, PIECE_BLOCKS } from './layout.js';
import { tornFaults } from './planted.js';
import type { ReplicaParts, Slab } from './slab.js';

const RETRY_MS = 20;

interface Torn {
  readonly copy: Copy;
  readonly range: TornRange;
  /** Its blocks. */
  readonly first: number;
  readonly count: number;
}

/** What is done to what is torn. */
interface Mender {
  /** Makes the copies of a piece equal. */
  settle(block: number): Promise<void>;
  /** A copy did not do what it was asked. */
  failed(index: number, status: Status): void;
}

export class TornBlocks {
  readonly #parts: ReplicaParts;
  readonly #set: Slab;
  readonly #mender: Mender;
  readonly #torn = new Set<Torn>();
  #isBegun: boolean;

  constructor(parts: ReplicaParts, set: Slab, mender: Mender) {
    this.#parts = parts;
    this.#set = set;
    this.#mender = mender;
    this.#isBegun = parts.isNew;
  }

  /** The copy tells whenever its way is opened, before anything goes over that. */
  watch(copy: Copy): void {
    copy.whenTorn?.((ranges) => {
      for (const range of ranges) this.#note(copy, range);
    });
  }

  /** It is known what may be unequal. */
  begin(): void {
    this.#isBegun = true;
    for (const torn of this.#torn) void this.#mend(torn);
  }

  /**
   * Whether any copy may have half of a write there. Nothing is written to it before the copy has
   * forgotten that: else two could be torn at once. It is read when it is settled.
   */
  isAny(first: number, count: number): boolean {
    if (this.#torn.size === 0) return false;
    for (const torn of this.#torn) if (isOver(torn, first, count)) return true;
    return false;
  }

  /** Whether this copy may have half of a write in the piece. */
  isTorn(index: number, piece: number): boolean {
    for (const torn of this.#torn) {
      const isIts = this.#set.members.bitOf(torn.copy.id) === 1 << index;
      if (isIts && isOver(torn, piece, PIECE_BLOCKS)) return true;
    }
    return false;
  }

  #note(copy: Copy, range: TornRange): void {
    const { from, bytes } = range;
    for (const one of this.#torn) {
      if (one.copy === copy && one.range.from === from && one.range.bytes === bytes) return;
    }
    const { blocks } = this.#parts.layout;
    const first = Math.min(blocks, Math.floor(from / BLOCK_BYTES));
    const end = Math.min(blocks, Math.ceil((from + bytes) / BLOCK_BYTES));
    const torn = { copy, range, first, count: end - first };
    if (tornFaults.tornTaken) return;
    this.#torn.add(torn);
    if (this.#isBegun) void this.#mend(torn);
  }

  /** What is behind the blocks is written in whole words, or before an intent word is cleared. */
  async #mend(torn: Torn): Promise<void> {
    do {
      while (this.#isWanted(torn) && !(await this.#settled(torn))) {
        // No copy could be read that counts: there will be one, or this one leaves.
        await sleep(this.#parts.timers, RETRY_MS);
      }
    } while (!(await this.#isForgotten(torn)));
    this.#torn.delete(torn);
    this.#set.wakeSoon();
  }

  #isWanted({ copy }: Torn): boolean {
    return !this.#set.isOver && this.#set.members.bitOf(copy.id) !== 0;
  }

  /** Makes its pieces equal; true: all of them are. */
  async #settled(torn: Torn): Promise<boolean> {
    const { first, count } = torn;
    for (let piece = first - (first % PIECE_BLOCKS); piece < first + count; piece += PIECE_BLOCKS) {
      if (this.#isLeft(piece)) await this.#mender.settle(piece);
      if (this.#isLeft(piece)) return false;
    }
    return true;
  }

  #isLeft(piece: number): boolean {
    const { areas } = this.#set;
    return areas.isLost[areaOf(piece)] === 0 && areas.anyUnsettled(piece, PIECE_BLOCKS);
  }

  /** Or nobody needs to know any more. */
  async #isForgotten(torn: Torn): Promise<boolean> {
    const { copy, range } = torn;
    if (!this.#isWanted(torn)) return true;
    const status = await copy.mended?.(range);
    if (status === undefined || status === Status.Ok || !this.#isWanted(torn)) return true;
    // Who does not answer leaves, when another one does.
    this.#mender.failed(31 - Math.clz32(this.#set.members.bitOf(copy.id)), status);
    await sleep(this.#parts.timers, RETRY_MS);
    return false;
  }
}

function isOver(torn: Torn, first: number, count: number): boolean {
  return torn.first < first + count && first < torn.first + torn.count;
}
