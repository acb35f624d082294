/**
 * What nodes that are short of memory want of a device: copies that are to go elsewhere. They are
 * told how copies are used that they ask about (docs/internals/block-devices.md). A wish holds for
 * some seconds, unless it is told again.
 */

import type { Clock } from '../runtime/clock.js';
import { SLABS_ASKED_MAX } from '../wire/limits.js';
import { blockFaults } from './planted.js';
import type { CopyUse, DeviceRack, SlabNode } from './ports.js';

/** A node with less than this part of what it lends free may be short of memory. */
const FREE_PART = 1 / 16;
/** Some calls later: one of them may be lost. */
export const WISH_MS = 4_000;
/** What is asked is answered at once. */
const CALLS_AT_ONCE = 2;

export interface DonorWishesParts {
  readonly clock: Pick<Clock, 'now'>;
  readonly rack: Pick<DeviceRack, 'tellUse'>;
  /** Copies of the device in this memory, and how they are used. */
  readonly copiesAt: (node: string, memoryId: number) => ReadonlyMap<number, CopyUse>;
  /** It has to give memory back. */
  readonly isShort: (node: string) => void;
}

/** Of one node. */
interface Known {
  memoryId: number;
  round: number;
  isShort: boolean;
  asked: readonly number[];
  going: readonly number[];
  isCalling: boolean;
}

export class DonorWishes {
  readonly #parts: DonorWishesParts;
  readonly #known = new Map<string, Known>();
  /** By copy: until when it is to go. */
  readonly #wishes = new Map<number, number>();

  constructor(parts: DonorWishesParts) {
    this.#parts = parts;
  }

  /** Once a second or so; calls those nodes that may want something, of those with copies. */
  look(nodes: readonly SlabNode[], used: ReadonlySet<string>): void {
    const now = this.#parts.clock.now();
    for (const [copy, untilMs] of this.#wishes) {
      if (now >= untilMs && !blockFaults.wishKept) this.#wishes.delete(copy);
    }
    for (const node of nodes) {
      if (!used.has(node.id)) continue;
      const known = this.#known.get(node.id);
      const isKnownShort = known?.isShort === true && known.memoryId === node.memoryId;
      const isFull = node.bytesFree < node.bytesLent * FREE_PART || node.bytesLent === 0;
      if ((isFull || isKnownShort) && known?.isCalling !== true) void this.#call(node);
    }
  }

  /** Whether its node wants it to go. */
  isToGo(copy: number): boolean {
    return this.#wishes.has(copy);
  }

  async #call({ id, memoryId }: SlabNode): Promise<void> {
    const { copiesAt, clock, rack, isShort } = this.#parts;
    const known = this.#knownOf(id, memoryId);
    known.isCalling = true;
    for (let i = 0; i < CALLS_AT_ONCE; i++) {
      const askedMs = clock.now();
      const named = [...known.asked, ...known.going].slice(0, SLABS_ASKED_MAX);
      const copies = named.length > 0 ? copiesAt(id, memoryId) : undefined;
      const slabs = named.flatMap((copy) => copies?.get(copy) ?? []);
      const wish = await rack.tellUse(id, memoryId, { round: known.round, slabs });
      known.isShort = wish?.isShort === true;
      if (wish === undefined) break;
      Object.assign(known, wish);
      if (wish.isShort) isShort(id);
      for (const copy of wish.going) this.#wishes.set(copy, askedMs + WISH_MS);
      if (wish.asked.length === 0) break;
    }
    known.isCalling = false;
  }

  #knownOf(id: string, memoryId: number): Known {
    const before = this.#known.get(id);
    if (before?.memoryId === memoryId) return before;
    const known = { memoryId, round: 0, isShort: false, asked: [], going: [], isCalling: false };
    this.#known.set(id, known);
    return known;
  }
}
