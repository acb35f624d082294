import { afterEach, expect, test } from 'vitest';
import type { FrameIndex } from '../../base/brands.js';
import { nextGeneration } from '../../disk/slots.js';
import { memoryNodeFaults } from '../planted.js';
import { FakeSlots } from '../testing/fake-slots.js';
import { Quiescence } from './quiescence.js';

afterEach(() => {
  memoryNodeFaults.noQuarantine = false;
  memoryNodeFaults.stoppedSlotCleared = false;
});

function frames(...numbers: number[]): FrameIndex[] {
  return numbers as FrameIndex[];
}

/** What was called back, in order. */
function watch(fake: FakeSlots, generation: number, timeoutMs: number) {
  const said: boolean[] = [];
  fake.quiescence.whenPassed(generation, timeoutMs, (passed) => said.push(passed));
  return said;
}

test('without threads in a step nothing waits, and there is no timer', () => {
  const fake = new FakeSlots();
  const given: number[] = [];
  fake.quiescence.rest(frames(1, 2), (frame) => given.push(frame));
  expect([given, watch(fake, fake.quiescence.raise(), 100)]).toEqual([[1, 2], [true]]);
  expect(fake.time.timers).toBe(0);
  fake.attach('a');
  fake.quiescence.rest(frames(3), (frame) => given.push(frame));
  expect([given, watch(fake, fake.quiescence.raise(), 100)]).toEqual([[1, 2, 3], [true]]);
  expect([fake.quiescence.framesResting, fake.quiescence.slotsHeldBack]).toEqual([0, 0]);
});

test('a step that began before is waited for, one that began after is not', () => {
  const fake = new FakeSlots();
  const [old, young] = [fake.attach('a'), fake.attach('b')];
  fake.begin(old);
  const generation = fake.quiescence.raise();
  fake.begin(young);
  const said = watch(fake, generation, 100);
  expect([fake.quiescence.stuck(generation), fake.quiescence.slotsHeldBack]).toEqual([[old], 1]);
  fake.time.pass(50);
  expect(said).toEqual([]);
  fake.end(old);
  fake.time.pass(100);
  expect([said, fake.quiescence.stuck(generation)]).toEqual([[true], []]);
});

test('who does not pass in time is told of, and the wait can be begun anew', () => {
  const fake = new FakeSlots();
  const slot = fake.attach('stopped');
  fake.begin(slot);
  const generation = fake.quiescence.raise();
  const said = watch(fake, generation, 100);
  fake.time.pass(99);
  expect(said).toEqual([]);
  fake.time.pass(2);
  expect(said).toEqual([false]);
  const again = watch(fake, generation, Number.POSITIVE_INFINITY);
  fake.time.pass(1e7);
  expect(again).toEqual([]);
  fake.begin(slot);
  fake.time.pass(200);
  expect(again).toEqual([true]);
});

test('after a pause of the node itself the threads get a moment more', () => {
  const fake = new FakeSlots();
  const slot = fake.attach('a');
  fake.begin(slot);
  const generation = fake.quiescence.raise();
  const said = watch(fake, generation, 100);
  fake.time.pass(100, 10_000);
  expect(said).toEqual([]);
  fake.end(slot);
  fake.time.pass(100);
  expect(said).toEqual([true]);
});

test('the end of its process frees what a step held', () => {
  const fake = new FakeSlots();
  const slot = fake.attach('a');
  fake.begin(slot);
  fake.publish(slot, 3);
  const given: number[] = [];
  const said = watch(fake, fake.quiescence.raise(), 1e6);
  fake.time.pass(10_000);
  expect(said).toEqual([]);
  fake.quiescence.rest(frames(2, 3), (frame) => given.push(frame));
  fake.time.pass(10_000);
  // On a frame that nobody has it holds up no change.
  expect([given, said]).toEqual([[2], [true]]);
  expect([fake.quiescence.framesResting, fake.quiescence.slotsHeldBack]).toEqual([1, 1]);
  fake.processes.ended.add('here/a');
  fake.time.pass(500);
  expect([given, fake.quiescence.slotsAttached]).toEqual([[2, 3], 0]);
});

test('the end of its process ends a wait for its step', () => {
  const fake = new FakeSlots();
  fake.begin(fake.attach('a'));
  const said = watch(fake, fake.quiescence.raise(), 1e6);
  fake.time.pass(10_000);
  fake.processes.ended.add('here/a');
  fake.time.pass(500);
  expect([said, fake.quiescence.slotsAttached]).toEqual([[true], 0]);
});

