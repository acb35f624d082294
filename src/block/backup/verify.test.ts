import { expect, test } from 'vitest';
import { crc32c } from '../../base/crc32c.js';
import { Status } from '../../base/status.js';
import type { File } from '../../runtime/disk.js';
import { CrashingDisk } from '../../runtime/simulated/testing/crashing-disk.js';
import { planOf } from '../slabs.js';
import { BackedDevice, DATA_BYTES, PATH, SLAB_BYTES } from '../testing/backed-device.js';
import { filePlanOf, HEAD_BYTES } from './layout.js';
import { type BackupLook, verifyBackup } from './verify.js';

type Rig = BackedDevice<CrashingDisk>;

const plan = filePlanOf(planOf(1, SLAB_BYTES).layout);
const AREA_BYTES = DATA_BYTES / 2;
const parts = { checksum: { crc32c } };

/** Areas 0 and 1 of slab 0 and area 1 of slab 1 were written to, and closed. */
async function written(): Promise<Rig> {
  const rig = new BackedDevice(new CrashingDisk(), setImmediate, { slabs: 3, nodes: 1, copies: 1 });
  await rig.make();
  await rig.open();
  for (const at of [0, 8192, AREA_BYTES, DATA_BYTES + AREA_BYTES]) {
    expect(await rig.drive(rig.write(at, 1 + (at % 251)))).toBe(Status.Ok);
  }
  await rig.pass(5_000);
  return rig;
}

function opened(rig: Rig): Promise<File> {
  return rig.drive(rig.disk.of(rig).open(PATH, 'write'));
}

async function look(rig: Rig): Promise<BackupLook> {
  const file = await opened(rig);
  const seen = await rig.drive(verifyBackup({ ...parts, file, timers: rig.world }));
  if (typeof seen === 'string') throw new Error(seen);
  return seen;
}

async function spoil(rig: Rig, at: number): Promise<void> {
  const file = await opened(rig);
  const byte = new Uint8Array(1);
  await rig.drive(file.read(at, byte));
  await rig.drive(
    file.write(
      at,
      byte.map((one) => one ^ 4),
    ),
  );
}

test('a file that is as it was written is not damaged', async () => {
  const rig = await written();
  const { facts, slabs, wholeHeads, areas, damage } = await look(rig);
  expect(facts).toMatchObject({ device: 1, slabBytes: SLAB_BYTES });
  expect([slabs, wholeHeads, damage]).toEqual([2, 2, []]);
  expect(areas).toEqual({ ABSENT: 1, CLEAN: 3, DIRTY: 0, LOST: 0 });
});

test('blocks, records and heads that are not as they were are named', async () => {
  const rig = await written();
  await spoil(rig, plan.block(0, 2) + 100);
  await spoil(rig, plan.block(0, 5));
  await spoil(rig, plan.record(1, 1) + 40);
  await spoil(rig, plan.map(1));
  await spoil(rig, HEAD_BYTES + 20);
  const { wholeHeads, areas, damage } = await look(rig);
  expect(wholeHeads).toBe(1);
  expect(areas).toEqual({ ABSENT: 1, CLEAN: 2, DIRTY: 1, LOST: 0 });
  expect(damage).toEqual([
    { slab: 0, area: 0, what: '2 of its blocks are not what was written: 2, 5' },
    { slab: 1, what: 'the record of its generation is not whole' },
    { slab: 1, area: 1, what: 'its record is not whole' },
  ]);
});

test('what the disk does not give is damage of that alone', async () => {
  const rig = await written();
  rig.disk.isBad = (at) => at === plan.block(0, 0) || at === plan.map(1);
  const { areas, damage } = await look(rig);
  expect(areas).toEqual({ ABSENT: 0, CLEAN: 1, DIRTY: 0, LOST: 0 });
  expect(damage.map(({ slab, area }) => [slab, area])).toEqual([
    [0, 0],
    [1, undefined],
  ]);
});

test('an area that its host writes to meanwhile is not damaged', async () => {
  const rig = await written();
  const file = await opened(rig);
  let isWritten = false;
  const read = async (at: number, into: Uint8Array): Promise<number> => {
    if (at === plan.block(0, 0) && !isWritten) {
      isWritten = true;
      expect(await rig.write(0, 99)).toBe(Status.Ok);
      expect(await rig.device.flush()).toBe(Status.Ok);
    }
    return file.read(at, into);
  };
  const watched = { read, size: () => file.size() } as File;
  const looking = verifyBackup({ ...parts, file: watched, timers: rig.world });
  expect(await rig.drive(looking)).toMatchObject({
    damage: [],
    areas: { ABSENT: 1, CLEAN: 2, DIRTY: 1, LOST: 0 },
  });
});
