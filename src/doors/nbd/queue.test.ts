// What waits for what: directed cases of output that is full and buffers that are in use.
import { expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { KiB, MiB } from '../../base/units.js';
import * as nbd from './protocol.js';
import { Rig, type RigOptions, someBytes } from './testing/rig.js';

const PIECE = 64 * KiB;
/** Two pieces fit into the output, and a little. */
const OUTPUT_BYTES = 160 * KiB;

async function tightRig(options: RigOptions = {}): Promise<Rig> {
  const backend = { bytes: 4 * MiB, isSparse: false, ...options.backend };
  const rig = new Rig({ ...options, backend });
  rig.world.outputBytes = OUTPUT_BYTES;
  rig.world.inputBytes = OUTPUT_BYTES;
  await rig.listen();
  rig.backend.fill(0, someBytes(4 * MiB, 1));
  return rig;
}

test('nothing comes between the bytes of a read that is answered in one piece', async () => {
  const rig = await tightRig();
  const client = await rig.use();
  rig.backend.lateMs = (_verb, offset) => (offset < MiB ? 1 : 20);
  // As soon as some of the first read is sent.
  rig.backend.isNow = () => rig.door.counters.bytesRead > 0;
  client.stream.pause();
  const whole = client.read(0, 5 * PIECE, nbd.NBD_CMD_FLAG_DF);
  // These take all buffers that are left, so that the last read can only wait.
  const others = Array.from({ length: 11 }, (_, i) => client.read(MiB + i * PIECE, PIECE));
  const small = client.read(3 * MiB, 4096);
  await rig.pass(5);
  // Of the first one a part is sent, and there is room for the last one, but not for more of it.
  expect(rig.door.counters.bytesRead).toBe(4 * PIECE);
  await rig.pass(50);
  client.stream.resume();
  for (const answer of await rig.wait(Promise.all([whole, small, ...others]))) {
    const wanted = rig.backend.content.subarray(answer.offset, answer.offset + answer.length);
    expect([answer.error, Buffer.compare(answer.data, wanted)]).toEqual([0, 0]);
  }
  expect(client.violation).toBeUndefined();
});

test('a long read that fails before its answer is begun waits for all of its pieces', async () => {
  const limits = { heldBytes: PIECE };
  const rig = await tightRig({ door: { limits } });
  const client = await rig.use({ structured: false });
  // Fills the client's input, and the output but for 32 KiB.
  client.stream.pause();
  const first = Array.from({ length: 4 }, () => client.read(0, PIECE));
  await rig.pass(1);
  rig.backend.isNow = () => false;
  const late = new Map([
    [0, 2],
    [MiB, 3],
    [MiB + PIECE, 4],
    [MiB + 2 * PIECE, 100],
  ]);
  rig.backend.lateMs = (_verb, offset) => late.get(offset) ?? 0;
  rig.backend.failure = (_verb, offset) => (offset === MiB + PIECE ? Status.DataLost : Status.Ok);
  const before = client.read(0, PIECE);
  const long = client.read(MiB, 3 * PIECE);
  await rig.pass(10);
  client.stream.resume();
  for (const answer of await rig.wait(Promise.all([...first, before]))) {
    expect(answer.error).toBe(0);
  }
  expect((await rig.wait(long)).error).toBe(nbd.NBD_EIO);
  expect([client.violation, client.closedBecause]).toEqual([undefined, undefined]);
  expect(rig.door.pool.taken).toBe(0);
});

test('a long read goes on with the buffers that its own answer gives back', async () => {
  const limits = { heldBytes: 64 * KiB, bufferBytes: 448 * KiB };
  const rig = await new Rig({ backend: { bytes: 4 * MiB, isSparse: false }, door: { limits } });
  await rig.listen();
  rig.backend.fill(0, someBytes(4 * MiB, 1));
  const client = await rig.use({ structured: false });
  const { error, data } = await rig.wait(client.read(0, 600 * KiB));
  expect([error, Buffer.compare(data, rig.backend.content.subarray(0, 600 * KiB))]).toEqual([0, 0]);
  // And the connection goes on.
  expect((await rig.wait(client.read(0, 600 * KiB))).error).toBe(0);
  expect((await rig.wait(client.write(5, someBytes(10, 2)))).error).toBe(0);
});

test('a long read whose answer is begun gets a buffer, whatever stands behind it', async () => {
  const limits = { heldBytes: 64 * KiB, bufferBytes: 448 * KiB };
  const rig = await new Rig({ backend: { bytes: 4 * MiB, isSparse: false }, door: { limits } });
  await rig.listen();
  rig.backend.fill(0, someBytes(4 * MiB, 1));
  const client = await rig.use({ structured: false });
  rig.backend.lateMs = (_verb, offset) => (offset < MiB ? 5 : 1);
  rig.backend.isNow = (_verb, _offset, bytes) => bytes === 4096;
  const before = client.read(0, 2 * PIECE);
  // Its first piece is short, and there at once: its answer is begun before the other one's.
  const long = client.read(2 * MiB - 4096, 4096 + PIECE);
  for (const answer of await rig.wait(Promise.all([before, long]))) {
    const wanted = rig.backend.content.subarray(answer.offset, answer.offset + answer.length);
    expect([answer.error, Buffer.compare(answer.data, wanted)]).toEqual([0, 0]);
  }
});
