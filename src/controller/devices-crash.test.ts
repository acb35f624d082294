/**
 * Kills the controller at every commit of a life of devices, just before and just after the commit
 * is on disk, and goes on with another one; then judges what clients were told against what stands
 * there.
 */
import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { OWNER_BLOCK_BYTES } from '../disk/slab-owner.js';
import { deviceLeaseName } from '../leases/device-lease.js';
import { leaseNumber } from '../leases/number.js';
import { layoutOf } from '../replication/layout.js';
import { REGION_BYTES } from '../wire/limits.js';
import type { Controller } from './controller.js';
import { nodesText } from './lease-sets.js';
import type { SetCopy } from './metadata/slab-sets.js';
import type { Result } from './refusal.js';
import { FakeRack, GIB, settled } from './testing/fake-rack.js';
import { killedLives, type Side } from './testing/killed-lives.js';

const NODES = ['n1', 'n2'];
const KEPT = 1;
const FACTS = { bytes: 2 ** 40, slabBytes: 2 ** 26, copies: 2, options: '' };

/** Of five slabs. */
const SMALL = 5 * layoutOf(FACTS.slabBytes - OWNER_BLOCK_BYTES).dataBytes;

/** What clients were told. */
class Seen {
  /** Of the device that stays: by slab, copies and generation that were acknowledged. */
  readonly sets = new Map<number, { generation: number; numbers: number[] }>();
  readonly regions = new Map<string, string>();
  readonly removed: number[] = [];
  numbers = 10;
  /** That the device may have which stays. */
  sizes = [FACTS.bytes];
}

function told<T extends object>(result: Result<T>): T {
  if (result.status !== Status.Ok) throw new Error(result.message);
  return result;
}

async function joinAll(rack: FakeRack, controller: Controller): Promise<void> {
  for (const id of NODES) await controller.membership.join(rack.joinRequest(id));
}

/** As a take-over leaves it. */
async function lease(rack: FakeRack, { metadata }: Controller, device: number): Promise<number> {
  const name = deviceLeaseName(device);
  const epoch = (metadata.leases.get(name)?.epoch ?? 0) + 1;
  const nodes = NODES.map((id) => ({ id, memoryId: rack.joinRequest(id).memoryId }));
  const put = { name, lease: leaseNumber(name), epoch, nodes: nodesText(nodes) };
  await metadata.commit([{ table: 'leases', put }]);
  return epoch;
}

/** Never ends when the controller is killed within it. */
async function scenario(rack: FakeRack, controller: Controller, seen: Seen): Promise<void> {
  await joinAll(rack, controller);
  const { devices, slabSpace } = controller;
  const copies: SetCopy[] = [];
  for (const node of NODES) {
    const { row } = told(await slabSpace.grant(node, 0));
    const { space, region, memoryId } = row;
    // A life before was told of the same one.
    const place = `${space}/${region}`;
    expect(seen.regions.get(node) ?? place).toBe(place);
    seen.regions.set(node, place);
    copies.push({ copy: 0, node, memoryId, space, address: region * REGION_BYTES });
  }
  const numbered = (): SetCopy[] => copies.map((one) => ({ ...one, copy: seen.numbers++ }));
  const fresh = seen.numbers++;
  const isMade = devices.open('kept').status === Status.Ok;
  if (!isMade) told(await devices.create({ ...FACTS, name: 'kept', device: KEPT }));
  told(await devices.create({ ...FACTS, name: `gone-${fresh}`, device: fresh }));
  const epoch = await lease(rack, controller, KEPT);
  for (const slab of [3, 4]) {
    const rows = told(devices.sets(KEPT, slab, 1)).rows;
    const before = rows.find((row) => row.slab === slab);
    const known = seen.sets.get(slab);
    // At least as far as was told, and what was told then.
    expect(before?.generation ?? 0).toBeGreaterThanOrEqual(known?.generation ?? 0);
    const generation = (before?.generation ?? 0) + 1;
    const [last] = before === undefined ? [] : (JSON.parse(before.copies) as [number][]);
    const [first, ...others] = numbered();
    const kept = { ...(first as SetCopy), copy: last?.[0] ?? (first as SetCopy).copy };
    const set = [kept, ...others];
    const wish = { device: KEPT, slab, epoch, generation, copies: set };
    expect(told(await devices.putSet(wish)).isTaken).toBe(true);
    expect(told(await devices.putSet(wish)).isTaken).toBe(true);
    seen.sets.set(slab, { generation, numbers: set.map(({ copy }) => copy) });
  }
  const size = told(devices.open('kept')).device.bytes;
  const bytes = size === FACTS.bytes ? SMALL : FACTS.bytes;
  const wish = { name: 'kept', device: KEPT, bytesBefore: size, bytes, epoch };
  const far = { device: KEPT, slab: 5, epoch, generation: 1, copies: numbered() };
  if (size === FACTS.bytes) expect(told(await devices.putSet(far)).generation).toBeGreaterThan(0);
  else await heard(rack, controller);
  seen.sizes = [size, bytes];
  told(await devices.resize({ ...wish, isForced: true }));
  seen.sizes = [bytes];
  const other = await lease(rack, controller, fresh);
  const set = { device: fresh, slab: 0, epoch: other, generation: 1, copies: numbered() };
  expect(told(await devices.putSet(set)).isTaken).toBe(true);
  told(await devices.remove(`gone-${fresh}`, fresh, other));
  seen.removed.push(fresh);
}

