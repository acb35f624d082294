// Threads that block, in real processes: beside the ordinary form on the same words, ended by
// force, over a link of messages alone, and with the node killed under them.
import { once } from 'node:events';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Status } from '../../src/base/status.js';
import { connect, type ConnectOptions, joinBlocking, type Space } from '../../src/apps/library.js';
import { createEndpoint } from '../../src/fabric/endpoint.js';
import { createRuntime } from '../../src/runtime/node/create-runtime.js';
import { MessageType } from '../../src/wire/messages.js';
import { ROOT } from '../support/cli.js';
import { startRack, type TestRack, until } from '../support/rack.js';

const PAGE = 64 * 1024;
const THREAD = join(ROOT, 'test/support/blocking-thread.mjs');
let rack: TestRack;
const closing: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  rack = await startRack({ nodes: 1, memory: '64MiB', pageBytes: '64KiB' });
});

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

afterAll(() => rack?.stop());

async function theNode() {
  const found = (await rack.nodes()).find(({ kind }) => kind !== 'host');
  if (found === undefined) throw new Error('no node');
  return found;
}

interface Counts {
  readonly slotsAttached: number;
  readonly slotsHeldBack: number;
  readonly framesResting: number;
}

async function counts(): Promise<Counts> {
  const endpoint = createEndpoint(createRuntime({ logLevel: 'error' }), {});
  const { address } = await theNode();
  const reply = await endpoint.peer(address).call(MessageType.Counters, {}, 5_000);
  await endpoint.close();
  if (reply.status !== Status.Ok) throw new Error('no counters');
  return JSON.parse(reply.json) as Counts;
}

async function open(options: ConnectOptions = {}): Promise<{ space: Space; at: number }> {
  const connected = await connect(rack.url, { timeoutMs: 10_000, ...options });
  closing.push(() => connected.close());
  const space = await connected.space('blocking', { create: true });
  const at = await space.alloc(4 * PAGE);
  await space.write(at, new Uint8Array(2 * PAGE));
  return { space, at };
}

interface Report {
  readonly done: number;
  readonly doneAlone?: number;
  readonly asked?: number;
  readonly unknown?: number;
  readonly failures?: number;
}

function thread(space: Space, job: string, at: number, count = 0) {
  const port = space.blocking();
  const stop = new SharedArrayBuffer(4);
  const workerData = { start: port.start, job, at, count, stop };
  const worker = new Worker(THREAD, { workerData });
  const ended = new Promise((resolve) => worker.once('exit', resolve)).then(port.ended);
  const reports: Report[] = [];
  worker.on('message', (message: Report) => reports.push(message));
  const failed = new Promise<never>((_resolve, reject) => worker.once('error', reject));
  failed.catch(() => undefined);
  closing.push(() => worker.terminate());
  return { port, worker, stop: new Int32Array(stop), ended, failed, reports };
}

