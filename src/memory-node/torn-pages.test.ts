// A thread that is stopped in a write to a copy of a slab: the copy says which page that was.
import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { SimulatedWorld } from '../runtime/simulated/world.js';
import { ENTRY_WORDS, type PageTable } from '../disk/page-table.js';
import { TORN_PAGES_MAX } from '../wire/limits.js';
import { MessageType, type Request } from '../wire/messages.js';
import { ACCESS_DONE, type Access } from './access/access.js';
import { ALL_PAGES, OwnerBlocks } from './owner-blocks.js';
import { AttachedThread } from './testing/attached-thread.js';
import { Harness, PAGE, type TestWorld, type WorldParts } from './testing/harness.js';
import { hold, LEASE, open, TAKE, take } from './testing/slab-calls.js';

type Pages = Request<typeof MessageType.TornPages>['mended'];

const SPACE_FACTS = { space: TAKE.space, rights: 6 };

function makeWorld(parts: WorldParts): TestWorld {
  const world = new SimulatedWorld({ ...parts, immediate: setImmediate });
  const supervisor = world.program(world.machine('a'), 'supervisor').runtime;
  return { supervisor, run: (options) => world.run(options) };
}

/** A node with a copy, and a thread that is about to write to its page of this number. */
async function stopped(page = 1) {
  const node = await new Harness({ makeWorld, frames: 32, commitPages: 64 }).start();
  // It opens a window of the space, of which there are none where there are copies.
  const thread = await AttachedThread.start(node);
  await hold(node, 1);
  const address = await take(node);
  const window = await open(node, address);
  const at = address + page * PAGE;
  await node.data('write', { ...window, address: at, data: new Uint8Array(8).fill(5) });
  thread.use({ ...window, ...SPACE_FACTS });
  thread.begin(at, 'write', 6n);
  expect(thread.toTheCopy()).toBe(true);
  return { node, address, thread };
}

type Rig = Awaited<ReturnType<typeof stopped>>;

async function torn({ node, address }: Rig, mended: Pages = [], leaseEpoch = 2) {
  const named = { space: TAKE.space, copy: TAKE.copy, lease: LEASE, leaseEpoch, address };
  const reply = await node.call(MessageType.TornPages, { ...named, mended });
  return reply.status === Status.Ok ? reply.pages : reply.status;
}

test('who holds it next is told the page of a thread whose process has ended', async () => {
  const rig = await stopped();
  await rig.thread.process.kill();
  await hold(rig.node, 2);
  expect(await torn(rig, [], 1)).toBe(Status.Stale);
  expect(await torn(rig)).toEqual([{ from: PAGE, bytes: PAGE }]);
  // As long as it is not mended, whatever becomes of the node's process.
  await rig.node.kill();
  await rig.node.start();
  await hold(rig.node, 3);
  const pages = (await torn(rig, [], 3)) as Pages;
  expect(pages).toEqual([{ from: PAGE, bytes: PAGE }]);
  expect(await torn(rig, [{ from: 2 * PAGE, bytes: PAGE }], 3)).toEqual(pages);
  expect(await torn(rig, pages, 3)).toEqual([]);
  expect(await torn(rig, pages, 3)).toEqual([]);
});

test('the process of the node may end before anybody asks', async () => {
  const rig = await stopped();
  await rig.thread.process.kill();
  await rig.node.kill();
  await rig.node.start();
  await hold(rig.node, 2);
  expect(await torn(rig)).toEqual([{ from: PAGE, bytes: PAGE }]);
});

test('a page that is copied away from under a thread that stands still is told, too', async () => {
  const rig = await stopped(0);
  await hold(rig.node, 2);
  expect(rig.node.counters()['pagesCopiedOnRevoke']).toBe(1);
  expect(await torn(rig)).toEqual([{ from: 0, bytes: PAGE }]);
  // It goes on at memory that is nobody's, and ends.
  rig.thread.end();
  expect(await torn(rig, [{ from: 0, bytes: PAGE }])).toEqual([]);
});

test('so is the page that the process of the node was changing itself', async () => {
  const rig = await stopped();
  rig.thread.end();
  const { table, sharing } = rig.node.node;
  const page = rig.address / PAGE + 3;
  const entry = table.pages.find(TAKE.space, page);
  sharing.ownEntry[0] = entry / ENTRY_WORDS + 1;
  await rig.node.kill();
  await rig.node.start();
  await hold(rig.node, 2);
  expect(await torn(rig)).toEqual([{ from: 3 * PAGE, bytes: PAGE }]);
  expect(rig.node.node.sharing.ownEntry[0]).toBe(0);
});

test('nothing is told of a thread that has ended between its steps', async () => {
  const rig = await stopped();
  rig.thread.end();
  await rig.thread.process.kill();
  await hold(rig.node, 2);
  expect(await torn(rig)).toEqual([]);
});

test('of more pages than are kept all are told', () => {
  const block = new Uint8Array(PAGE);
  const access: Pick<Access, 'read' | 'write'> = {
    read: (_entry, from, bytes, into, at) => {
      into.bytes.set(block.subarray(from, from + bytes), at);
    },
    write: (_entry, _slot, _reservation, to, bytes, from, at) => {
      block.set(from.bytes.subarray(at, at + bytes), to);
      return ACCESS_DONE;
    },
  };
  const owners = new OwnerBlocks({ find: () => 0 } as unknown as PageTable, PAGE, access);
  const numbers = Array.from({ length: TORN_PAGES_MAX }, (_, i) => i);
  for (const page of [...numbers, 3]) owners.noteTorn(1, PAGE, page);
  expect(owners.torn(1, PAGE)).toEqual(numbers);
  owners.forgetTorn(1, PAGE, 7);
  owners.noteTorn(1, PAGE, 1000);
  expect(Math.max(...owners.torn(1, PAGE))).toBe(1000);
  owners.noteTorn(1, PAGE, 1001);
  expect(owners.torn(1, PAGE)).toContain(ALL_PAGES);
  owners.noteTorn(1, PAGE, 1002);
  owners.forgetTorn(1, PAGE, ALL_PAGES);
  expect(owners.torn(1, PAGE)).not.toContain(ALL_PAGES);
});
