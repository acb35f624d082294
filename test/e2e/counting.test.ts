// Many clients count over a network with 5 % of everything: loss, duplication, reordering,
// corruption and delay, both ways. MEMRACK_COUNT_INCREMENTS and MEMRACK_COUNT_SEED choose how many
// and which.
import { describe, expect, test } from 'vitest';
import { allFaults, countThrough, tellCounting } from '../support/counting-run.js';
import { startLossyRack } from '../support/lossy-rack.js';
import { requiresNamespaces } from '../support/namespaces.js';

const INCREMENTS = Number(process.env['MEMRACK_COUNT_INCREMENTS'] || 1_000_000);
const SEED = Number(process.env['MEMRACK_COUNT_SEED'] ?? 1);
const RATE = 0.05;
const UNKNOWN_MAX = 1 / 100_000;
const PER_SECOND_LEAST = 1000;

describe.runIf(requiresNamespaces())('counting over a bad network', () => {
  test(
    `${INCREMENTS} increments count once each`,
    async () => {
      const faults = allFaults(RATE);
      const lossy = await startLossyRack({ seed: SEED, toNode: faults, toClient: faults });
      try {
        const result = await countThrough(lossy, {
          processes: 2,
          clientsEach: 20,
          shared: 32,
          own: 32,
          increments: INCREMENTS,
          timeoutMs: 10_000,
        });
        tellCounting(SEED, result);
        expect(result.problems).toEqual([]);
        expect(result.acknowledged + result.unknown).toBeGreaterThanOrEqual(INCREMENTS);
        expect(result.unknown).toBeLessThanOrEqual(INCREMENTS * UNKNOWN_MAX);
        expect(result.late).toBe(0);
        expect(result.replayed).toBeGreaterThan(0);
      } finally {
        await lossy.stop();
      }
    },
    120_000 + (1000 * INCREMENTS) / PER_SECOND_LEAST,
  );
});
