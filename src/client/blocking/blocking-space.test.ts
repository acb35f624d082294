// Threads that block, against a whole rack in the simulator.
import { expect, test } from 'vitest';
import { MemrackError } from '../error.js';
import { CLOSED, VERSION } from './port.js';
import { BlockingRig, PAGE } from '../../sim/testing/blocking-rig.js';

const bytesOf = (length: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff);

const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

test('every verb is done when it returns, by the thread alone where it can be', async () => {
  const rig = await new BlockingRig().start();
  const client = await rig.client();
  const at = await rig.of(client.space.alloc(8 * PAGE));
  await rig.of(client.space.write(at, new Uint8Array(8 * PAGE)));
  let alone = 0;
  await rig.run(client, (space) => {
    // The way is asked for by the first operation, and found a moment later.
    for (let i = 0; i < 200; i++) space.write(at, bytesOf(64, i));
    expect(space.read(at, 64)).toEqual(bytesOf(64, 199));
    const { asked, doneAlone } = space;
    const target = new Uint8Array(64);
    expect(space.read(at, target)).toBe(target);
    space.write(at + 64, new Uint8Array(8));
    expect(space.fetchAndAdd(at + 64, 5n)).toBe(0n);
    expect(space.fetchAndAdd(at + 64, -6n)).toBe(5n);
    expect(space.compareAndSwap(at + 64, 2n ** 64n - 1n, 7n)).toBe(2n ** 64n - 1n);
    expect(space.compareAndSwap(at + 64, 1n, 8n)).toBe(7n);
    space.writeMany([
      { at: at + 128, from: bytesOf(16, 1) },
      { at: at + 130, from: bytesOf(4, 9) },
    ]);
    const into = [new Uint8Array(2), new Uint8Array(4)] as const;
    space.readMany([
      { at: at + 128, into: into[0] },
      { at: at + 130, into: into[1] },
    ]);
    expect([...into[0], ...into[1]]).toEqual([...bytesOf(2, 1), ...bytesOf(4, 9)]);
    const large = space.read(at + PAGE - 8, 3 * PAGE);
    expect(large.length).toBe(3 * PAGE);
    space.fence();
    expect(space.asked).toBe(asked);
    alone = space.doneAlone - doneAlone;
    space.close();
  });
  expect(alone).toBeGreaterThan(12);
});

test('everything goes by the I/O thread where the link is tcp', async () => {
  const rig = await new BlockingRig().start();
  const client = await rig.client('tcp');
  const at = await rig.of(client.space.alloc(32 * PAGE));
  await rig.run(
    client,
    (space) => {
      // More than the port has room for.
      const large = bytesOf(5 * PAGE + 13, 3);
      space.write(at + 3, large);
      expect(isSame(space.read(at + 3, large.length), large)).toBe(true);
      const many = Array.from({ length: 600 }, (_, i) => ({
        at: at + 16 * i,
        from: bytesOf(9, i),
      }));
      space.writeMany(many);
      const reads = many.map((one) => ({ at: one.at, into: new Uint8Array(9) }));
      space.readMany(reads);
      expect(reads.map(({ into }) => into)).toEqual(many.map(({ from }) => from));
      expect(space.fetchAndAdd(at + 16 * PAGE, 3n)).toBe(0n);
      expect(space.compareAndSwap(at + 16 * PAGE, 3n, 2n ** 63n)).toBe(3n);
      expect(space.fetchAndAdd(at + 16 * PAGE, 0n)).toBe(2n ** 63n);
      expect(space.doneAlone).toBe(0);
    },
    2 * PAGE,
  );
  const seen = await rig.of(client.space.fetchAndAdd(at + 16 * PAGE, 0n));
  expect(seen).toBe(2n ** 63n);
});

test('a list of writes that is cut short says that a part of it may be written', async () => {
  const rig = await new BlockingRig().start();
  const client = await rig.client();
  const at = await rig.of(client.space.alloc(PAGE));
  await rig.of(client.space.write(at, new Uint8Array(8)));
  let words = new Int32Array(new SharedArrayBuffer(4));
  let failure: unknown;
  let huge: unknown;
  const running = rig.thread(client, (space) => {
    for (let i = 0; i < 200; i++) space.write(at, bytesOf(8, i));
    huge = caught(() => space.read(at, 2 ** 52));
    let looks = 0;
    const second = {
      at: at + 8,
      get from(): Uint8Array {
        // The first looks are those of the checks: the rack is closed after the first write.
        if (space.read(at, 8)[0] === 77) Atomics.store(words, VERSION, CLOSED);
        looks += 1;
        return bytesOf(8);
      },
    };
    failure = caught(() => space.writeMany([{ at, from: bytesOf(8, 77) }, second]));
    expect(looks).toBeGreaterThan(1);
  });
  words = new Int32Array(running.port.start.shared);
  await rig.of(running.thread.ended);
  expect(running.error).toBeUndefined();
  expect(failure).toMatchObject({ code: 'OutcomeUnknown', outcome: 'unknown' });
  expect(huge).toMatchObject({ code: 'Invalid' });
});

function caught(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error instanceof MemrackError ? error : String(error);
  }
}
