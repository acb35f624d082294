import { expect, test } from 'vitest';
import { Prng } from '../base/prng.js';
import { sharingFaults } from './planted.js';
import { RateLimit, type RateLimits } from './rate-limit.js';
import { failsWith } from './testing/fails-with.js';

function rigOf(limits: RateLimits) {
  const clock = { ms: 12_345, now: () => clock.ms };
  const limit = new RateLimit(clock);
  limit.set(limits);
  return { clock, limit };
}

test('nothing is limited that no limit was given for', () => {
  const { limit } = rigOf({});
  for (let i = 0; i < 1_000; i++) limit.take(2 ** 30);
  expect(limit.waitMs()).toBe(0);
});

function burstThenRate(limits: RateLimits): void {
  const { clock, limit } = rigOf(limits);
  let done = 0;
  for (let i = 0; i < 3_000; i++, clock.ms++) {
    while (limit.waitMs() === 0 && done < 4_000) {
      limit.take(1_000);
      done += 1;
    }
  }
  expect(done).toBeGreaterThanOrEqual(3_000);
  expect(done).toBeLessThan(3_000 + 100 + 2);
}

test.each([{ bytesPerS: 1_000_000 }, { requestsPerS: 1_000 }])(
  'a burst goes at once, then as much as is allowed: %o',
  burstThenRate,
);

test('what waited is not held up by a rate of before', otherRate);

function otherRate(): void {
  const { limit } = rigOf({ bytesPerS: 1_000_000_000 });
  limit.take(100_000_000);
  limit.set({ bytesPerS: 1_000_000 });
  expect(limit.waitMs()).toBe(0);
  limit.take(1_000);
  expect(limit.waitMs()).toBeCloseTo(1);
  limit.set({});
  expect(limit.waitMs()).toBe(0);
}

test('at no time more goes than a burst, a request and the rate, whatever comes when', atNoTime);

function atNoTime(): void {
  for (let seed = 1; seed <= 50; seed++) {
    const prng = new Prng(seed);
    const bytesPerS = 1_000_000 * (1 + prng.below(20));
    const requestsPerS = 100 * (1 + prng.below(50));
    const { clock, limit } = rigOf({ bytesPerS, requestsPerS });
    const went: { ms: number; bytes: number }[] = [];
    for (let i = 0; i < 400; i++) {
      const bytes = 512 * (1 + prng.below(128));
      const waitMs = limit.waitMs();
      if (waitMs === 0) {
        limit.take(bytes);
        went.push({ ms: clock.ms, bytes });
      }
      // A machine that slept has no more than one that had nothing to do.
      clock.ms += prng.pick([0, 0, waitMs, 0.1, 3, prng.chance(10_000) ? 1e7 : 1]);
    }
    let above = -Infinity;
    for (let from = 0; from < went.length; from += 7) {
      let bytes = 0;
      for (let to = from; to < went.length; to++) {
        bytes += went[to]?.bytes ?? 0;
        const ms = (went[to]?.ms ?? 0) - (went[from]?.ms ?? 0) + 100;
        const bytesAbove = bytes - (ms * bytesPerS) / 1000 - 65_536;
        const requestsAbove = to - from - (ms * requestsPerS) / 1000;
        above = Math.max(above, bytesAbove, requestsAbove);
      }
    }
    expect(above, `seed ${seed}`).toBeLessThan(0.1);
  }
}

test.each([
  ['savedUp', atNoTime],
  ['debtKept', otherRate],
  ['requestsFree', () => burstThenRate({ requestsPerS: 1_000 })],
] as const)('%s is found', async (bug, check) => {
  expect(await failsWith(sharingFaults, bug, check)).toBe(true);
});
