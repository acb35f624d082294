/**
 * Invariant 2: a reply never carries somebody else's bytes, nor the bytes of a former life of the
 * memory. Every written word says whose it is, so one look at one word is enough.
 */

import { type Allocation, isAtPlace, WORD_BYTES, writeNumberOf } from '../journal.js';
import type { WordValue } from './history.js';

export interface Complaint {
  readonly kind: string;
  readonly text: string;
}

/** What is wrong with a word that a read brought which ended at `readAt`; notes what was seen. */
export function examine(
  allocation: Allocation,
  place: number,
  value: WordValue,
  readAt: number,
  allocationOf: (id: number) => Allocation | undefined = () => undefined,
): Complaint | undefined {
  const { low, high } = value;
  if (high === 0 && (low === 0 || allocation.counters.has(place))) return undefined;
  const where = `word ${place} of ${allocation.name}`;
  if (high !== allocation.id) {
    const former = allocationOf(high);
    if (former !== undefined && isLateWrite(former, allocation, place, value)) {
      allocation.overwritten.add(place);
      return undefined;
    }
    const owner = high === 0 ? 'of nobody' : `of allocation ${high}`;
    return { kind: 'foreign', text: `${where} holds bytes ${owner} (${high}:${low})` };
  }
  const number = writeNumberOf(low);
  const write = allocation.writes[number - 1];
  if (!isAtPlace(low, place) || write === undefined) {
    return { kind: 'misplaced', text: `${where} holds bytes of another place (${high}:${low})` };
  }
  if (place < write.firstWord || place >= write.firstWord + write.words) {
    return { kind: 'misplaced', text: `${where} holds write ${number}, which does not reach it` };
  }
  if (write.calledAt > readAt) {
    return { kind: 'too-early', text: `${where} held write ${number} before it was begun` };
  }
  allocation.seenWrites.add(number);
  return undefined;
}

/**
 * The same of memory that is being freed, or was: it may hold anything of its own, or of what was
 * allocated at the same addresses since, and nothing else.
 */
export function examineFormer(
  allocation: Allocation,
  place: number,
  { low, high }: WordValue,
  allocationOf: (id: number) => Allocation | undefined,
): Complaint | undefined {
  if (high === 0 || high === allocation.id || allocation.isOpaque) return undefined;
  const next = allocationOf(high);
  const at = allocation.at + place * WORD_BYTES;
  // Given out, perhaps, by an answer that nobody has read yet.
  if (next === undefined || (next.space === allocation.space && isWithin(next, at)))
    return undefined;
  const where = `word ${place} of ${allocation.name}, which is being freed,`;
  return { kind: 'foreign', text: `${where} held bytes of ${next.name} (${high}:${low})` };
}

function isWithin({ at, bytes }: Allocation, address: number): boolean {
  return address >= at && address < at + bytes;
}

/**
 * Whether somebody wrote to memory that was freed meanwhile, and hit what was allocated at the same
 * addresses since: his fault, if he had begun before that was given out.
 */
function isLateWrite(
  former: Allocation,
  allocation: Allocation,
  place: number,
  { low }: WordValue,
): boolean {
  const formerPlace = place + (allocation.at - former.at) / WORD_BYTES;
  if (former.space !== allocation.space || !isAtPlace(low, formerPlace)) return false;
  const write = former.writes[writeNumberOf(low) - 1];
  if (write === undefined || write.endedAt < allocation.calledAt) return false;
  return formerPlace >= write.firstWord && formerPlace < write.firstWord + write.words;
}
