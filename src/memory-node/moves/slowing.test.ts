import { expect, test } from 'vitest';
import { SimulatedWorld } from '../../runtime/simulated/world.js';
import { Slowing } from './slowing.js';

function makeSlowing() {
  const world = new SimulatedWorld({ seed: 1, immediate: setImmediate });
  const { clock, timers } = world.program(world.machine('a'), 'node').runtime;
  const pauses: { from: number; to: number }[] = [];
  let last: Promise<unknown> = Promise.resolve();
  const slowing = new Slowing({
    clock,
    timers,
    alone: (work) => {
      const done = last.then(work);
      last = done;
      return done;
    },
    pause: () => pauses.push({ from: clock.now(), to: Number.POSITIVE_INFINITY }),
    resume: () => {
      const pause = pauses.at(-1);
      if (pause !== undefined) pause.to = clock.now();
    },
  });
  const paused = (from: number, to: number) =>
    pauses.reduce(
      (sum, one) => sum + Math.max(0, Math.min(to, one.to) - Math.max(from, one.from)),
      0,
    );
  return { world, clock, slowing, pauses, paused };
}

test.each([0.5, 0.8, 0.95])('all wait for %s of the time, and never for long', async (share) => {
  const { world, clock, slowing, pauses, paused } = makeSlowing();
  slowing.set(share);
  const began = clock.now();
  await world.run({ forMs: 10_000 });
  expect(paused(began, clock.now()) / (clock.now() - began)).toBeCloseTo(share, 1);
  expect(Math.max(...pauses.slice(0, -1).map(({ from, to }) => to - from))).toBeLessThan(100);
  const ended = slowing.end();
  await world.run({ forMs: 1_000 });
  await ended;
  const count = pauses.length;
  await world.run({ forMs: 1_000 });
  expect([pauses.length, pauses.at(-1)?.to]).not.toContain(Number.POSITIVE_INFINITY);
  expect(pauses.length).toBe(count);
});

test('what was never begun has nothing to end', async () => {
  const { slowing, pauses } = makeSlowing();
  slowing.set(0);
  await slowing.end();
  expect(pauses).toEqual([]);
});