/** The same words in the ordinary form, until the thread has ended. */
async function countBeside(space: Space, at: number, isOver: () => boolean) {
  let added = 0;
  let swapped = 0;
  while (!isOver()) {
    await Promise.all(Array.from({ length: 16 }, () => space.fetchAndAdd(at, 1n)));
    added += 16;
    const seen = await space.fetchAndAdd(at + 8, 0n);
    if ((await space.compareAndSwap(at + 8, seen, seen + 1n)) === seen) swapped += 1;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { added, swapped };
}

const ROUNDS = 5_000;

test.each(['auto', 'tcp'] as const)(
  'counts beside the ordinary form are exact: %s',
  async (link) => {
    const { space, at } = await open({ link });
    const rounds = link === 'tcp' ? ROUNDS / 10 : ROUNDS;
    const { worker, ended, failed, reports } = thread(space, 'count', at, rounds);
    let isOver = false;
    worker.once('exit', () => (isOver = true));
    const { added, swapped } = await Promise.race([countBeside(space, at, () => isOver), failed]);
    await ended;
    const last = reports.at(-1);
    expect(last).toMatchObject({ done: rounds, unknown: 0, failures: 0 });
    expect(await space.fetchAndAdd(at, 0n)).toBe(BigInt(added + rounds));
    expect(await space.fetchAndAdd(at + 8, 0n)).toBe(BigInt(swapped + rounds));
    if (link === 'tcp') expect(last?.doneAlone).toBe(0);
    else expect(last?.doneAlone).toBeGreaterThan(2 * rounds);
  },
);

test('the thread that serves a space does not wait for itself', async () => {
  const { space } = await open();
  const port = space.blocking();
  expect(() => joinBlocking(port.start)).toThrow('to a worker thread');
  await port.ended();
});

test('a thread that is ended in the middle holds no slot, and no frame', async () => {
  const { space, at } = await open();
  await until(10_000, async () => ((await counts()).slotsAttached === 1 ? true : undefined));
  for (let round = 0; round < 6; round++) {
    const { worker, ended } = thread(space, 'hammer', at);
    await once(worker, 'message');
    expect((await counts()).slotsAttached).toBe(2);
    // Mostly in a copy of half a page.
    await new Promise((resolve) => setTimeout(resolve, 3 * round));
    await worker.terminate();
    await ended;
    expect((await counts()).slotsAttached).toBe(1);
    // Others go on with the same page, and it can be freed.
    await space.fetchAndAdd(at, 1n);
  }
  await space.free(at);
  const { framesResting, slotsHeldBack } = await counts();
  expect({ framesResting, slotsHeldBack }).toEqual({ framesResting: 0, slotsHeldBack: 0 });
});

test.each(['auto', 'tcp'] as const)(
  'the node is killed, and stopped, under it: %s',
  async (link) => {
    const { space, at } = await open({ link });
    const { stop, ended, failed, reports } = thread(space, 'count', at, Infinity);
    const enough = link === 'tcp' ? 100 : 1000;
    const goesOn = async (): Promise<void> => {
      const before = reports.at(-1)?.done ?? 0;
      await until(20_000, () => ((reports.at(-1)?.done ?? 0) > before + enough ? true : undefined));
    };
    await goesOn();
    for (let kill = 0; kill < 3; kill++) {
      process.kill((await theNode()).pid, 'SIGKILL');
      await until(20_000, async () => ((await theNode()).state === 'serving' ? true : undefined));
      await goesOn();
      const { pid } = await theNode();
      process.kill(pid, 'SIGSTOP');
      await new Promise((resolve) => setTimeout(resolve, 100));
      const before = reports.at(-1)?.done ?? 0;
      await new Promise((resolve) => setTimeout(resolve, 500));
      const after = reports.at(-1)?.done ?? 0;
      process.kill(pid, 'SIGCONT');
      // By itself it goes on; what has to be asked for is waited for.
      if (link === 'tcp') expect(after).toBe(before);
      else expect(after).toBeGreaterThan(before);
      await goesOn();
    }
    Atomics.store(stop, 0, 1);
    await Promise.race([ended, failed]);
    const { done: rounds = 0, unknown = 0, doneAlone = 0 } = reports.at(-1) ?? {};
    // Each attempt of unknown outcome may have counted, or not.
    const added = Number(await space.fetchAndAdd(at, 0n));
    expect(added).toBeLessThanOrEqual(rounds);
    expect(added).toBeGreaterThanOrEqual(rounds - unknown);
    if (link === 'tcp') expect(doneAlone).toBe(0);
    else expect(doneAlone).toBeGreaterThan(rounds);
  },
);

test('a closed space wakes the thread that waits, and takes the slots back', async () => {
  const connected = await connect(rack.url, { timeoutMs: 10_000 });
  const space = await connected.space('blocking', { create: true });
  const at = await space.alloc(PAGE);
  await space.write(at, new Uint8Array(PAGE));
  const before = (await counts()).slotsAttached;
  const { worker, failed } = thread(space, 'hammer', at);
  await once(worker, 'message');
  expect((await counts()).slotsAttached).toBe(before + 1);
  await connected.close();
  await expect(failed).rejects.toMatchObject({ code: 'Closed' });
  await until(10_000, async () =>
    (await counts()).slotsAttached === before - 1 ? true : undefined,
  );
});
