import { defined } from '../base/assert.js';
import { type Chance, draw } from './placement/candidate.js';

/** `size` different indexes below `count` (all of them if there are not more): Fisher-Yates. */
export function sample(count: number, size: number, chance: Chance): number[] {
  const indexes = Array.from({ length: count }, (_, index) => index);
  const taken = Math.min(size, count);
  for (let i = 0; i < taken; i++) {
    const other = i + draw(chance, count - i);
    const swapped = defined(indexes[other]);
    indexes[other] = defined(indexes[i]);
    indexes[i] = swapped;
  }
  return indexes.slice(0, taken);
}
