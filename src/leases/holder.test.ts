import { expect, it } from 'vitest';
import { Status } from '../base/status.js';
import type { Timer } from '../runtime/clock.js';
import { Holder } from './holder.js';

class World {
  nowMs = 0;
  #timers: { atMs: number; run: () => void }[] = [];

  now = (): number => this.nowMs;
  wall = this.now;

  after = (ms: number, run: () => void): Timer => {
    const timer = { atMs: this.nowMs + ms, run };
    this.#timers.push(timer);
    return { cancel: () => (this.#timers = this.#timers.filter((one) => one !== timer)) };
  };

  soon = (run: () => void): void => void this.after(0, run);

  async pass(ms: number): Promise<void> {
    const endMs = this.nowMs + ms;
    for (;;) {
      for (let i = 0; i < 20; i++) await Promise.resolve();
      const next = this.#timers.sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined || next.atMs > endMs) break;
      this.#timers.shift();
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.run();
    }
    this.nowMs = endMs;
  }
}

const DURATION_MS = 300;

type Answer = (asked: number) => Status;

function nodeOf(answer: Answer) {
  const node = {
    asked: 0,
    renew: () => Promise.resolve(answer((node.asked += 1))),
    end: () => Promise.resolve<Status>(Status.Ok),
  };
  return node;
}

async function held(answers: readonly Answer[], durationMs = DURATION_MS) {
  const world = new World();
  const calls: number[] = answers.map(() => 0);
  const ends: number[] = [];
  const nodes = answers.map((answer, i) => ({
    renew: () => Promise.resolve(answer((calls[i] = (calls[i] as number) + 1))),
    end: () => {
      ends.push(i);
      return Promise.resolve<Status>(Status.Ok);
    },
  }));
  const lostReason = (why: string): string => why;
  const controllerAnswers = (): Promise<boolean> => Promise.resolve(false);
  const clock = world;
  const parts = { clock, timers: world, durationMs, nodes };
  const holder = new Holder({ ...parts, lostReason, controllerAnswers });
  return { world, holder, calls, ends, isHeld: await holder.begin() };
}

const ok = (): Status => Status.Ok;
const away = (): Status => Status.Unavailable;

it('renews three times per duration, at every node, for ever', async () => {
  const { world, holder, calls, isHeld } = await held([ok, ok]);
  expect(isHeld).toBe(true);
  await world.pass(10 * DURATION_MS + 1);
  expect(calls).toEqual([31, 31]);
  expect(holder.isHeld).toBe(true);
  expect(holder.lost.aborted).toBe(false);
});

it('is lost as soon as one node says that it is not its any more', async () => {
  const { world, holder } = await held([ok, (asked) => (asked < 3 ? Status.Ok : Status.Stale)]);
  await world.pass(DURATION_MS / 3 + 1);
  expect(holder.lost.aborted).toBe(false);
  await world.pass(DURATION_MS / 3);
  expect(holder.lost.aborted).toBe(true);
  expect((holder.lost as { reason?: unknown }).reason).toContain('another holder');
});

it('goes on while one node can be reached', async () => {
  const { world, holder } = await held([away, ok, away]);
  await world.pass(20 * DURATION_MS);
  expect(holder.isHeld).toBe(true);
});

it('is lost when no node has confirmed it for its duration, counted from the sending', async () => {
  const { world, holder } = await held([(asked) => (asked <= 2 ? Status.Ok : Status.Timeout)]);
  // The last confirmed one was sent after a third.
  await world.pass(DURATION_MS + DURATION_MS / 3 - 1);
  expect(holder.isHeld).toBe(true);
  await world.pass(2);
  expect(holder.isHeld).toBe(false);
  expect(holder.lost.aborted).toBe(true);
});

it('is not held after a long standstill, before any timer has run', async () => {
  const { world, holder } = await held([ok]);
  world.nowMs += 60_000;
  expect(holder.isHeld).toBe(false);
  expect(holder.lost.aborted).toBe(true);
});

it('does not begin where no node confirms it', async () => {
  expect((await held([away, away])).isHeld).toBe(false);
  const { holder, isHeld } = await held([ok, () => Status.Stale]);
  expect(isHeld).toBe(false);
  expect(holder.lost.aborted).toBe(true);
});

it('ends it everywhere, and renews no more, when it is released', async () => {
  const { world, holder, calls, ends } = await held([ok, away, ok]);
  await holder.release(100);
  await world.pass(10 * DURATION_MS);
  expect(ends).toEqual([0, 1, 2]);
  expect(calls).toEqual([1, 1, 1]);
  expect(holder.isHeld).toBe(false);
  expect(holder.lost.aborted).toBe(false);
});

it('of a long lease asks a node that did not answer every second, and no other', async () => {
  const longMs = 60_000;
  const { world, calls } = await held([ok, (asked) => (asked < 5 ? away() : Status.Ok)], longMs);
  await world.pass(10_000);
  expect(calls).toEqual([1, 5]);
  await world.pass(12_000);
  expect(calls).toEqual([2, 6]);
});

it('renews at a node that is added, and is lost when that says so', async () => {
  const { world, holder } = await held([ok]);
  const added = nodeOf((asked) => (asked < 3 ? Status.Ok : Status.Stale));
  await holder.add(added);
  expect(added.asked).toBe(1);
  // Of one that is there it is one renewal more.
  await holder.add(added);
  expect(added.asked).toBe(2);
  expect(holder.isHeld).toBe(true);
  await world.pass(DURATION_MS / 3 + 1);
  expect(holder.lost.aborted).toBe(true);
});

it('counts a node no more that was removed, whatever it answers yet', async () => {
  const { world, holder, calls } = await held([ok]);
  const late: ((status: Status) => void)[] = [];
  const answer = () => new Promise<Status>((resolve) => late.push(resolve));
  const slow = { renew: answer, end: () => Promise.resolve<Status>(Status.Ok) };
  void holder.add(slow);
  await world.pass(1);
  holder.remove(slow);
  for (const answered of late) answered(Status.Stale);
  await world.pass(DURATION_MS);
  expect([holder.isHeld, late.length, calls]).toEqual([true, 1, [4]]);
  // Nobody else has confirmed it for so long.
  const alone = await held([(asked) => (asked < 2 ? Status.Ok : Status.Timeout)]);
  const other = nodeOf(ok);
  await alone.holder.add(other);
  await alone.world.pass(2 * DURATION_MS);
  expect(alone.holder.isHeld).toBe(true);
  alone.holder.remove(other);
  expect(alone.holder.isHeld).toBe(false);
  expect(alone.holder.lost.aborted).toBe(true);
});
