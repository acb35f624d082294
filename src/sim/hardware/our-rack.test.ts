import { expect, test } from 'vitest';
import { NETWORK } from './constants.js';
import { type Load, play, quantile } from './load.js';
import { OUR_WORK, OurRack } from './our-rack.js';

const base: Load = { seed: 1, operations: 100, clients: 1, active: 1, bytes: 16, isWrite: false };

async function medianNs(rack: OurRack, load: Partial<Load> = {}): Promise<number> {
  return quantile((await play(rack, { ...base, ...load })).latenciesNs, 0.5);
}

test('a lone read takes one trip there and back, and the time of its bytes', async () => {
  const rack = await OurRack.start({ seed: 1, clients: 1, pages: 4 });
  const tripNs = 2 * NETWORK.oneWayNs.value;
  const shortNs = await medianNs(rack);
  expect(shortNs).toBeGreaterThan(tripNs);
  expect(shortNs).toBeLessThan(tripNs + 250);
  // A KiB goes over a wire of 40 and one of 10 Gbit/s.
  const longNs = await medianNs(rack, { bytes: 1_024 });
  expect(longNs - shortNs).toBeGreaterThan(1_000);
  expect(longNs - shortNs).toBeLessThan(1_050);
});

test('it takes as long beside many clients, and the same for the same seed', async () => {
  const many = { clients: 40, active: 4, operations: 400 };
  const times: Float64Array[] = [];
  for (let i = 0; i < 2; i++) {
    const rack = await OurRack.start({ seed: 1, clients: 40, pages: 4 });
    times.push((await play(rack, { ...base, ...many })).latenciesNs);
  }
  expect(times[1]).toEqual(times[0]);
  const alone = await OurRack.start({ seed: 1, clients: 1, pages: 4 });
  const ratio = quantile(times[0] as Float64Array, 0.5) / (await medianNs(alone));
  expect(ratio).toBeCloseTo(1, 1);
});

test('processor time is added at either side', async () => {
  const free = await medianNs(await OurRack.start({ seed: 1, clients: 1, pages: 4 }));
  const workNs = OUR_WORK.datagramNs.value + OUR_WORK.partNs.value;
  for (const [side, sides] of [
    [{ clientWork: true }, 1],
    [{ nodeWork: true }, 1],
    [{ clientWork: true, nodeWork: true }, 2],
  ] as const) {
    const rack = await OurRack.start({ seed: 1, clients: 1, pages: 4, ...side });
    expect((await medianNs(rack)) - free).toBe(sides * workNs);
  }
});

test('many at once fill the link, where processors take no time', async () => {
  const rack = await OurRack.start({ seed: 1, clients: 4, pages: 4 });
  const load = { clients: 4, active: 4, window: 16, bytes: 1_024, warmUp: 500, operations: 1_500 };
  const { goodputGbps } = await play(rack, { ...base, ...load });
  expect(goodputGbps).toBeGreaterThan(8.5);
  expect(goodputGbps).toBeLessThan(10);
});
