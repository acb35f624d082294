import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { CrashingDisk } from '../runtime/simulated/testing/crashing-disk.js';
import { filePlanOf } from './backup/layout.js';
import type { Unwritten } from './backup/slab-file.js';
import type { CopyPlace, SetRow } from './ports.js';
import { planOf } from './slabs.js';
import { BackedDevice, DATA_BYTES, SLAB_BYTES } from './testing/backed-device.js';

type Rig = BackedDevice<CrashingDisk>;

const plan = filePlanOf(planOf(1, SLAB_BYTES).layout);
const isMapOf = (slab: number) => (at: number) => at === plan.map(slab);

/** A device that was written to, and whose host was killed then. */
async function killed(slabs: number, nodes: number): Promise<Rig> {
  const rig = new BackedDevice(new CrashingDisk(), setImmediate, { slabs, nodes, copies: 1 });
  await rig.make();
  await rig.open();
  for (let slab = 0; slab < slabs; slab++) {
    expect(await rig.drive(rig.write(slab * DATA_BYTES, 1 + slab))).toBe(Status.Ok);
  }
  expect(await rig.drive(rig.device.flush())).toBe(Status.Ok);
  rig.device.stop();
  await rig.drive(rig.file.end());
  return rig;
}

test('a flush fails at once where only the file is left, and cannot be read', async () => {
  const rig = await killed(1, 0);
  rig.disk.isBad = isMapOf(0);
  await rig.open();
  expect(await rig.drive(rig.device.flush(), 1_000)).toBe(Status.Unavailable);
  rig.disk.isBad = () => false;
  await rig.pass(1_000);
  expect(await rig.drive(rig.device.flush(), 1_000)).toBe(Status.Ok);
  expect(await rig.drive(rig.read(0))).toBe(1);
});

test('a flush waits for a file that is still being written, if that goes on', async () => {
  const rig = await killed(2, 0);
  let state: Unwritten | undefined = 'ending';
  rig.openWithout(() => state);
  await rig.pass(1_000);
  const flushing = rig.device.flush();
  await rig.pass(1_000);
  state = undefined;
  expect(await rig.drive(flushing, 100)).toBe(Status.Ok);
  state = 'failed';
  expect(await rig.drive(rig.device.flush(), 100)).toBe(Status.Unavailable);
  // What a node has needs no file.
  const other = await killed(2, 1);
  other.openWithout(() => 'failed');
  expect(await other.drive(other.device.flush(), 1_000)).toBe(Status.Ok);
});

test('a slab goes on without the file where its map cannot be read', async () => {
  const rig = await killed(2, 1);
  rig.disk.isBad = isMapOf(1);
  await rig.open();
  expect(await rig.drive(rig.device.flush(), 3_000)).toBe(Status.Ok);
  expect(await rig.drive(rig.read(DATA_BYTES), 3_000)).toBe(2);
  expect(await rig.drive(rig.write(DATA_BYTES, 7), 3_000)).toBe(Status.Ok);
});

test('the first flush looks at many slabs at a time', async () => {
  const rig = await killed(60, 1);
  await rig.open();
  const { nowMs } = rig.world;
  expect(await rig.drive(rig.device.flush())).toBe(Status.Ok);
  expect(rig.world.nowMs - nowMs).toBeLessThan(2_500);
});

test('a flush opens no slab that two nodes have', async () => {
  const rig = new BackedDevice(new CrashingDisk(), setImmediate, { slabs: 3, nodes: 2, copies: 2 });
  await rig.make();
  await rig.open();
  for (let slab = 0; slab < 3; slab++) await rig.drive(rig.write(slab * DATA_BYTES, 1));
  rig.device.stop();
  await rig.drive(rig.file.end());
  rig.disk.isBad = (at) => at > 8192;
  await rig.open();
  expect(await rig.drive(rig.device.flush(), 1)).toBe(Status.Ok);
});

test('memory that is gone is no second copy for a flush', async () => {
  const shape = { slabs: 12, nodes: 2, copies: 2 };
  const rig = new BackedDevice(new CrashingDisk(), setImmediate, shape);
  await rig.make();
  await rig.open();
  for (let slab = 0; slab < 12; slab++) await rig.drive(rig.write(slab * DATA_BYTES, 1));
  rig.device.stop();
  await rig.drive(rig.file.end());
  // Of one that is not looked at for a while.
  const row = rig.rows.get(11) as SetRow;
  const [first, ...others] = row.copies as [CopyPlace, ...CopyPlace[]];
  rig.rows.set(11, { ...row, copies: [{ ...first, memoryId: 99 }, ...others] });
  await rig.open();
  await rig.pass(20);
  rig.disk.hangs = true;
  let isTold = false;
  const flushing = rig.device.flush().then((status) => {
    isTold = true;
    return status;
  });
  await rig.pass(50);
  expect(isTold).toBe(false);
  rig.disk.hangs = false;
  expect(await rig.drive(flushing)).toBe(Status.Ok);
});

/** The machine of the host loses its power, and all nodes their memory. */
async function lightsOut(rig: Rig): Promise<void> {
  rig.disk.crash(rig);
  rig.device.stop();
  rig.loseMemory();
  await rig.open();
}

test('what was flushed is never shown as it was before, when all lose their power', async () => {
  const rig = new BackedDevice(new CrashingDisk(), setImmediate, { slabs: 2, nodes: 2, copies: 1 });
  await rig.make();
  await rig.open();
  for (const at of [0, DATA_BYTES]) expect(await rig.drive(rig.write(at, 1))).toBe(Status.Ok);
  expect(await rig.drive(rig.device.flush())).toBe(Status.Ok);
  // The same area is at work when it happens.
  expect(await rig.drive(rig.write(4096, 2))).toBe(Status.Ok);
  await lightsOut(rig);
  const lost = `status ${Status.DataLost}`;
  for (const at of [0, DATA_BYTES]) expect([1, lost]).toContain(await rig.drive(rig.read(at)));
});
