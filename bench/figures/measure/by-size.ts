/** Figures 4.10 and 4.11: latency of reads and writes by size, over every link. */

import { Curves } from './curves.js';
import { inWorld } from './clients.js';
import { loneLatencies, median } from './latency.js';
import type { Series } from '../series.js';

const EXPONENTS = [2, 4, 6, 8, 10, 12, 14, 16, 18, 20];
const MOST_BYTES = 2 ** 20;
/** As many operations as take some ten milliseconds. */
const COUNT_MOST = 2_000;
const BYTES_PER_TURN = 2 ** 25;

export async function readsAndWritesBySize(rounds: number): Promise<Series[]> {
  const reads = new Curves('4.10');
  const writes = new Curves('4.11');
  await inWorld({ memory: '256MiB' }, async ({ clients, space }) => {
    const at = await space.alloc(MOST_BYTES);
    await space.write(at, new Uint8Array(MOST_BYTES).fill(7));
    const buffer = new Uint8Array(MOST_BYTES);
    for (let round = -1; round < rounds; round += 1) {
      for (const exponent of EXPONENTS) {
        const bytes = buffer.subarray(0, 2 ** exponent);
        const count = Math.max(16, Math.min(COUNT_MOST, BYTES_PER_TURN / bytes.length));
        for (const { system, space } of clients) {
          const read = median(await loneLatencies(count, () => space.read(at, bytes)));
          const write = median(await loneLatencies(count, () => space.write(at, bytes)));
          if (round < 0) continue;
          reads.add('read', system, bytes.length, read);
          writes.add('write', system, bytes.length, write);
        }
      }
    }
  });
  const note = 'median of lone operations, one after the other, upon touched memory';
  return [...reads.series(note), ...writes.series(note)];
}
