import { expect, test } from 'vitest';
import { CLOUD_CARD, LOCAL_CARD, RDMA } from './constants.js';
import { type Load, mean, type Outcome, play, quantile } from './load.js';
import { RdmaSystem } from './rdma.js';

const base: Load = { seed: 1, operations: 2_000, clients: 1, active: 1, bytes: 16, isWrite: false };

function run(load: Partial<Load>, sizes = LOCAL_CARD, isOnDemand = false): Promise<Outcome> {
  return play(new RdmaSystem({ seed: 1, sizes, isOnDemand }), { ...base, ...load });
}

async function meanNs(load: Partial<Load>, sizes = LOCAL_CARD): Promise<number> {
  return mean((await run(load, sizes)).latenciesNs);
}

test('a read that finds everything takes 16.8 ms / 14100', async () => {
  const stated = 16_800_000 / 14_100;
  const median = quantile((await run({})).latenciesNs, 0.5);
  expect(Math.abs(median / stated - 1)).toBeLessThan(0.02);
});

test('a write is answered before it is in memory, so it is faster', async () => {
  expect(await meanNs({ isWrite: true })).toBeLessThan(0.7 * (await meanNs({})));
});

test('latency is flat while connections fit on the card, and grows then', async () => {
  const at = (clients: number) => meanNs({ clients, active: 4, warmUp: 2 * clients });
  const [few, hundred, thousand] = [await at(4), await at(100), await at(1_000)];
  expect(hundred / few).toBeLessThan(1.02);
  // Both cards know the connection: a miss costs either a trip over PCIe, most of the time.
  expect(thousand - few).toBeGreaterThan(0.5 * RDMA.pcieReadNs.value);
});

test.each([LOCAL_CARD, CLOUD_CARD])(
  '$name degrades beyond its caches, by regions more',
  async (card) => {
    const fits = card.translations.value;
    const warmUp = 2 * fits;
    const flat = await meanNs({});
    expect((await meanNs({ pages: fits, warmUp }, card)) / flat).toBeLessThan(1.02);
    const pages = (await meanNs({ pages: 8 * fits, warmUp }, card)) - flat;
    const regions = (await meanNs({ regions: 8 * fits, warmUp }, card)) - flat;
    expect(pages).toBeGreaterThan(0.7 * RDMA.pcieReadNs.value);
    expect(regions).toBeGreaterThan(1.6 * pages);
  },
);

test('there are at most 2^18 regions', () => {
  const system = new RdmaSystem({ seed: 1, sizes: LOCAL_CARD });
  expect(system.registerNs(4_096, 2 ** 18 - 1)).toBeGreaterThan(0);
  expect(system.registerNs(4_096, 2 ** 18)).toBeUndefined();
});

test('a page fault is noticed by a time-out of 16.8 ms, once per page', async () => {
  const pages = 20;
  const outcome = await run({ pages, operations: 2 * pages, isInTurn: true }, LOCAL_CARD, true);
  const faults = outcome.latenciesNs.filter((ns) => ns > 1_000_000);
  expect(faults.length).toBe(pages);
  expect(Math.abs(mean(faults) / 16_800_000 - 1)).toBeLessThan(0.01);
});

test('the same seed gives the same times', async () => {
  const load = { clients: 500, active: 4, pages: 1_000 };
  expect((await run(load)).latenciesNs).toEqual((await run(load)).latenciesNs);
});
