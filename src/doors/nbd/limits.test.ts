import { expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { KiB, MiB } from '../../base/units.js';
import { checkLimits, NBD_LIMITS } from './limits.js';
import { BufferPool, bufferBytes } from './pool.js';
import * as nbd from './protocol.js';
import { requestBytes } from './testing/client.js';
import { Rig, someBytes } from './testing/rig.js';

test('limits that do not belong together are refused', () => {
  expect(() => checkLimits({ ...NBD_LIMITS, heldBytes: 2 * MiB })).toThrow('all its buffers');
  expect(() => checkLimits({ ...NBD_LIMITS, pieces: 4 })).toThrow('all its pieces');
  expect(() => checkLimits({ ...NBD_LIMITS, optionBytes: 100 })).toThrow('fit into an option');
});

test('a pool gives buffers again, of the length that was told', () => {
  const pool = new BufferPool();
  for (const [bytes, length] of [
    [1, 4096],
    [4096, 4096],
    [4097, 8192],
    [64 * KiB, 64 * KiB],
  ] as const) {
    const buffer = pool.take(bytes);
    expect([buffer.length, bufferBytes(bytes), pool.taken]).toEqual([length, length, length]);
    pool.give(buffer);
    expect(pool.take(bytes)).toBe(buffer);
    pool.give(buffer);
  }
  expect(pool.taken).toBe(0);
});

test.each([true, false])('a client that reads nothing holds up itself alone (%s)', async (late) => {
  const rig = new Rig({ backend: { bytes: 4 * MiB, isSparse: false } });
  // A client's own buffers are large enough for what is on the way to it.
  rig.world.inputBytes = 4 * MiB;
  rig.world.wire = { chunk: () => 64 * KiB };
  await rig.listen();
  rig.backend.fill(0, someBytes(4 * MiB, 1));
  if (late) rig.backend.lateMs = () => rig.world.prng.fraction();
  for (const structured of [true, false]) {
    const [slow, other] = [await rig.use({ structured }), await rig.use()];
    slow.stream.pause();
    const before = rig.backend.calls.read;
    const reads = Array.from({ length: 160 }, (_, i) => slow.read(i * KiB, 128 * KiB));
    await rig.pass(100);
    // What fits into its own input, our output, and the buffers of one connection.
    const most = (4 * MiB + MiB + NBD_LIMITS.bufferBytes) / (64 * KiB);
    expect(rig.backend.calls.read - before).toBeLessThan(2 * most);
    expect(rig.door.pool.taken).toBeLessThanOrEqual(NBD_LIMITS.bufferBytes);
    const { error, data } = await rig.wait(other.read(5, MiB), 1_000);
    expect([error, data.length]).toEqual([0, MiB]);
    slow.stream.resume();
    for (const answer of await rig.wait(Promise.all(reads))) expect(answer.error).toBe(0);
    expect([slow.violation, other.violation]).toEqual([undefined, undefined]);
    expect(rig.door.pool.taken).toBe(0);
    slow.close();
    other.close();
  }
  expect(rig.door.counters.outputFull).toBeGreaterThan(0);
});

test('a backend that does not answer holds up one connection, within its limits', async () => {
  const rig = await new Rig({ backend: { bytes: 4 * MiB, isSparse: false } }).listen();
  const [busy, other] = [await rig.use(), await rig.use()];
  rig.backend.lateMs = () => 1_000;
  const answers = Array.from({ length: 1_000 }, (_, i) => busy.write(i * 4096, someBytes(4096, i)));
  answers.push(...Array.from({ length: 100 }, (_, i) => busy.read(i * 4096, 128 * KiB)));
  await rig.pass(500);
  expect(rig.backend.underWay).toBeLessThanOrEqual(NBD_LIMITS.requests);
  expect(rig.door.pool.taken).toBeLessThanOrEqual(NBD_LIMITS.bufferBytes);
  expect(rig.door.counters.crowded).toBeGreaterThan(0);
  rig.backend.lateMs = undefined;
  expect((await rig.wait(other.read(0, 4096), 100)).error).toBe(0);
  for (const { error } of await rig.wait(Promise.all(answers))) expect(error).toBe(0);
  expect(rig.door.pool.taken).toBe(0);
});

test('a write whose payload does not come holds a row, and nothing else', async () => {
  const rig = await new Rig().listen();
  const [half, other] = [await rig.use(), await rig.use()];
  half.send(requestBytes(nbd.NBD_CMD_WRITE, 0, 1, 0, MiB));
  half.send(new Uint8Array(200 * KiB));
  await rig.pass(60_000);
  expect([rig.door.pool.taken, half.closedBecause]).toEqual([0, undefined]);
  expect((await rig.wait(other.write(0, someBytes(MiB, 2)))).error).toBe(0);
});

test('one batch of much work gives others their turn in between', async () => {
  const limits = { turnWork: 256 * KiB };
  const rig = await new Rig({ door: { limits } }).listen();
  const [busy, other] = [await rig.use(), await rig.use()];
  rig.backend.fill(0, someBytes(512, 1));
  const begun: number[] = [];
  const lengths: number[] = [];
  rig.backend.failure = (verb, _offset, bytes) => {
    if (verb === 'read') begun.push(rig.door.counters.reads);
    else lengths.push(bytes);
    return Status.Ok;
  };
  // Much to do, and little to send: reads of holes, and writes.
  const reads = Array.from({ length: 5_000 }, () => busy.read(8192, 512));
  const quick = other.read(0, 512);
  await rig.wait(Promise.all([...reads, quick]));
  expect(begun).toHaveLength(1);
  expect(begun[0]).toBeLessThan(2_500);
  const writes = Array.from({ length: 900 }, () => busy.write(8192, someBytes(512, 1)));
  const second = other.write(0, someBytes(511, 1));
  await rig.wait(Promise.all([...writes, second]));
  expect(lengths.indexOf(511)).toBeLessThan(800);
});

test('a stopping door does not wait for ever', async () => {
  const rig = await new Rig().listen();
  const client = await rig.use();
  client.send(requestBytes(nbd.NBD_CMD_WRITE, 0, 1, 0, MiB));
  await rig.pass(10);
  await rig.wait(rig.door.stop());
  expect(rig.world.nowMs).toBeGreaterThan(1_000 + NBD_LIMITS.stopMs - 100);
  expect(rig.door.sessions).toBe(0);
});

test('who says goodbye and does not read the last answers is not waited for long', async () => {
  const rig = new Rig({ backend: { isSparse: false } });
  rig.world.inputBytes = 320 * KiB;
  await rig.listen();
  const client = await rig.use();
  client.stream.pause();
  void client.read(0, 500 * KiB);
  client.disconnect();
  await rig.pass(NBD_LIMITS.lingerMs - 100);
  expect(rig.door.sessions).toBe(1);
  // What is sent with the close finds no room there.
  rig.world.wire = { isSilent: () => true };
  await rig.pass(200);
  expect([rig.door.sessions, rig.door.pool.taken]).toEqual([0, 0]);
});
