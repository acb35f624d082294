/** Looks for planted bugs: which seed shows one. */

import { Broken } from './slab-world.js';

/** The first of so many seeds in whose run a program sees what it may not see; 0: none. */
export async function seedThatShows(
  run: (seed: number) => Promise<unknown>,
  from: number,
  seeds: number,
): Promise<number> {
  for (let seed = from; seed < from + seeds; seed++) {
    try {
      await run(seed);
    } catch (error) {
      if (error instanceof Broken) return seed;
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
  return 0;
}
