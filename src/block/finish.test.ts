import { expect, test } from 'vitest';
import { crc32c } from '../base/crc32c.js';
import { Status } from '../base/status.js';
import { CrashingDisk } from '../runtime/simulated/testing/crashing-disk.js';
import { type BackupLook, verifyBackup } from './backup/verify.js';
import { BackedDevice, DATA_BYTES, PATH } from './testing/backed-device.js';

type Rig = BackedDevice<CrashingDisk>;
const PLACES = [0, 4096, DATA_BYTES / 2, DATA_BYTES];

/** A device that was written to just now. */
async function written(): Promise<Rig> {
  const rig = new BackedDevice(new CrashingDisk(), setImmediate, { slabs: 2, nodes: 2, copies: 2 });
  await rig.make();
  await rig.open();
  for (const at of PLACES) expect(await rig.drive(rig.write(at, 7))).toBe(Status.Ok);
  return rig;
}

async function ended(rig: Rig): Promise<void> {
  await rig.drive(rig.device.finish(1_000));
  rig.device.stop();
  await rig.drive(rig.file.end());
}

async function look(rig: Rig): Promise<BackupLook> {
  const file = await rig.drive(rig.disk.of(rig).open(PATH, 'read'));
  const seen = await rig.drive(verifyBackup({ file, checksum: { crc32c }, timers: rig.world }));
  if (typeof seen === 'string') throw new Error(seen);
  return seen;
}

test('a host that ends in order leaves a file that has all', async () => {
  const rig = await written();
  await ended(rig);
  const { areas, damage } = await look(rig);
  expect([areas, damage]).toEqual([{ ABSENT: 1, CLEAN: 3, DIRTY: 0, LOST: 0 }, []]);
  rig.loseMemory();
  await rig.open();
  for (const at of PLACES) expect(await rig.drive(rig.read(at))).toBe(7);
});

test('what is written after that is not taken for what was there', async () => {
  const rig = await written();
  await rig.drive(rig.device.finish(1_000));
  expect(await rig.drive(rig.write(0, 8))).toBe(Status.Ok);
  rig.device.stop();
  await rig.drive(rig.file.end());
  expect((await look(rig)).areas).toEqual({ ABSENT: 1, CLEAN: 2, DIRTY: 1, LOST: 0 });
});

test('a write that comes to no end holds up nobody who ends', async () => {
  const rig = await written();
  rig.pauseMemory(60_000);
  void rig.write(0, 8);
  await rig.pass(1);
  await rig.drive(rig.device.finish(1_000), 1_100);
  rig.device.stop();
  await rig.drive(rig.file.end(), 1_000);
  expect((await look(rig)).areas).toEqual({ ABSENT: 1, CLEAN: 2, DIRTY: 1, LOST: 0 });
});
