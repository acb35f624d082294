import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { CrashingDisk } from '../runtime/simulated/testing/crashing-disk.js';
import { isBackup } from './ports.js';
import { BackedDevice, DATA_BYTES } from './testing/backed-device.js';

/** All but 20 s are for leaving the set. */
const LATE_MS = 25_000;
/** Of whoever reads or writes. */
const PATIENCE_MS = 30_000;

async function opened(copies: number, nodes: number): Promise<BackedDevice<CrashingDisk>> {
  const rig = new BackedDevice(new CrashingDisk(), setImmediate, { slabs: 2, nodes, copies });
  await rig.make();
  await rig.open();
  expect(await rig.drive(rig.write(0, 7))).toBe(Status.Ok);
  return rig;
}

test('a write does not wait for ever for a disk that hangs', async () => {
  const rig = await opened(1, 1);
  rig.disk.hangs = true;
  const flushing = rig.device.flush();
  expect(await rig.drive(rig.write(DATA_BYTES / 2, 8), LATE_MS)).toBe(Status.Ok);
  expect(await rig.drive(flushing, LATE_MS)).toBe(Status.Ok);
  expect(rig.rows.get(0)?.copies.some(isBackup)).toBe(false);
  expect(await rig.drive(rig.write(0, 9), 1_000)).toBe(Status.Ok);
  rig.disk.hangs = false;
  await rig.pass(5_000);
  expect(rig.file.failure).toBe(Status.Unavailable);
  expect(await rig.drive(rig.read(0))).toBe(9);
});

test('in the file alone what did not get there in time is not known to be there', async () => {
  const rig = await opened(1, 0);
  rig.disk.hangs = true;
  expect(await rig.drive(rig.write(0, 8), PATIENCE_MS + 100)).toBe(Status.OutcomeUnknown);
  expect(await rig.drive(rig.write(4096, 9), PATIENCE_MS + 100)).toBe(Status.Unavailable);
  expect(await rig.drive(rig.device.flush(), 1_000)).toBe(Status.Unavailable);
  rig.disk.hangs = false;
  expect(await rig.drive(rig.read(0))).toBe(8);
});

test('the file is closed when the disk has ended all that it was asked', async () => {
  const rig = await opened(1, 1);
  rig.disk.hangs = true;
  void rig.write(DATA_BYTES / 2, 8);
  await rig.pass(1_000);
  rig.device.stop();
  let isClosed = false;
  const ending = rig.file.end().then(() => (isClosed = true));
  await rig.pass(60_000);
  expect(isClosed).toBe(false);
  rig.disk.hangs = false;
  await rig.drive(ending);
});
