import { afterEach, expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { SLOT_FRAME, SLOTS_MAX, slotWord } from '../../disk/slots.js';
import { memoryNodeFaults } from '../planted.js';
import { FakeSlots } from '../testing/fake-slots.js';

afterEach(() => {
  memoryNodeFaults.stoppedSlotCleared = false;
});

test('a thread that attaches again has its slot again, and nobody else has it', () => {
  const fake = new FakeSlots();
  const first = fake.attach('a', 7);
  fake.begin(first);
  expect([fake.attach('a', 7), fake.attach('a', 8), fake.attach('b', 7)]).toEqual([0, 1, 2]);
  // Not cleared under its thread.
  expect(fake.quiescence.published(first)).toBeDefined();
  fake.restart();
  expect([fake.attach('a', 7), fake.attach('b', 9)]).toEqual([0, 3]);
});

test('a slot is taken back from its thread alone, and only once', () => {
  const fake = new FakeSlots();
  const slot = fake.attach('a', 7);
  fake.begin(slot);
  fake.publish(slot, 3);
  expect([fake.slots.takeBack(slot, 8), fake.slots.takeBack(slot + 1, 7)]).toEqual([false, false]);
  expect([fake.slots.takeBack(-1, 7), fake.slots.takeBack(SLOTS_MAX, 7)]).toEqual([false, false]);
  expect(fake.slots.takeBack(slot, 7)).toBe(true);
  expect([fake.words[slotWord(slot)], fake.words[slotWord(slot) + SLOT_FRAME]]).toEqual([0, 0]);
  // The same again, late: the slot is another thread's by now.
  expect(fake.attach('a', 8)).toBe(slot);
  fake.begin(slot);
  expect(fake.slots.takeBack(slot, 7)).toBe(false);
  expect(fake.quiescence.published(slot)).toBeDefined();
});

test('a slot that is given again says nothing of its last thread', () => {
  const fake = new FakeSlots();
  const slot = fake.attach('a', 7);
  fake.slots.takeBack(slot, 7);
  fake.begin(slot);
  fake.publish(slot, 3);
  expect(fake.attach('b', 1)).toBe(slot);
  expect(fake.quiescence.published(slot)).toBeUndefined();
});

test('who cannot be proved to have ended gets no slot', () => {
  const { slots, processes } = new FakeSlots();
  processes.ended.add('here/gone');
  for (const identity of ['', 'elsewhere/a', 'here/gone', `here/${'x'.repeat(300)}`]) {
    const given = slots.give({ client: 1, token: 1, identity });
    expect(given).toMatchObject({ status: Status.Unsupported });
  }
  expect(slots.taken).toEqual([]);
});

test('slots of ended processes are freed by and by, at a bounded cost', () => {
  const fake = new FakeSlots();
  expect(fake.time.timers).toBe(0);
  for (let i = 0; i < 40; i++) fake.attach(`p${i}`);
  for (let i = 0; i < 40; i += 2) fake.processes.ended.add(`here/p${i}`);
  fake.processes.asked = 0;
  fake.time.pass(5_000);
  expect(fake.processes.asked).toBeLessThanOrEqual(8);
  fake.time.pass(60_000);
  expect(fake.slots.taken).toHaveLength(20);
  for (let i = 0; i < 40; i++) fake.processes.ended.add(`here/p${i}`);
  fake.time.pass(60_000);
  expect([fake.slots.taken.length, fake.time.timers]).toEqual([0, 0]);
});

test('when all slots are taken, one of an ended process is found', () => {
  const fake = new FakeSlots();
  for (let i = 0; i < SLOTS_MAX; i++) fake.attach('a');
  const wish = { client: 1, token: 0, identity: 'here/b' };
  expect(fake.slots.give(wish)).toMatchObject({ status: Status.Busy });
  fake.processes.ended.add('here/a');
  fake.time.pass(100);
  expect(fake.slots.give(wish)).toBe(0);
});

test('a stopped process keeps its slot, which it would not if it were taken for ended', () => {
  for (const planted of [false, true]) {
    memoryNodeFaults.stoppedSlotCleared = planted;
    const fake = new FakeSlots();
    fake.begin(fake.attach('stopped'));
    fake.time.pass(1e9);
    expect(fake.slots.taken).toHaveLength(planted ? 0 : 1);
  }
});
