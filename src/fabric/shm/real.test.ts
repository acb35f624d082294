import { getHeapStatistics } from 'node:v8';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { createRuntime } from '../../runtime/node/create-runtime.js';
import { createEndpoint } from '../endpoint.js';
import type { Window } from '../link.js';
import { PAGE, SharedNode, SPACE } from '../testing/shared-node.js';
import { ShmLink } from './shm-link.js';

const runtime = createRuntime();
const node = new SharedNode(runtime);
const server = createEndpoint(runtime, { memoryId: node.memoryId });
const client = createEndpoint(runtime);
const bytes = new Uint8Array(4096).fill(7);
let link: ShmLink;
let window: Window;

beforeAll(async () => {
  node.page(1);
  node.serve(server);
  const { address } = await server.listen('tcp://127.0.0.1:0');
  link = ShmLink.open({ runtime, link: client.link(address, node.memoryId) });
  const opened = await link.openWindow(SPACE, 5000);
  if (typeof opened !== 'object') throw new Error(`no window: ${opened}`);
  window = opened;
  expect(await link.attach(5000)).toBeUndefined();
});

afterAll(async () => {
  await client.close();
  await server.close();
});

/** Growth of the heap per operation, in the best of many rounds. */
async function growth(round: () => Promise<void> | void, operations: number): Promise<number> {
  let least = Infinity;
  for (let i = 0; i < 40 && least >= 12; i++) {
    const before = getHeapStatistics().used_heap_size;
    await round();
    const grown = getHeapStatistics().used_heap_size - before;
    // A collection in between makes it less; then it says nothing.
    if (grown >= 0) least = Math.min(least, grown / operations);
  }
  return least;
}

test('a read or write at once makes no object', async () => {
  let bad = 0;
  const round = (): void => {
    for (let i = 0; i < 10_000; i++) {
      if (link.readNow(window, PAGE + 64, bytes, 0, 64) !== Status.Ok) bad++;
      if (link.writeNow(window, PAGE + 64, bytes, 0, 64) !== Status.Ok) bad++;
    }
  };
  expect(await growth(round, 20_000)).toBeLessThan(12);
  expect(bad).toBe(0);
}, 60_000);

/** Keeps 256 in flight until all have ended. */
function pipeline(total: number): Promise<void> {
  return new Promise((resolve) => {
    let started = 0;
    let ended = 0;
    const deadline = runtime.clock.now() + 60_000;
    const sink = {
      completed(): void {
        ended++;
        if (started < total) start();
        else if (ended === total) resolve();
      },
    };
    function start(): void {
      const at = PAGE + ((started * 64) & 0xfff);
      if (++started % 2 === 0) link.read(window, at, bytes, 0, 64, sink, started, deadline);
      else link.write(window, at, bytes, 0, 64, sink, started, deadline);
    }
    while (started < 256) start();
  });
}

test('queued ones make none either, and let the event loop come round', async () => {
  const counted = link.counters.operationsInBatches;
  expect(await growth(() => pipeline(20_000), 20_000)).toBeLessThan(12);
  expect(link.counters.operationsInBatches - counted).toBeGreaterThanOrEqual(20_000);
  let isRound = false;
  runtime.timers.after(0, () => (isRound = true));
  let rounds = 0;
  while (!isRound && rounds < 1000) {
    await pipeline(2000);
    rounds++;
  }
  expect(isRound).toBe(true);
  expect(node.executed).toEqual([]);
}, 60_000);
