import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { ENTRY_WORDS, RIGHTS_MASK } from '../../disk/page-table.js';
import { SLOT_ENTRY, SLOT_FRAME, SLOT_GENERATION, slotWord } from '../../disk/slots.js';
import { NodeMemory, OneSidedNode, REVOKE_MS } from '../testing/one-sided-node.js';
import { type Access, runStep, type Step } from '../testing/one-sided-thread.js';
import { NO_PARENT } from '../translate/window-tree.js';

const SPACE = 7;
const A = 16384;
const B = A + 1;

/** A node with two pages that have frames, and a slot. */
function start() {
  const memory = new NodeMemory(6);
  const hooks = { meanwhile: () => {}, beforeStore: () => {} };
  const node = new OneSidedNode(memory, hooks, new Prng(1));
  for (const page of [A, B]) {
    node.allocate(page);
    node.touch(page);
  }
  const slot = node.slots.give({ client: 1, token: 1, identity: 'here/a' });
  if (typeof slot !== 'number') throw new Error(slot.reason);
  const words = memory.slots.words;
  const publish = (generation: number, entry: number, frame: number): void => {
    words[slotWord(slot) + SLOT_GENERATION] = generation;
    words[slotWord(slot) + SLOT_ENTRY] = entry + 1;
    words[slotWord(slot) + SLOT_FRAME] = frame + 1;
  };
  const settle = async (): Promise<boolean | undefined> => {
    let settled: boolean | undefined;
    void node.revocation.settled().then((is) => {
      settled = is;
    });
    for (let i = 0; i < 20; i++) {
      memory.time.pass(REVOKE_MS / 4);
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    }
    return settled;
  };
  const entryOf = (page: number): number => node.table.pages.find(SPACE, page) / ENTRY_WORDS;
  return { memory, node, slot, publish, settle, entryOf };
}

test('the page is found by its frame, where the entry that is named is another one', async () => {
  const { node, publish, settle, entryOf } = start();
  const [a, b] = [node.frameOf(A), node.frameOf(B)];
  // The thread was stopped between its two stores, and what it stored to A may be on its way.
  publish(node.table.generation, entryOf(B), a);
  expect(await settle()).toBe(true);
  expect([node.frameOf(A) === a, node.frameOf(B)]).toEqual([false, b]);
  expect(node.revocation.pagesCopied).toBe(1);
});

test('nonsense in a slot, and frames of no page, cost nothing', async () => {
  const { node, publish, settle } = start();
  const generation = node.table.generation;
  for (const [entry, frame] of [
    [-1, -1],
    [2 ** 30, 5],
    [-7, -9],
    [0, 2 ** 30],
    [3, 4],
  ] as const) {
    publish(generation, entry, frame);
    expect(await settle()).toBe(true);
  }
  expect(node.revocation).toMatchObject({ pagesCopied: 0, unsettled: 0, waiting: 0 });
});

test('a slot that says something else all the time holds nobody up', async () => {
  const { node, publish, entryOf, memory } = start();
  let settled: boolean | undefined;
  const generation = node.table.generation;
  publish(generation, entryOf(A), node.frameOf(A));
  void node.revocation.settled().then((is) => {
    settled = is;
  });
  for (let i = 0; i < 200 && settled === undefined; i++) {
    const page = i % 2 === 0 ? A : B;
    publish(generation, entryOf(page), node.frameOf(page));
    memory.time.pass(2);
    node.clean();
    for (let turn = 0; turn < 5; turn++) await Promise.resolve();
  }
  expect(settled).toBe(true);
  expect(node.revocation.pagesCopied).toBeLessThanOrEqual(1);
});

test('a thread that was cut off once holds up nobody again', async () => {
  const { node, publish, settle, entryOf } = start();
  publish(node.table.generation, entryOf(A), node.frameOf(A));
  expect(await settle()).toBe(true);
  let settled: boolean | undefined;
  void node.revocation.settled().then((is) => {
    settled = is;
  });
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  expect([settled, node.revocation.pagesCopied]).toEqual([true, 1]);
  // It goes on, and is stopped again.
  publish(node.table.generation - 1, entryOf(B), node.frameOf(B));
  expect(await settle()).toBe(true);
  expect(node.revocation.pagesCopied).toBe(2);
});

test('a frame that was published too late is no way around a closed window', async () => {
  const stops = 20;
  for (let found = 0; found < stops; found++) {
    for (let looked = found; looked < stops; looked++) {
      const { node, memory, slot, settle } = start();
      const range = { space: SPACE, rights: RIGHTS_MASK, base: 0, end: 2 ** 53 };
      const facts = { opener: 1, space: SPACE, isShared: false, parent: NO_PARENT };
      const window = node.windows.openRange(range, { ...facts, lease: 0, leaseEpoch: 0 });
      const epoch = node.windows.epochOf(window);
      const access: Access = { page: A, kind: 'write', at: [0], value: () => 7n, found: [] };
      const step: Step = { accesses: [access], made: 0, isVerified: undefined };
      const incarnation = node.table.incarnation;
      const of = { window, epoch, space: SPACE, rights: RIGHTS_MASK };
      const stores = (): void => {};
      const thread = runStep({ files: node.files, slot, incarnation, window: of, stores }, step);
      for (let i = 0; i < found; i++) thread.next();
      // Its frame is not published yet, or is: then it rests.
      const frame = node.frameOf(A);
      node.free(A);
      node.clean();
      for (let i = found; i < looked; i++) thread.next();
      node.windows.closeFamily(window);
      expect(await settle()).toBe(true);
      // The same page again, with the same frame, if there is a way.
      node.allocate(A);
      for (let i = 0; i < 6 && node.frameOf(A) !== frame; i++) {
        node.free(A);
        node.allocate(A);
        node.clean();
        node.touch(A);
      }
      while (thread.next().done !== true);
      const word = node.frameOf(A) < 0 ? 0n : memory.wordsOf(node.frameOf(A))[0];
      expect([found, looked, word]).toEqual([found, looked, 0n]);
    }
  }
});