/** All nodes, which are asked then for what is beyond the end of the device. */
async function heard(rack: FakeRack, { membership }: Controller): Promise<void> {
  for (const id of NODES) {
    const { memoryId, incarnation } = rack.joinRequest(id);
    const bytes = { bytesLent: GIB, bytesUsed: 0, bytesCommitted: 0 };
    membership.heartbeat({ id, memoryId, incarnation, ...bytes });
  }
  await settled();
}

function judge({ metadata, devices }: Controller, seen: Seen): void {
  for (const [slab, { generation, numbers }] of seen.sets) {
    const [row] = told(devices.sets(KEPT, slab, 1)).rows;
    expect(row?.generation ?? 0).toBeGreaterThanOrEqual(generation);
    if (row?.generation !== generation) continue;
    expect((JSON.parse(row.copies) as [number][]).map(([copy]) => copy)).toEqual(numbers);
  }
  const bytes = metadata.device(KEPT)?.bytes;
  if (bytes !== undefined) expect(seen.sizes).toContain(bytes);
  // Beyond the end nothing is left, and nothing comes back with a larger one.
  const isSmall = bytes === SMALL;
  if (isSmall) expect(metadata.slabSets.ofDevice(KEPT).get(5)).toBeUndefined();
  for (const device of seen.removed) {
    expect(metadata.device(device)).toBeUndefined();
    expect(metadata.removedDevices.has(device)).toBe(true);
  }
  for (const device of metadata.slabSets.devices()) {
    expect(metadata.device(device), `rows of ${device}`).toBeDefined();
  }
}

async function livesOf(kills: readonly number[], side: Side): Promise<number> {
  const rack = new FakeRack();
  const seen = new Seen();
  const live = (controller: Controller): Promise<void> => scenario(rack, controller, seen);
  const broken = await killedLives(rack, kills, side, live);
  const { commits } = rack.databases;
  const controller = await rack.start();
  await joinAll(rack, controller);
  await settled();
  judge(controller, seen);
  await scenario(rack, controller, seen);
  await settled();
  expect(broken).toEqual([]);
  judge(controller, seen);
  return commits;
}

test('killed at every commit boundary, twice in a row, what was told stands', async () => {
  const commits = await livesOf([1_000], 'after');
  expect(commits).toBeGreaterThan(15);
  for (let first = 0; first < commits; first++) {
    for (const side of ['before', 'after'] as const) {
      for (const second of [0, 2, 5, 11]) await livesOf([first, second], side);
    }
  }
});
