import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { ENTRY_WORDS } from '../../disk/page-table.js';
import { SLOT_ENTRY, SLOT_FRAME, SLOT_GENERATION, slotWord } from '../../disk/slots.js';
import { NodeMemory, OneSidedNode, REVOKE_MS } from '../testing/one-sided-node.js';

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
  return { node, publish, settle, entryOf };
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
