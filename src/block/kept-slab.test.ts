import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { NOT_NOW } from '../fabric/link.js';
import { CrashingDisk } from '../runtime/simulated/testing/crashing-disk.js';
import { backupPlace, isBackup, type SetRow } from './ports.js';
import { BackedDevice, DATA_BYTES } from './testing/backed-device.js';

test('a slab is not lost while a copy of it may be in a row that is not known yet', async () => {
  const shape = { slabs: 1, nodes: 1, copies: 2, isBackedUp: false };
  const rig = new BackedDevice(new CrashingDisk(), setImmediate, shape);
  await rig.make();
  await rig.open();
  expect(await rig.drive(rig.write(0, 7))).toBe(Status.Ok);
  rig.areAnswersLost = true;
  rig.addNode();
  await rig.pass(20_000);
  expect(rig.rows.get(0)?.copies).toHaveLength(2);
  rig.loseMemory(1);
  await rig.pass(3_000);
  const reading = rig.read(0);
  rig.areAnswersLost = false;
  expect(await rig.drive(reading)).toBe(7);
  rig.loseMemory();
  await rig.pass(3_000);
  expect(await rig.drive(rig.read(0))).toBe(`status ${Status.DataLost}`);
});

test('what is left in the file of another host alone is away, and not corrupt', async () => {
  const rig = new BackedDevice(new CrashingDisk(), setImmediate, { slabs: 1, nodes: 1, copies: 1 });
  await rig.make();
  await rig.open();
  expect(await rig.drive(rig.write(0, 7))).toBe(Status.Ok);
  rig.device.stop();
  await rig.drive(rig.file.end());
  const row = rig.rows.get(0) as SetRow;
  const copies = row.copies.map((place) => (isBackup(place) ? backupPlace(999) : place));
  rig.rows.set(0, { ...row, copies });
  await rig.open();
  expect(await rig.drive(rig.read(0))).toBe(7);
  rig.pauseMemory(60_000);
  const readings = [rig.read(0), rig.read(8192)];
  await rig.pass(1);
  rig.loseMemory();
  for (const reading of readings) {
    const end = await rig.drive(reading);
    expect([`status ${Status.Unavailable}`, `status ${Status.Timeout}`]).toContain(end);
  }
  // What that file has of it is for its host to say.
  expect(rig.rows.get(0)?.copies).toEqual(copies);
});

test('a slab of which nodes know more than the rows is no zeros, nor written anew', async () => {
  const shape = { slabs: 3, nodes: 2, copies: 1, isBackedUp: false };
  const rig = new BackedDevice(new CrashingDisk(), setImmediate, shape);
  await rig.make();
  await rig.open();
  expect(await rig.drive(rig.write(0, 7))).toBe(Status.Ok);
  rig.device.stop();
  await rig.drive(rig.file.end());
  let tellSwept: () => void = () => undefined;
  await rig.open(new Promise((resolve) => (tellSwept = resolve)));
  const [first, second] = [0, 1].map((i) => (i + 1) * DATA_BYTES);
  const reading = rig.read(first as number);
  const other = rig.read(second as number);
  const writing = rig.write(first as number, 8);
  await rig.pass(200);
  expect(rig.device.isAbsent(second as number, 4096)).toBe(false);
  rig.device.noteDoubt(0);
  rig.device.noteDoubt(1);
  tellSwept();
  expect(await rig.drive(reading)).toBe(`status ${Status.Unavailable}`);
  expect(await rig.drive(writing)).toBe(Status.Unavailable);
  expect(await rig.drive(other)).toBe(0);
  expect(rig.device.isAbsent(first as number, 4096)).toBe(false);
  expect(rig.device.isAbsent(second as number, 4096)).toBe(true);
  expect([...rig.rows.keys()]).toEqual([0]);
  expect(await rig.drive(rig.read(0))).toBe(`status ${Status.Unavailable}`);
});