test('who works on a frame that rests has passed, until it goes on with another', () => {
  const fake = new FakeSlots();
  const slot = fake.attach('stopped');
  fake.begin(slot);
  fake.publish(slot, 3);
  fake.quiescence.rest(frames(3), () => {});
  const generation = fake.quiescence.raise();
  expect(fake.quiescence.hasPassed(generation)).toBe(true);
  expect(fake.quiescence.stuck(generation)).toEqual([]);
  expect(watch(fake, generation, 100)).toEqual([true]);
  fake.publish(slot, 4);
  expect(fake.quiescence.stuck(generation)).toEqual([slot]);
});

test('a frame rests while a step says that it works on it', () => {
  const fake = new FakeSlots();
  const slot = fake.attach('a');
  fake.begin(slot);
  fake.publish(slot, 3, 5);
  const { quiescence } = fake;
  expect([...quiescence.heldFrames()]).toEqual([3]);
  expect(quiescence.published(slot)).toMatchObject({ entry: 5, frame: 3 });
  const given: number[] = [];
  quiescence.rest(frames(3), (frame) => given.push(frame));
  fake.time.pass(1e6);
  expect(given).toEqual([]);
  // The same step goes on with another page.
  fake.publish(slot, 4);
  fake.time.pass(500);
  expect([given, fake.time.timers]).toEqual([[3], 1]);
});

test('what a thread writes into its slot is never taken for an index', () => {
  const fake = new FakeSlots();
  const slot = fake.attach('a');
  fake.begin(slot);
  for (const wrong of [-2, 2 ** 31 - 2, fake.table.facts.frames, -(2 ** 31)]) {
    fake.publish(slot, wrong, wrong === -2 ? -5 : fake.table.pages.entries);
    expect(fake.quiescence.published(slot)).toMatchObject({ entry: -1, frame: -1 });
    expect(fake.quiescence.heldFrames().size).toBe(0);
  }
  fake.begin(slot, fake.table.generation + 10);
  expect(fake.quiescence.hasPassed(fake.quiescence.raise())).toBe(false);
  expect(fake.quiescence.published(SLOT_OF_NOBODY)).toBeUndefined();
});

const SLOT_OF_NOBODY = 1023;

test('nobody passes by going round, and holds up no one else', () => {
  const fake = new FakeSlots();
  const [old, other] = [fake.attach('stopped'), fake.attach('b')];
  const { slots, time } = fake;
  const table = { pages: fake.table.pages, facts: fake.table.facts, generation: 1 };
  const raiseGeneration = (): number => {
    table.generation = nextGeneration(table.generation);
    return table.generation;
  };
  const memory = { meanwhile: (): void => {} };
  const quiescence = new Quiescence({
    ...{ slots, clock: time, timers: time, memory },
    table: Object.assign(table, { raiseGeneration }),
  });
  const BEGUN = 5;
  fake.begin(old, BEGUN);
  // Looked at twice in 2^31 raises, as it would be at each.
  for (const generation of [BEGUN + 2 ** 30 - 2, BEGUN + 2 ** 31 - 3, BEGUN - 3]) {
    table.generation = generation | 0;
    for (let i = 0; i < 10; i++) {
      const wanted = quiescence.raise();
      expect(wanted).toBe(table.generation);
      fake.begin(other, wanted);
      expect(quiescence.stuck(wanted)).toEqual([old]);
    }
  }
  fake.begin(old, table.generation);
  expect(quiescence.hasPassed(table.generation)).toBe(true);
});

test('each planted fault gives a frame on under a step', () => {
  const givenWith = (): number[] => {
    const fake = new FakeSlots();
    const slot = fake.attach('stopped');
    fake.begin(slot);
    fake.publish(slot, 3);
    const given: number[] = [];
    fake.quiescence.rest(frames(3), (frame) => given.push(frame));
    fake.time.pass(1e6);
    return given;
  };
  expect(givenWith()).toEqual([]);
  memoryNodeFaults.noQuarantine = true;
  expect(givenWith()).toEqual([3]);
  memoryNodeFaults.noQuarantine = false;
  memoryNodeFaults.stoppedSlotCleared = true;
  expect(givenWith()).toEqual([3]);
});
