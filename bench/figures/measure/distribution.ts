/** Figure 4.7: the distribution of latency, from the middle to one in ten thousand. */

import { quantileOf } from '../../harness.js';
import type { Series } from '../series.js';
import { FIGURE_AXES } from '../series.js';
import { inWorld } from './clients.js';
import { type Latencies, pacedLatencies } from './latency.js';

const PER_SECOND = 20_000;
const OPERATIONS = 40_000;
const BYTES = 16;
const QUANTILES = [
  ...Array.from({ length: 49 }, (_, i) => (i + 1) / 50),
  ...[0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999],
];

/** Here x is the latency, and y how many of all requests were answered by then. */
export async function distribution(rounds: number): Promise<Series[]> {
  const gathered = new Map<string, Latencies[]>();
  const keep = (panel: string, system: string, latencies: Latencies): void => {
    const key = `${panel}/${system}`;
    gathered.set(key, [...(gathered.get(key) ?? []), latencies]);
  };
  await inWorld({ memory: '256MiB' }, async ({ clients, space }) => {
    const at = await space.alloc(2 ** 21);
    const source = new Uint8Array(BYTES).fill(3);
    const target = new Uint8Array(BYTES);
    await space.write(at, new Uint8Array(2 ** 16));
    for (let round = -1; round < rounds; round += 1) {
      const count = round < 0 ? OPERATIONS / 8 : OPERATIONS;
      for (const { system, space } of clients) {
        const reads = await pacedLatencies(count, PER_SECOND, () => space.read(at, target));
        const writes = await pacedLatencies(count, PER_SECOND, () => space.write(at, source));
        if (round < 0) continue;
        keep('read', system, reads);
        keep('write', system, writes);
      }
    }
  });
  return [...gathered].map(([key, latencies]) => curveOf(key, latencies));
}

/** Over the latencies of all rounds together. */
function curveOf(key: string, rounds: readonly Latencies[]): Series {
  const [panel = '', system = ''] = key.split('/');
  const axes = FIGURE_AXES.find(({ name }) => name === '4.7')?.panels[0];
  const all = new Float64Array(rounds.reduce((sum, { length }) => sum + length, 0));
  let filled = 0;
  for (const latencies of rounds) {
    all.set(latencies, filled);
    filled += latencies.length;
  }
  all.sort();
  return {
    figure: '4.7',
    panel,
    system,
    kind: 'measured',
    x: QUANTILES.map((part) => quantileOf(all, part)),
    y: QUANTILES,
    xUnit: axes?.xUnit ?? '',
    yUnit: axes?.yUnit ?? '',
    note: `${PER_SECOND} a second are due; one held up by the one before counts from then`,
  };
}
