import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getHeapStatistics } from 'node:v8';
import { afterAll, afterEach, expect, test } from 'vitest';
import { Status } from '../base/status.js';
import type { Bytes } from '../runtime/network.js';
import { createRuntime } from '../runtime/node/create-runtime.js';
import { MessageType } from '../wire/messages.js';
import { createEndpoint, type Endpoint } from './endpoint.js';
import type { Window } from './link.js';
import { type DataHandler, type DataSession, DONE } from './serve.js';

const real = createRuntime();
/** What the real copy costs is measured where it is made; this one makes no object. */
function copy(
  target: Uint8Array,
  targetStart: number,
  source: Uint8Array,
  sourceStart: number,
  bytes: number,
): void {
  for (let i = 0; i < bytes; i++) target[targetStart + i] = source[sourceStart + i] ?? 0;
}
const runtime = { ...real, memory: { ...real.memory, copy } };
const endpoints: Endpoint[] = [];
const folder = mkdtempSync(join(tmpdir(), 'memrack-fabric-'));

afterEach(async () => {
  for (const endpoint of endpoints.splice(0)) await endpoint.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Reads and writes of one array, without an object per message. */
class PlainMemory implements DataHandler {
  readonly bytes = new Uint8Array(65536);

  execute(session: DataSession, input: Bytes, at: number, type: number): typeof DONE {
    const address = input.words[at >> 2] ?? 0;
    const bytes = input.words[(at >> 2) + 2] ?? 0;
    if (type === MessageType.Read) {
      runtime.memory.copy(session.output.bytes, session.replyAt, this.bytes, address, bytes);
      session.finish(Status.Ok, bytes);
    } else {
      runtime.memory.copy(this.bytes, address, input.bytes, at + 16, bytes);
      session.finish(Status.Ok, 0);
    }
    return DONE;
  }

  closed(): void {}
  begunAnew(): void {}
  forgotten(): void {}
}

async function pair(listenAt: string) {
  const server = createEndpoint(runtime);
  const client = createEndpoint(runtime);
  endpoints.push(client, server);
  server.serveData(new PlainMemory());
  server.serve(MessageType.OpenWindow, () => ({
    status: Status.Ok,
    window: 1,
    epoch: 1,
    pageBytes: 65536,
  }));
  const { address } = await server.listen(listenAt);
  const link = client.link(address);
  const window = await link.openWindow(1, 5000);
  if (typeof window !== 'object') throw new Error(`no window: ${window}`);
  return { link, window };
}

type Link = Awaited<ReturnType<typeof pair>>['link'];

/** Keeps `depth` operations in flight until `total` have ended; resolves with bad statuses. */
function pipeline(
  link: Link,
  window: Window,
  depth: number,
  total: number,
  onEnd: (ended: number) => void,
): Promise<number> {
  const bytes = new Uint8Array(64 * 1024);
  return new Promise((resolve) => {
    let started = 0;
    let ended = 0;
    let bad = 0;
    const deadline = runtime.clock.now() + 60_000;
    const sink = {
      completed(_token: number, status: Status): void {
        if (status !== Status.Ok) bad++;
        onEnd(++ended);
        if (started < total) start();
        else if (ended === total) resolve(bad);
      },
    };
    function start(): void {
      const at = (started * 64) & 0x7fff;
      if (++started % 2 === 0) link.read(window, at, bytes, at, 64, sink, started, deadline);
      else link.write(window, at, bytes, at, 64, sink, started, deadline);
    }
    while (started < depth) start();
  });
}

const local = ['unix', 'ring'].map((kind) => `${kind}://${join(folder, `memrack.${kind}`)}`);
for (const address of ['tcp://127.0.0.1:0', ...local]) {
  test(`bytes go there and come back over ${address.slice(0, 4)}`, async () => {
    const { link, window } = await pair(address);
    const from = Uint8Array.from({ length: 65536 }, (_, i) => (i * 7) & 0xff);
    const back = new Uint8Array(65536);
    const statuses: Status[] = [];
    await new Promise<void>((resolve) => {
      const sink = {
        completed(_token: number, status: Status): void {
          statuses.push(status);
          if (statuses.length === 2) resolve();
        },
      };
      const deadline = runtime.clock.now() + 5000;
      link.write(window, 0, from, 0, from.length, sink, 1, deadline);
      link.read(window, 0, back, 0, back.length, sink, 2, deadline);
    });
    expect(statuses).toEqual([Status.Ok, Status.Ok]);
    expect(back).toEqual(from);
  });
}

test('operations cost no memory of their own, on either side', async () => {
  const { link, window } = await pair('tcp://127.0.0.1:0');
  expect(await pipeline(link, window, 512, 100_000, () => undefined)).toBe(0);
  const total = 100_000;
  let least = Infinity;
  // One object per operation on one side alone would be 16 bytes at the very least, in every round.
  // What there is comes with each batch, and batches are small while others use the machine or the
  // code is not yet compiled: so the best of many rounds.
  for (let round = 0; round < 40 && least >= 12; round++) {
    let grown = 0;
    let before = getHeapStatistics().used_heap_size;
    const sample = (ended: number): void => {
      if (ended % 1000 !== 0) return;
      const now = getHeapStatistics().used_heap_size;
      // What a collection frees is not seen as growth; what is allocated after it is.
      if (now > before) grown += now - before;
      before = now;
    };
    expect(await pipeline(link, window, 512, total, sample)).toBe(0);
    least = Math.min(least, grown / total);
  }
  expect(least).toBeLessThan(12);
}, 60_000);
