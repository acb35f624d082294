import { expect, test } from 'vitest';
import { defined } from '../../base/assert.js';
import type { Mapping, Steps } from '../memory.js';
import type { Runtime } from '../runtime.js';
import { type FaultRates, FaultKind, type Knobs, SimulatedWorld } from './world.js';

/** Two processes of one machine, and a memory file that both have mapped. */
function makeWorld(seed: number, knobs: Partial<Knobs>, faults: FaultRates = {}) {
  const world = new SimulatedWorld({ seed, immediate: setImmediate, shake: false, knobs, faults });
  const machine = world.machine('one');
  const [near, far] = [world.program(machine, 'near'), world.program(machine, 'far')];
  const file = far.runtime.memory.create('memrack-test', 4096);
  const theirs = file.map(0, 4096);
  const { memory } = near.runtime;
  const ours = memory.open(far.runtime.memory.nameOf(file.handle), 'write').map(0, 4096);
  return { world, near, far, ours, theirs };
}

const APART = { stepsApartPerMillion: 1_000_000 };
const SPLIT = { splitCopiesPerMillion: 600_000 };

interface Access {
  readonly isFence?: boolean;
  readonly act: () => void;
}

function stepsOf(accesses: readonly Access[], ended: () => void = () => {}): Steps {
  let at = 0;
  return {
    get fencesNext(): boolean {
      return accesses[at]?.isFence === true;
    },
    next(): boolean {
      defined(accesses[at]).act();
      at += 1;
      return at < accesses.length;
    },
    ended,
  };
}

/** Word `first`, then the next one and so on, each stored by an access of its own. */
function counting(words: Int32Array, count: number, value: number): Access[] {
  return Array.from({ length: count }, (_, i) => ({
    isFence: true,
    act: () => void Atomics.store(words, i, value),
  }));
}

/** Calls `look` all the time, each in a turn of its own. */
function watch(runtime: Runtime, look: () => void): void {
  const again = (): void => {
    look();
    runtime.timers.soon(() => void runtime.timers.after(0, again));
  };
  again();
}

/** How many of the first words are new: which parts of the steps somebody else has seen. */
async function partsSeen(
  knobs: Partial<Knobs>,
  start: (runtime: Runtime, s: Steps) => void,
): Promise<Set<number>> {
  const seen = new Set<number>();
  for (let seed = 1; seed <= 12; seed++) {
    const { world, near, far, ours, theirs } = makeWorld(seed, knobs);
    let rounds = 0;
    const round = (): void => {
      rounds += 1;
      if (rounds > 40) return;
      const next = stepsOf(counting(ours.words, 6, rounds), () => {
        near.runtime.timers.after(0, round);
      });
      start(near.runtime, next);
    };
    near.runtime.timers.after(0, round);
    watch(far.runtime, () => {
      const newest = defined(theirs.words[0]);
      seen.add(theirs.words.subarray(0, 6).filter((word) => word === newest).length);
    });
    await world.run({ until: () => rounds > 40, forMs: 60_000 });
  }
  return seen;
}

test('others see every state between two accesses, made at once or in parts', async () => {
  const inPieces = [1, 2, 3, 4, 5, 6];
  const now = (runtime: Runtime, steps: Steps): void => runtime.memory.runNow(steps);
  const later = (runtime: Runtime, steps: Steps): void => runtime.memory.run(steps);
  const sorted = (seen: Set<number>): number[] => [...seen].sort();
  expect(sorted(await partsSeen({}, now))).toEqual([6]);
  expect(sorted(await partsSeen({}, later))).toEqual([6]);
  expect(sorted(await partsSeen(SPLIT, now))).toEqual(inPieces);
  expect(sorted(await partsSeen(APART, later))).toEqual(inPieces);
});

test('in the middle of a step a task acts once, and then its promises come first', async () => {
  let most = 0;
  for (let seed = 1; seed <= 30; seed++) {
    const { world, near, far, ours } = makeWorld(seed, { splitCopiesPerMillion: 1_000_000 });
    let open = 0;
    for (let i = 0; i < 200; i++) {
      far.runtime.timers.after(0, () => {
        open += 1;
        most = Math.max(most, open);
        void Promise.resolve().then(() => {
          open -= 1;
        });
      });
    }
    near.runtime.timers.after(0, () =>
      near.runtime.memory.runNow(stepsOf(counting(ours.words, 9, 1))),
    );
    await world.run();
  }
  expect(most).toBe(1);
});

