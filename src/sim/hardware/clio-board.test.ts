import { expect, test } from 'vitest';
import { ClioSystem } from './clio-board.js';
import { CLIO, LOCAL_CARD } from './constants.js';
import { type Load, mean, type Outcome, play, quantile } from './load.js';
import { RdmaSystem } from './rdma.js';

const base: Load = { seed: 1, operations: 2_000, clients: 1, active: 1, bytes: 16, isWrite: false };

function run(load: Partial<Load>, system = new ClioSystem({ seed: 1 })): Promise<Outcome> {
  return play(system, { ...base, ...load });
}

async function medianNs(load: Partial<Load>, system?: ClioSystem): Promise<number> {
  return quantile((await run(load, system)).latenciesNs, 0.5);
}

/** What was published with the artifact, in microseconds. */
test.each([
  { bytes: 4, read: 2.03, write: 1.87 },
  { bytes: 64, read: 2.21, write: 2.28 },
  { bytes: 256, read: 2.71, write: 2.46 },
  { bytes: 1_024, read: 4.7, write: 3.19 },
])('$bytes bytes take about as long as they took the artifact', async ({ bytes, read, write }) => {
  expect(Math.abs((await medianNs({ bytes })) / (1_000 * read) - 1)).toBeLessThan(0.2);
  const written = await medianNs({ bytes, isWrite: true });
  expect(Math.abs(written / (1_000 * write) - 1)).toBeLessThan(0.12);
});

test('latency is flat over clients', async () => {
  const at = async (clients: number): Promise<number> =>
    mean((await run({ clients, active: 4 })).latenciesNs);
  expect((await at(1_000)) / (await at(4))).toBeCloseTo(1, 2);
});

test('latency over pages has two levels, one access of memory apart', async () => {
  const at = (pages: number): Promise<number> => medianNs({ pages, warmUp: 10_000 });
  const [hit, missed, many] = [await at(16), await at(2 ** 12), await at(2 ** 20)];
  expect(hit).toBe(await at(1));
  expect(missed - hit).toBe(CLIO.memoryNs.value);
  expect(many).toBe(missed);
});

test('a page fault costs three cycles more than a miss, if pages are there in time', async () => {
  const load = { pages: 500, operations: 500, isInTurn: true };
  const missed = await medianNs({ ...load, pauseNs: 30_000 });
  const system = new ClioSystem({ seed: 1, isOnDemand: true });
  expect((await medianNs({ ...load, pauseNs: 30_000 }, system)) - missed).toBe(12);
  expect(system.freePagesMissed).toBe(0);
  const hurried = new ClioSystem({ seed: 1, isOnDemand: true });
  expect(await medianNs(load, hurried)).toBeGreaterThan(2 * missed);
  expect(hurried.freePagesMissed).toBeGreaterThan(0);
});

test('goodput reaches what the port gives to 1 KiB requests', async () => {
  const load = { bytes: 1_024, clients: 8, active: 8, warmUp: 100 };
  for (const isWrite of [false, true]) {
    const { goodputGbps } = await run({ ...load, isWrite, window: 16 });
    expect(goodputGbps).toBeCloseTo(9.4, 1);
    expect((await run({ ...load, isWrite })).goodputGbps).toBeCloseTo(9.4, 1);
  }
});

test('the projected ASIC reads faster than RDMA and writes slower', async () => {
  const rdma = async (isWrite: boolean): Promise<number> => {
    const system = new RdmaSystem({ seed: 1, sizes: LOCAL_CARD });
    return quantile((await play(system, { ...base, isWrite })).latenciesNs, 0.5);
  };
  const asic = (isWrite: boolean): Promise<number> =>
    medianNs({ isWrite }, new ClioSystem({ seed: 1, isAsic: true }));
  expect(await asic(false)).toBeLessThan(await rdma(false));
  expect(await asic(true)).toBeGreaterThan(await rdma(true));
});

test('what was spent by station makes up the latency', async () => {
  const system = new ClioSystem({ seed: 1 });
  const { latenciesNs } = await run({ bytes: 1_024, pages: 100 }, system);
  const spentNs = system.spentNs.reduce((sum, ns) => sum + ns, 0) / system.packets;
  // Each station rounds up to whole nanoseconds.
  expect(Math.abs(spentNs - mean(latenciesNs))).toBeLessThan(15);
});
