/**
 * Kills the controller at every commit of a scenario, just before and just after the commit is on
 * disk, restarts it, lets nodes join again and goes on; then judges what clients and nodes saw.
 */
import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import type { Controller } from './controller.js';
import { controllerFaults } from './planted.js';
import { FakeRack, settled } from './testing/fake-rack.js';
import { killedLives, type Side } from './testing/killed-lives.js';

interface Seen {
  /** `space/region epoch node` of every grant that was answered. */
  readonly grants: Map<string, string>;
  readonly spaces: Map<string, number>;
  readonly files: Map<string, number>;
}

const NODES = ['n1', 'n2', 'n3'];

async function joinAll(rack: FakeRack, controller: Controller): Promise<void> {
  for (const id of NODES) await controller.membership.join(rack.joinRequest(id));
}

/** Never ends when the controller is killed within it. */
async function scenario(rack: FakeRack, controller: Controller, seen: Seen): Promise<void> {
  await joinAll(rack, controller);
  for (const name of ['a', 'b', 'c']) {
    const opened = await controller.spaces.open({ name, create: true, kind: 0, pageBytes: 0 });
    if (opened.status !== Status.Ok) throw new Error(opened.message);
    const { id } = opened.space;
    expect(seen.spaces.get(name) ?? id).toBe(id);
    seen.spaces.set(name, id);
    for (const count of [1, 2]) {
      const granted = await controller.regions.grant({ space: id, count, bytes: 0, near: '' });
      if (granted.status !== Status.Ok) throw new Error(granted.message);
      for (const { region, epoch, node } of granted.regions) {
        const key = `${id}/${region}`;
        expect(seen.grants.has(key), `${key} was granted before`).toBe(false);
        seen.grants.set(key, `${epoch} ${node}`);
      }
    }
    const entry = { key: `file ${name}`, space: id, address: id, length: 1, sha256: '' };
    await controller.files.put([entry]);
    seen.files.set(entry.key, id);
  }
  const gone = seen.spaces.get('b');
  // From here on both answers are right: the removal may have been durable before it was told.
  seen.spaces.delete('b');
  seen.files.delete('file b');
  for (const key of seen.grants.keys()) if (key.startsWith(`${gone}/`)) seen.grants.delete(key);
  await controller.spaces.remove('b');
}

async function judge(rack: FakeRack, controller: Controller, seen: Seen): Promise<void> {
  const holders = new Map<string, string>();
  for (const id of NODES) {
    for (const { space, region, epoch } of rack.node(rack.joinRequest(id).address).held.values()) {
      const key = `${space}/${region}`;
      expect(holders.has(key), `${key} at two nodes`).toBe(false);
      holders.set(key, `${epoch} ${id}`);
    }
  }
  for (const [key, place] of seen.grants) expect(holders.get(key), key).toBe(place);
  for (const [name, id] of seen.spaces) expect(controller.metadata.spaceIds.get(name)).toBe(id);
  for (const key of seen.files.keys()) expect(controller.files.get(key).status).toBe(Status.Ok);
  const rows = [...controller.metadata.regions.values()].flatMap((map) => [...map.values()]);
  expect(new Set(rows.map(({ epoch }) => epoch)).size).toBe(rows.length);
  expect(rows.length).toBe(holders.size);
  for (const space of controller.spaces.list()) {
    expect(space.state).toBe('active');
    for (const { state } of controller.regions.list(space.id, 0, 99)) expect(state).toBe('serving');
  }
}

async function commitsWithoutKill(): Promise<number> {
  const rack = new FakeRack();
  await scenario(rack, await rack.start(), {
    grants: new Map(),
    spaces: new Map(),
    files: new Map(),
  });
  return rack.databases.commits;
}

/** One life per entry of `kills`, each killed at that commit; then a last one that is judged. */
async function livesOf(kills: readonly number[], side: Side): Promise<void> {
  const rack = new FakeRack();
  const seen: Seen = { grants: new Map(), spaces: new Map(), files: new Map() };
  const live = (controller: Controller): Promise<void> => scenario(rack, controller, seen);
  const broken = await killedLives(rack, kills, side, live);
  const controller = await rack.start();
  await joinAll(rack, controller);
  await settled();
  await settled();
  expect(broken).toEqual([]);
  await judge(rack, controller, seen);
}

test('killed at every commit boundary, twice in a row', async () => {
  const commits = await commitsWithoutKill();
  expect(commits).toBeGreaterThan(15);
  for (let first = 0; first < commits; first++) {
    for (const side of ['before', 'after'] as const) {
      await livesOf([first], side);
      for (const second of [0, 1, 3, 7]) await livesOf([first, second], side);
    }
  }
});

test('the planted bug is caught by this', async () => {
  controllerFaults.regionGrantedTwiceAtRestart = true;
  try {
    await expect(livesOf([9, 9, 9], 'after')).rejects.toThrow();
  } finally {
    controllerFaults.regionGrantedTwiceAtRestart = false;
  }
});