/** What the other side sees of two copies and a word, each time that it looks. */
async function copiesSeen(seed: number): Promise<string[]> {
  const { world, near, far, ours, theirs } = makeWorld(seed, APART);
  const { memory } = near.runtime;
  const seen: string[] = [];
  let hasEnded = false;
  const bytes = new Uint8Array(64).fill(7);
  const accesses: Access[] = [
    { act: () => memory.copy(ours.bytes, 64, bytes, 0, 64) },
    { act: () => void Atomics.load(ours.words, 0) },
    { act: () => memory.copy(ours.bytes, 256, bytes, 0, 64) },
    { act: () => void Atomics.load(ours.words, 0) },
    { act: () => void Atomics.load(ours.words, 0) },
    { isFence: true, act: () => void Atomics.store(ours.words, 0, 1) },
    { act: () => void Atomics.load(ours.words, 0) },
  ];
  near.runtime.timers.after(0, () => memory.run(stepsOf(accesses, () => (hasEnded = true))));
  const stateOf = (at: number): string => {
    const words = theirs.words.subarray(at / 4, at / 4 + 16).filter((word) => word !== 0).length;
    return words === 0 ? 'old' : words === 16 ? 'new' : 'part';
  };
  watch(far.runtime, () => {
    seen.push(`${stateOf(64)} ${stateOf(256)} ${theirs.words[0] === 1 ? 'fenced' : ''}`);
  });
  await world.run({ until: () => hasEnded });
  return seen;
}

test('what is stored is held back, wholly or in part, but never past a fence', async () => {
  const seen = new Set<string>();
  for (let seed = 1; seed <= 300; seed++) for (const one of await copiesSeen(seed)) seen.add(one);
  for (const state of ['old old ', 'new old ', 'old new ', 'part new ', 'new part ', 'new new ']) {
    expect([...seen], state).toContain(state);
  }
  expect([...seen].filter((one) => one.endsWith('fenced'))).toEqual(['new new fenced']);
});

test('whole words are held back as well', async () => {
  const seen = new Set<string>();
  for (let seed = 1; seed <= 100; seed++) {
    const { world, near, far, ours, theirs } = makeWorld(seed, APART);
    const { memory } = near.runtime;
    const accesses: Access[] = [
      { act: () => memory.copyWords(ours.wide, 8, new BigUint64Array(4).fill(7n), 0, 1) },
      { act: () => void Atomics.load(ours.words, 0) },
      { act: () => void Atomics.load(ours.words, 0) },
      { isFence: true, act: () => void Atomics.store(ours.words, 0, 1) },
      { act: () => void Atomics.load(ours.words, 0) },
    ];
    let hasEnded = false;
    const steps = stepsOf(accesses, () => (hasEnded = true));
    let loads = 0;
    near.runtime.timers.after(0, () => memory.run(steps));
    watch(far.runtime, () => {
      loads += 1;
      seen.add(`${theirs.wide[8]} ${theirs.words[0]}`);
    });
    await world.run({ until: () => hasEnded });
    expect(loads).toBeGreaterThan(0);
  }
  expect([...seen].sort()).toEqual(['0 0', '7 0', '7 1']);
});

test('stores to one place keep their order, and the thread sees its own', async () => {
  for (let seed = 1; seed <= 100; seed++) {
    const { world, near, ours, theirs } = makeWorld(seed, APART);
    const { memory } = near.runtime;
    const into = new Uint8Array(16);
    const store = (value: number, at: number): Access => {
      const act = (): void => memory.copy(ours.bytes, at, new Uint8Array(16).fill(value), 0, 16);
      return { act };
    };
    const read = { act: () => memory.copy(into, 0, ours.bytes, 8, 16) };
    let hasEnded = false;
    const steps = stepsOf([store(1, 8), store(2, 0), store(3, 16), read], () => (hasEnded = true));
    near.runtime.timers.after(0, () => memory.run(steps));
    await world.run({ until: () => hasEnded });
    expect([...theirs.bytes.subarray(0, 32)].join('')).toBe('2'.repeat(16) + '3'.repeat(16));
    expect([...into].join('')).toBe('2'.repeat(8) + '3'.repeat(8));
  }
});