test('a row is in doubt of which a node knows that a copy counted later', async () => {
  const shape = { slabs: 2, nodes: 2, copies: 1, isBackedUp: false };
  const rig = new BackedDevice(new CrashingDisk(), setImmediate, shape);
  await rig.make();
  await rig.open();
  for (const at of [0, DATA_BYTES]) expect(await rig.drive(rig.write(at, 7))).toBe(Status.Ok);
  const { generation } = rig.rows.get(0) as SetRow;
  for (const slab of [0, 1]) rig.device.noteMark(slab, generation);
  for (const at of [0, DATA_BYTES]) expect(await rig.drive(rig.read(at))).toBe(7);
  const into = new Uint8Array(4096);
  expect(rig.device.readNow(0, into, 0, 4096)).toBe(Status.Ok);
  rig.device.noteMark(0, generation + 1);
  expect(rig.device.readNow(0, into, 0, 4096)).toBe(NOT_NOW);
  expect(rig.device.writeNow(0, into, 0, 4096)).toBe(NOT_NOW);
  expect(await rig.drive(rig.read(0))).toBe(`status ${Status.Unavailable}`);
  expect(await rig.drive(rig.read(DATA_BYTES))).toBe(7);
});

test('a write for which a node has no room goes on where another one has', async () => {
  const shape = { slabs: 1, nodes: 2, copies: 1, isBackedUp: false };
  const rig = new BackedDevice(new CrashingDisk(), setImmediate, shape);
  await rig.make();
  await rig.open();
  expect(await rig.drive(rig.write(0, 7))).toBe(Status.Ok);
  const [{ node } = { node: '' }] = (rig.rows.get(0) as SetRow).copies;
  rig.fill(node);
  expect(await rig.drive(rig.write(8192, 8))).toBe(Status.Ok);
  await rig.pass(3_000);
  expect(rig.rows.get(0)?.copies).toMatchObject([
    { node: node === 'node-0' ? 'node-1' : 'node-0' },
  ]);
  expect([await rig.drive(rig.read(0)), await rig.drive(rig.read(8192))]).toEqual([7, 8]);
});

test('one copy leaves where there is one too many, also while another one is full', async () => {
  const shape = { slabs: 1, nodes: 3, copies: 3, isBackedUp: false };
  const rig = new BackedDevice(new CrashingDisk(), setImmediate, shape);
  await rig.make();
  await rig.open();
  expect(await rig.drive(rig.write(0, 7))).toBe(Status.Ok);
  await rig.pass(3_000);
  rig.device.stop();
  await rig.drive(rig.file.end());
  const { copies } = rig.rows.get(0) as SetRow;
  expect(copies).toHaveLength(3);
  rig.fill(copies[1]?.node as string);
  rig.answersAfterMs = 1_000;
  await rig.open(undefined, 2);
  expect(await rig.drive(rig.write(8192, 8), 20_000)).toBe(Status.Ok);
  await rig.pass(5_000);
  expect(rig.rows.get(0)?.copies).toHaveLength(2);
  expect(rig.leastCopies).toBe(2);
});

test('a write is refused where no node has room, and done as soon as one has', async () => {
  const shape = { slabs: 1, nodes: 2, copies: 1, isBackedUp: false };
  const rig = new BackedDevice(new CrashingDisk(), setImmediate, shape);
  await rig.make();
  await rig.open();
  expect(await rig.drive(rig.write(0, 7))).toBe(Status.Ok);
  for (const node of ['node-0', 'node-1']) rig.fill(node);
  expect(await rig.drive(rig.write(8192, 8), 20_000)).toBe(Status.NoSpace);
  rig.addNode();
  await rig.pass(15_000);
  expect(await rig.drive(rig.write(8192, 9), 5_000)).toBe(Status.Ok);
  expect([await rig.drive(rig.read(0)), await rig.drive(rig.read(8192))]).toEqual([7, 9]);
});

test('a writer that lost its lease leaves a file that has all, for the next one', async () => {
  for (const isTold of [true, false]) {
    const shape = { slabs: 1, nodes: 1, copies: 1 };
    const rig = new BackedDevice(new CrashingDisk(), setImmediate, shape);
    await rig.make();
    await rig.open();
    expect(await rig.drive(rig.write(0, 7))).toBe(Status.Ok);
    const behind = rig.device.behindInFile();
    rig.device.stop();
    expect(await rig.drive(rig.file.end())).toBe(true);
    await rig.open();
    if (isTold) rig.file.known = behind;
    expect(await rig.drive(rig.read(0))).toBe(7);
    rig.loseMemory();
    await rig.pass(5_000);
    const end = await rig.drive(rig.read(0));
    expect(end).toBe(isTold ? 7 : `status ${Status.DataLost}`);
  }
});
