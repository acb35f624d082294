/** Operations of every kind on memory that many use at once and that holds no counters. */

import { defined } from '../../base/assert.js';
import type { Allocation, Ended } from '../journal.js';
import type { ObservedSpace, Stretch } from '../observed-space.js';
import type { ClientProgram } from './workload.js';

export function spaceOf(
  spaces: readonly ObservedSpace[],
  { space }: { readonly space: string },
): ObservedSpace {
  return defined(spaces.find((one) => one.name === space));
}

/** A word, a few across the end of a page, or much of a page; reaching words that are looked at. */
export function someStretch(
  client: ClientProgram,
  space: ObservedSpace,
  allocation: Allocation,
): Stretch {
  const { prng } = client;
  const place = prng.pick(space.probes(allocation));
  const most = prng.pick([1, 1, 1, 4, 40, 2_048]);
  const firstWord = Math.max(0, place - prng.below(most));
  const words = Math.min(
    allocation.wordCount - firstWord,
    place - firstWord + prng.between(1, most),
  );
  return { firstWord, words };
}

/** One operation of any kind on memory that holds no counters. */
export async function touch(
  client: ClientProgram,
  space: ObservedSpace,
  allocation: Allocation,
): Promise<Ended> {
  const { prng } = client;
  const stretch = (): Stretch => someStretch(client, space, allocation);
  const many = (): Stretch[] => Array.from({ length: prng.between(2, 6) }, stretch);
  const choice = prng.below(100);
  if (choice < 30) return space.writeWord(allocation, prng.pick(space.probes(allocation)));
  if (choice < 45) return space.readWord(allocation, prng.pick(space.probes(allocation)));
  const { firstWord, words } = stretch();
  if (choice < 65) return space.writeRange(allocation, firstWord, words);
  if (choice < 80) return space.readRange(allocation, firstWord, words);
  if (choice < 90) return space.writeMany(allocation, many());
  return space.readMany(allocation, many());
}