/** Begins a long step and lets the world go until it is somewhere in the middle. */
async function inTheMiddle(seed: number, faults: FaultRates = {}) {
  const parts = makeWorld(seed, APART, faults);
  const { world, near, ours, theirs } = parts;
  const told: string[] = [];
  const steps = stepsOf(counting(ours.words, 40, 1), () => told.push('ended'));
  near.runtime.timers.after(0, () => {
    near.runtime.timers.after(0, () => void told.push('timer'));
    near.runtime.memory.run(steps);
    near.runtime.timers.soon(() => void told.push('soon'));
  });
  await world.run({ until: () => progress(theirs) > 5 });
  expect(world.isInStep(near)).toBe(true);
  expect(told).toEqual([]);
  return { ...parts, told };
}

function progress(mapping: Mapping): number {
  return mapping.words.subarray(0, 40).filter((word) => word === 1).length;
}

test('a process that is paused in the middle stays there, and goes on', async () => {
  const { world, near, theirs, told } = await inTheMiddle(1);
  world.pause(near);
  const before = progress(theirs);
  expect(before).toBeLessThan(40);
  await world.run({ forMs: 300_000 });
  expect(progress(theirs)).toBe(before);
  expect(world.isInStep(near)).toBe(true);
  world.resume(near);
  await world.run({ forMs: 1_000 });
  expect(progress(theirs)).toBe(40);
  // Nothing else of the thread came in between.
  expect(told[0]).toBe('ended');
  expect([...told].sort()).toEqual(['ended', 'soon', 'timer']);
  expect(world.isInStep(near)).toBe(false);
});

test('a process that is killed in the middle never goes on', async () => {
  const { world, near, theirs, told } = await inTheMiddle(2);
  world.kill(near);
  const before = progress(theirs);
  await world.run({ forMs: 10_000 });
  expect(progress(theirs)).toBe(before);
  expect(told).toEqual([]);
  expect(world.isInStep(near)).toBe(false);
});

test('a thread that is stopped in the middle goes on by itself, or when all is calm', async () => {
  const { world, near, theirs, told } = await inTheMiddle(3);
  world.faults.setRate(FaultKind.StepStopped, 1_000_000);
  await world.run({ until: () => world.faults.injected[FaultKind.StepStopped] > 0 });
  world.faults.setRate(FaultKind.StepStopped, 0);
  expect(near.paused).toBe(false);
  const before = progress(theirs);
  expect(before).toBeLessThan(40);
  world.calm();
  await world.run({ until: () => told.length === 3, forMs: 100 });
  expect(progress(theirs)).toBe(40);
  const other = await inTheMiddle(4, { [FaultKind.StepStopped]: 700_000 });
  await other.world.run({ until: () => other.told.length === 3, forMs: 600_000 });
  expect(other.told[0]).toBe('ended');
  expect(other.world.faults.injected[FaultKind.StepStopped]).toBeGreaterThan(0);
});

test('steps of one thread at several nodes are made one after the other', async () => {
  const { world, near, ours } = makeWorld(5, APART);
  const told: string[] = [];
  const act = (what: string): Access => ({ act: () => void told.push(what) });
  near.runtime.timers.after(0, () => {
    const { memory } = near.runtime;
    memory.run(stepsOf([act('a1'), act('a2')], () => told.push('a ended')));
    memory.run(stepsOf([act('b1'), act('b2')], () => told.push('b ended')));
    // Neither has begun.
    memory.runNow(stepsOf(counting(ours.words, 2, 1), () => told.push('now')));
  });
  await world.run();
  expect(told).toEqual(['now', 'a1', 'a2', 'a ended', 'b1', 'b2', 'b ended']);
});
