import { expect, test } from 'vitest';
import type { Epoch, RegionIndex, SpaceId } from '../base/brands.js';
import { regionKey } from '../base/region-key.js';
import { Status } from '../base/status.js';
import type { Row } from '../runtime/database.js';
import { MoveState, SpaceKind } from '../wire/messages.js';
import type { Controller } from './controller.js';
import { NO_MARK, ownMark } from './mark.js';
import type { RegionRow } from './metadata/schema.js';
import { controllerFaults } from './planted.js';
import { type FakeNode, FakeRack, settled } from './testing/fake-rack.js';

const NODES = ['n1', 'n2', 'n3'];

type Copy = Map<string, Map<string, Row>>;

class Restored {
  readonly rack = new FakeRack();
  controller!: Controller;

  node(id: string): FakeNode {
    return this.rack.node(this.rack.joinRequest(id).address);
  }

  async begin(nodes: readonly string[] = NODES): Promise<void> {
    this.controller = await this.rack.start();
    await this.join(nodes);
  }

  /** They join, are asked, and hear the mark, as with the next heartbeat. */
  async join(nodes: readonly string[]): Promise<void> {
    for (const id of nodes) {
      const joined = await this.controller.membership.join(this.rack.joinRequest(id));
      expect(joined.status).toBe(Status.Ok);
      await settled();
    }
    this.heartbeats(nodes);
    await settled();
  }

  /** For nodes that the copy does not know. */
  async waitForOthers(nodes: readonly string[]): Promise<void> {
    this.rack.nowMs += this.rack.awayMs + 1;
    this.heartbeats(nodes);
    await settled();
  }

  heartbeats(nodes: readonly string[] = NODES): void {
    for (const id of nodes) {
      const request = this.rack.joinRequest(id);
      this.controller.membership.heartbeat({ ...request, bytesUsed: 0, bytesCommitted: 0 });
      this.rack.tell(this.controller, id);
    }
  }

  async space(name: string): Promise<SpaceId> {
    const opened = await this.controller.spaces.open({ name, create: true, kind: 0, pageBytes: 0 });
    if (opened.status !== Status.Ok) throw new Error(opened.message);
    return opened.space.id;
  }

  async grant(space: SpaceId, count = 1): Promise<number[]> {
    const granted = await this.controller.regions.grant({ space, count, bytes: 0, near: '' });
    if (granted.status !== Status.Ok) throw new Error(granted.message);
    return granted.regions.map(({ region }) => region);
  }

  copy(): Copy {
    const { tables } = this.rack.databases;
    return new Map([...tables].map(([name, rows]) => [name, new Map(rows)]));
  }

  /** The controller of now ends, and one starts on the copy. */
  async putBack(copy: Copy): Promise<void> {
    this.rack.kill();
    this.rack.databases.tables.clear();
    for (const [name, rows] of copy) this.rack.databases.tables.set(name, new Map(rows));
    this.controller = await this.rack.start();
  }

  /** `region node state` of all that the controller knows of the space. */
  regions(space: SpaceId): string[] {
    const list = this.controller.regions.list(space, 0, 100_000);
    return list.map(({ region, node, state }) => `${region} ${node} ${state}`);
  }

  /** What nodes hold: `region node`. */
  held(space: SpaceId): string[] {
    return NODES.flatMap((id) => {
      const { held } = this.rack.node(this.rack.joinRequest(id).address);
      const own = [...held.values()].filter((one) => one.space === space);
      return own.map(({ region }) => `${region} ${id}`);
    }).sort();
  }
}

test('an ordinary restart looks, and goes on when all have answered', async () => {
  const it = new Restored();
  await it.begin();
  const space = await it.space('s');
  await it.grant(space, 3);
  it.heartbeats();
  await it.putBack(it.copy());
  expect(it.controller.restoration.phase).toBe('looking');
  expect(it.controller.restoration.refusal()?.status).toBe(Status.Unavailable);
  await it.join(['n1', 'n2']);
  expect(it.controller.restoration.awaited()).toEqual(['n3']);
  await it.join(['n3']);
  expect(it.controller.restoration.phase).toBe('over');
  expect(it.controller.metadata.next('restores')).toBe(0);
  expect(await it.grant(space)).toEqual([4]);
});

test('numbers go on where they were, also where none was given out', async () => {
  const it = new Restored();
  await it.begin();
  const { metadata } = it.controller;
  await it.putBack(it.copy());
  expect(it.controller.metadata.next('space')).toBe(metadata.next('space'));
  expect(it.controller.metadata.next('epoch')).toBe(metadata.next('epoch'));
});

test('an epoch that was not given out proves that the copy is older', async () => {
  const it = new Restored();
  await it.begin();
  it.heartbeats();
  const copy = it.copy();
  const epoch = it.controller.metadata.next('epoch') + 5;
  await it.putBack(copy);
  // All that its node remembers of a move that came to nothing.
  it.node('n2').mark = { ...it.node('n2').mark, nextEpoch: epoch };
  await it.join(['n1', 'n2']);
  expect(it.controller.restoration.phase).toBe('restoring');
  await it.join(['n3']);
  expect(it.controller.restoration.phase).toBe('over');
  expect(it.controller.metadata.next('epoch')).toBeGreaterThan(epoch);
});

test('what a node refuses from any controller is above it, and proves nothing', async () => {
  const it = new Restored();
  await it.begin(['n1']);
  const nextEpoch = it.controller.metadata.next('epoch') + 1_000;
  // Of a database that is no more; its mark is ours with the answer to the join.
  it.node('n2').mark = { ...NO_MARK, controller: 77, commit: 5, life: 9, nextSpace: 9, nextEpoch };
  await it.join(['n2']);
  expect(it.controller.metadata.next('epoch')).toBeGreaterThanOrEqual(nextEpoch);
  it.node('n2').mark = { ...ownMark(it.controller.metadata), nextEpoch };
  await it.join(['n2']);
  expect(it.controller.metadata.next('restoring')).toBe(0);
  expect(it.controller.metadata.next('restores')).toBe(0);
});

test('an ordinary restart does not wait for ever for a node that is silent', async () => {
  const it = new Restored();
  await it.begin();
  it.heartbeats();
  await it.putBack(it.copy());
  it.rack.nowMs += 7_000;
  expect(it.controller.restoration.phase).toBe('looking');
  await it.join(['n1']);
  expect(it.controller.restoration.phase).toBe('over');
});

test('what was granted since is taken over, and all that follows is above it', async () => {
  const it = new Restored();
  await it.begin();
  const space = await it.space('s');
  const copy = it.copy();
  const epochs = it.controller.metadata.next('epoch');
  await it.grant(space, 3);
  it.heartbeats();
  await it.putBack(copy);
  await it.join(['n1', 'n2']);
  expect(it.controller.restoration.phase).toBe('restoring');
  expect(it.controller.restoration.awaited()).toEqual(['n3']);
  it.rack.nowMs += 100_000;
  it.heartbeats(['n1', 'n2']);
  await settled();
  expect(it.controller.restoration.refusal()?.message).toContain('n3');
  const refused = await it.controller.regions.grant({ space, count: 1, bytes: 0, near: '' });
  expect(refused.status).toBe(Status.Unavailable);
  await it.join(['n3']);
  expect(it.controller.restoration.phase).toBe('over');
  it.heartbeats();
  const taken = it.held(space);
  expect(taken).toHaveLength(3);
  expect(it.regions(space)).toEqual(taken.map((one) => `${one} serving`));
  const [next = 0] = await it.grant(space);
  expect(next).toBeGreaterThan(3);
  expect(it.controller.metadata.next('epoch')).toBeGreaterThan(epochs + 4);
  // An ordinary restart afterwards is one.
  it.heartbeats();
  await it.putBack(it.copy());
  await it.join(NODES);
  expect(it.controller.restoration.phase).toBe('over');
  expect(it.controller.metadata.next('restores')).toBe(1);
});

test('the life goes above all that were seen, so that hellos fence those of before', async () => {
  const it = new Restored();
  await it.begin();
  const copy = it.copy();
  for (let i = 0; i < 5; i++) {
    await it.putBack(it.copy());
    await it.join(NODES);
  }
  const { life } = it.rack.node(it.rack.joinRequest('n1').address).mark;
  await it.putBack(copy);
  expect(it.controller.metadata.next('life')).toBeLessThan(life);
  await it.join(['n1']);
  expect(it.controller.metadata.next('life')).toBeGreaterThan(life);
  await it.join(NODES);
  expect(it.controller.restoration.phase).toBe('over');
});

test('a space that was made since is kept, named and adopted, with its number', async () => {
  const it = new Restored();
  await it.begin();
  const copy = it.copy();
  const space = await it.space('since');
  const unheld = await it.space('without-regions');
  await it.grant(space, 3);
  it.heartbeats();
  await it.putBack(copy);
  expect(it.controller.refuseUnknownSpace(space).status).toBe(Status.Unavailable);
  await it.join(NODES);
  await it.join(NODES);
  expect(it.controller.restoration.phase).toBe('over');
  expect(it.controller.refuseUnknownSpace(space).status).toBe(Status.Unavailable);
  expect(it.controller.refuseUnknownSpace(unheld).status).toBe(Status.NotFound);
  expect([...it.controller.membership.unknownSpaces().keys()]).toEqual([space]);
  // Before it is adopted: another one of the same name has another number.
  const other = await it.space('other');
  expect([space, unheld]).not.toContain(other);
  const taken = await it.controller.spaces.adopt(space, 'other');
  expect(taken.status).toBe(Status.Exists);
  const adopted = await it.controller.spaces.adopt(space, 'since');
  expect(adopted.status).toBe(Status.Ok);
  expect(await it.space('since')).toBe(space);
  expect(it.regions(space)).toEqual(it.held(space).map((one) => `${one} serving`));
  expect(await it.grant(space)).not.toEqual([4]);
  expect(it.controller.membership.unknownSpaces().size).toBe(0);
});

test('what a node of the copy does not hold any more is lost, never granted empty', async () => {
  const it = new Restored();
  await it.begin();
  const space = await it.space('s');
  await it.grant(space, 3);
  const copy = it.copy();
  await it.controller.spaces.remove('s');
  await settled();
  expect(it.held(space)).toEqual([]);
  it.heartbeats();
  await it.putBack(copy);
  await it.join(NODES);
  await it.join(NODES);
  expect(it.regions(space).every((one) => !one.endsWith('lost'))).toBe(true);
  await it.waitForOthers(NODES);
  expect(it.regions(space).map((one) => one.split(' ')[2])).toEqual(['lost', 'lost', 'lost']);
  it.heartbeats();
  await settled();
  expect(it.held(space)).toEqual([]);
});

test('what has moved to a node that joined since is waited for, before it is lost', async () => {
  for (const isInTime of [true, false]) {
    const it = new Restored();
    await it.begin(['n1']);
    const space = await it.space('s');
    await it.grant(space);
    const copy = it.copy();
    await it.join(['n3']);
    const moved = it.controller.moves.move({ space, region: 1 as RegionIndex, to: 'n3' });
    await it.rack.advance(2_000);
    expect(await moved).toEqual({ end: 'done' });
    it.heartbeats(['n1', 'n3']);
    await it.putBack(copy);
    await it.join(['n1']);
    await it.join(['n1']);
    expect(it.regions(space)).toEqual(['1 n1 away']);
    if (!isInTime) {
      await it.waitForOthers(['n1']);
      expect(it.regions(space)).toEqual(['1 n1 lost']);
    }
    await it.join(['n3']);
    await it.waitForOthers(['n1', 'n3']);
    expect(it.regions(space)).toEqual(['1 n3 serving']);
  }
});

test('a region that was moved since belongs to the higher epoch, whoever is first', async () => {
  for (const order of [NODES, [...NODES].reverse()]) {
    const it = new Restored();
    await it.begin();
    const space = await it.space('s');
    await it.grant(space);
    const copy = it.copy();
    const [row] = it.controller.metadata.regionsOf(space).values();
    const from = it.rack.node(it.rack.joinRequest(row?.node ?? '').address);
    const to = NODES.find((id) => id !== row?.node) ?? '';
    const [grant] = from.held.values();
    if (grant === undefined || row === undefined) throw new Error('nothing was granted');
    from.held.clear();
    const epoch = (grant.epoch + 1) as typeof grant.epoch;
    it.rack.node(it.rack.joinRequest(to).address).grant({ ...grant, epoch });
    await it.grant(await it.space('more'));
    it.heartbeats();
    await it.putBack(copy);
    await it.join(order);
    await it.join(order);
    it.heartbeats();
    expect(it.regions(space)).toEqual([`1 ${to} serving`]);
  }
});

/** One region of a space, at n1, and a copy of the database from before what follows. */
async function atFirst(nodes: readonly string[] = NODES) {
  const it = new Restored();
  await it.begin(nodes);
  const space = await it.space('s');
  const near = { space, count: 1, bytes: 0, near: 'n1' };
  expect((await it.controller.regions.grant(near)).status).toBe(Status.Ok);
  expect(it.held(space)).toEqual(['1 n1']);
  it.heartbeats(nodes);
  const nodeOf = (id: string) => it.rack.node(it.rack.joinRequest(id).address);
  const [grant] = nodeOf('n1').held.values();
  if (grant === undefined) throw new Error('nothing was granted');
  /** The node holds the region since, or another one of the space. */
  const takes = (id: string, epoch: number, region = 1): void => {
    const held = { ...grant, epoch: epoch as Epoch, region: region as RegionIndex };
    nodeOf(id).held.set(regionKey(space, region), held);
  };
  const move = { space, region: grant.region, epoch: (grant.epoch + 1) as Epoch };
  return { it, space, copy: it.copy(), nodeOf, takes, grant, move };
}

test('a move that the copy does not know comes to rest, wherever it shows', async () => {
  for (const order of [NODES, [...NODES].reverse()]) {
    const { it, space, copy, nodeOf, move } = await atFirst();
    nodeOf('n1').onTheWay = [{ ...move, state: MoveState.COPYING, to: 'n2' }];
    await it.putBack(copy);
    await it.join(order);
    expect(it.controller.metadata.next('restores')).toBe(1);
    expect(nodeOf('n1').onTheWay).toEqual([]);
    expect(it.regions(space)).toEqual(['1 n1 serving']);
    expect(it.controller.metadata.next('epoch')).toBeGreaterThan(move.epoch);
  }
});

test('a move that the database knows goes on after a restart, when all have answered', async () => {
  const { it, space, nodeOf, move } = await atFirst();
  it.rack.moving = MoveState.COPYING;
  const { region } = move;
  void it.controller.moves.move({ space, region, to: 'n2' });
  await settled();
  const epoch = [...it.controller.metadata.moves.values()][0]?.epoch ?? (0 as Epoch);
  nodeOf('n1').onTheWay = [{ ...move, epoch, state: MoveState.COPYING, to: 'n2' }];
  await it.putBack(it.copy());
  it.rack.moving = MoveState.GONE;
  await it.join(['n1', 'n2']);
  await it.rack.advance(500);
  expect(it.held(space)).toEqual(['1 n1']);
  await it.join(['n3']);
  expect(it.controller.metadata.next('restores') + it.controller.metadata.moves.size).toBe(1);
  await it.rack.advance(1_000);
  expect(it.regions(space)).toEqual(['1 n2 serving']);
  expect(it.controller.metadata.moves.size).toBe(0);
});

test('what was taken between two answers is not lost', async () => {
  const { it, space, copy, nodeOf, takes, move } = await atFirst();
  await it.space('since');
  it.heartbeats();
  nodeOf('n1').onTheWay = [{ ...move, state: MoveState.HANDING, to: 'n2' }];
  await it.putBack(copy);
  await it.join(['n2', 'n3']);
  takes('n2', move.epoch);
  nodeOf('n1').held.clear();
  nodeOf('n1').onTheWay = [];
  await it.join(['n1']);
  expect(it.controller.restoration.phase).toBe('over');
  it.heartbeats();
  expect(it.regions(space)).toEqual(['1 n2 serving']);
});

test.each([
  ['kept', ''],
  ['taken', ''],
  ['kept', 'n2'],
  ['taken', 'n2'],
] as const)('who is in doubt is told: %s, target %s', async (what, to) => {
  const { it, space, copy, nodeOf, takes, move } = await atFirst();
  const epoch = (to === '' ? 0 : move.epoch) as Epoch;
  nodeOf('n1').onTheWay = [{ ...move, epoch, state: MoveState.HANDING, to }];
  if (what === 'taken') takes('n2', move.epoch);
  await it.putBack(copy);
  await it.join(NODES);
  expect(it.controller.restoration.phase).toBe('over');
  expect(it.controller.metadata.next('restores')).toBe(1);
  const told = what === 'taken' ? move.epoch : epoch;
  expect(nodeOf('n1').calls).toContain(`end ${space}/1 ${told} ${what}`);
  it.heartbeats();
  expect(it.regions(space)).toEqual([`1 ${what === 'taken' ? 'n2' : 'n1'} serving`]);
});

test('a target that joined since the copy has to come before its source is told', async () => {
  const { it, space, copy, nodeOf, takes, move } = await atFirst(['n1', 'n2']);
  nodeOf('n1').onTheWay = [{ ...move, state: MoveState.HANDING, to: 'n3' }];
  takes('n3', move.epoch);
  await it.putBack(copy);
  await it.join(['n1', 'n2']);
  await it.join(['n1', 'n2']);
  expect(it.controller.restoration.phase).toBe('restoring');
  expect(it.controller.restoration.awaited()).toEqual(['n1']);
  expect(it.controller.restoration.unknownTargets()).toEqual(['n3']);
  expect(nodeOf('n1').calls.filter((call) => call.startsWith('end'))).toEqual([]);
  await it.join(['n3']);
  it.heartbeats();
  await settled();
  expect(it.controller.restoration.phase).toBe('over');
  expect(it.controller.restoration.unknownTargets()).toEqual([]);
  expect(nodeOf('n1').calls).toContain(`end ${space}/1 ${move.epoch} taken`);
  it.heartbeats();
  expect(it.regions(space)).toEqual(['1 n3 serving']);
});

test('a move of the copy that has ended since is forgotten, and nothing is lost', async () => {
  const { it, space, takes, nodeOf, move } = await atFirst();
  it.rack.moving = MoveState.UNSURE;
  void it.controller.moves.move({ space, region: move.region, to: 'n2' });
  await settled();
  expect(it.controller.metadata.moves.size).toBe(1);
  const copy = it.copy();
  nodeOf('n1').held.clear();
  takes('n3', move.epoch + 7);
  await it.putBack(copy);
  await it.join(NODES);
  expect(it.controller.metadata.next('restores')).toBe(1);
  await it.rack.advance(500);
  expect(it.controller.metadata.moves.size).toBe(0);
  expect(it.controller.moves.underWay()).toEqual([]);
  await it.controller.membership.ended('n1', it.rack.joinRequest('n1').memoryId);
  it.heartbeats(['n2', 'n3']);
  await settled();
  expect(it.regions(space)).toEqual(['1 n3 serving']);
});

test.each(['n1', undefined])(
  'a move ends whose region has moved on (source %s)',
  async (source) => {
    const { it, space, nodeOf, move } = await atFirst();
    const { metadata, moves, membership } = it.controller;
    it.rack.moving = MoveState.GONE;
    const epoch = (move.epoch + 7) as typeof move.epoch;
    const ended = moves.move({ space, region: move.region, to: 'n2' });
    await settled();
    const row = metadata.regionsOf(space).get(move.region) as RegionRow;
    const { memoryId } = it.rack.joinRequest('n3');
    await metadata.commit([{ table: 'regions', put: { ...row, node: 'n3', memoryId, epoch } }]);
    if (source === undefined) await membership.ended('n1', it.rack.joinRequest('n1').memoryId);
    await it.rack.advance(2_000);
    expect(metadata.moves.size).toBe(0);
    expect((await ended).end).toBe('done');
    expect(metadata.regionsOf(space).get(move.region)).toMatchObject({ node: 'n3', epoch });
    const told = nodeOf('n1').calls.filter((call) => call.endsWith(' taken'));
    expect(told.length).toBe(source === undefined ? 0 : 1);
  },
);

test('while a node is silent nothing is granted anew that may have been moved there', async () => {
  const { it, space, nodeOf, grant } = await atFirst();
  nodeOf('n1').held.clear();
  nodeOf('n1').answer = () => Status.Stale;
  await it.putBack(it.copy());
  it.rack.nowMs += 7_000;
  await it.join(['n1', 'n2']);
  expect(it.controller.restoration.phase).toBe('over');
  it.heartbeats(['n1', 'n2']);
  await settled();
  const epochOf = () => it.controller.metadata.regionsOf(space).get(grant.region)?.epoch;
  expect(epochOf()).toBe(grant.epoch);
  await it.join(['n3']);
  it.heartbeats();
  await settled();
  expect(epochOf()).toBeGreaterThan(grant.epoch);
});

test('no move is decided while nodes are asked', async () => {
  const { it, space, copy, move } = await atFirst();
  await it.putBack(copy);
  const end = await it.controller.moves.move({ space, region: move.region, to: 'n2' });
  expect(end).toMatchObject({ end: 'refused', status: Status.Unavailable });
});

test('what is lost may turn up while the database is known to be old', async () => {
  const { it, space, copy, takes, nodeOf, move } = await atFirst();
  await it.space('since');
  it.heartbeats(['n2', 'n3']);
  nodeOf('n1').held.clear();
  takes('n3', move.epoch);
  await it.putBack(copy);
  await it.join(['n2']);
  await it.controller.membership.ended('n1', it.rack.joinRequest('n1').memoryId);
  expect(it.regions(space)).toEqual(['1 n1 away']);
  await it.join(['n3']);
  it.heartbeats(['n2', 'n3']);
  expect(it.regions(space)).toEqual(['1 n3 serving']);
});

test('the answer that proves the copy old does not count: its node is asked again', async () => {
  const { it, space, copy, nodeOf, takes, move } = await atFirst(['n1', 'n2']);
  takes('n1', move.epoch, 2);
  await it.putBack(copy);
  const asked: boolean[] = [];
  nodeOf('n1').moves = (stops) => {
    asked.push(stops);
    // A grant of the life before is executed after the answer.
    if (asked.length === 2) takes('n1', move.epoch + 1, 3);
    return [];
  };
  // What it says when it joins is older than that.
  const early = it.rack.joinRequest('n1', { regions: [] });
  expect((await it.controller.membership.join(early)).status).toBe(Status.Ok);
  await settled();
  expect(asked).toEqual([false]);
  await it.join(['n2']);
  expect(it.controller.restoration.awaited()).toEqual(['n1']);
  it.heartbeats(['n1', 'n2']);
  await settled();
  expect(asked.slice(1).every((stops) => stops)).toBe(true);
  expect(it.controller.restoration.phase).toBe('over');
  expect(it.regions(space)).toEqual(['1 n1 serving', '2 n1 serving', '3 n1 serving']);
});

test('of a node that joined since no region is given to anybody else', async () => {
  const it = new Restored();
  await it.begin(['n1', 'n2']);
  const space = await it.space('s');
  const copy = it.copy();
  await it.join(['n3']);
  while (it.held(space).every((one) => !one.endsWith('n3'))) await it.grant(space);
  const before = it.held(space);
  it.heartbeats();
  await it.putBack(copy);
  await it.join(['n1', 'n2']);
  await it.join(['n1', 'n2']);
  expect(it.controller.restoration.phase).toBe('over');
  const [next = 0] = await it.grant(space);
  expect(before.map((one) => Number(one.split(' ')[0]))).not.toContain(next);
  await it.join(['n3']);
  await it.join(NODES);
  const all = it.regions(space).filter((one) => !one.startsWith(`${next} `));
  expect(all.sort()).toEqual(before.map((one) => `${one} serving`).sort());
});

test('of a node that has just joined the others know when it is given something', async () => {
  const it = new Restored();
  await it.begin(['n1', 'n2']);
  const space = await it.space('s');
  const copy = it.copy();
  // No heartbeat since.
  const twice = [1, 2].map(() => it.controller.membership.join(it.rack.joinRequest('n3')));
  for (const { status } of await Promise.all(twice)) expect(status).toBe(Status.Ok);
  const { rows } = it.controller.metadata.history;
  const told = [...rows.values()].filter(({ node }) => node === 'n3').map(({ kind }) => kind);
  expect(told).toEqual(['node-joined']);
  while (it.held(space).every((one) => !one.endsWith('n3'))) await it.grant(space);
  const before = it.held(space).filter((one) => one.endsWith('n3'));
  for (const id of ['n1', 'n2']) it.node(id).held.clear();
  await it.putBack(copy);
  await it.join(['n1', 'n2']);
  await it.join(['n1', 'n2']);
  const again = [...(await it.grant(space, 8)), ...(await it.grant(space, 8))];
  expect(again.map((region) => `${region} n3`)).not.toContain(before[0]);
  expect(it.controller.metadata.next('restores')).toBe(1);
});

test.each([false, true])('a region is taken over from its holder, ended: %s', async (isEnded) => {
  const it = new Restored();
  await it.begin();
  const space = await it.space('s');
  await it.grant(space);
  const [row] = it.controller.metadata.regionsOf(space).values();
  const from = row?.node ?? '';
  const [to = '', third = ''] = NODES.filter((id) => id !== from);
  it.heartbeats();
  await it.putBack(it.copy());
  await it.join([from, third]);
  const { membership } = it.controller;
  const confirmed = membership.members.get(from)?.confirmed;
  expect(confirmed?.size).toBe(1);
  // It had moved since: its node has heard of changes that the copy lacks.
  const [grant] = it.node(from).held.values();
  if (grant === undefined) throw new Error('nothing was granted');
  it.node(to).grant({ ...grant, epoch: (grant.epoch + 5) as typeof grant.epoch });
  const { mark } = it.node(to);
  it.node(to).mark = { ...mark, commit: mark.commit + 1_000, instance: 7 };
  if (isEnded) await membership.ended(from, it.rack.joinRequest(from).memoryId);
  expect(membership.members.has(from)).toBe(true);
  await it.join([to]);
  expect(it.regions(space)).toEqual([`1 ${to} serving`]);
  expect(confirmed?.size).toBe(0);
  expect(membership.members.has(from)).toBe(!isEnded);
});

test('other memory that was let in since proves that the one before is gone', async () => {
  const it = new Restored();
  await it.begin();
  const space = await it.space('s');
  await it.grant(space, 3);
  const copy = it.copy();
  const old = it.rack.joinRequest('n1');
  await it.controller.membership.ended('n1', old.memoryId);
  const { address } = old;
  it.rack.node(address).held.clear();
  const other = { memoryId: 77, address };
  expect((await it.controller.membership.join(it.rack.joinRequest('n1', other))).status).toBe(0);
  it.rack.tell(it.controller, 'n1');
  it.heartbeats(['n2', 'n3']);
  await it.putBack(copy);
  const empty = it.rack.joinRequest('n1', { ...other, mark: it.rack.joinRequest('n9').mark });
  expect((await it.controller.membership.join(empty)).status).toBe(Status.Exists);
  expect((await it.controller.membership.join(it.rack.joinRequest('n1', other))).status).toBe(0);
  await settled();
  await it.join(['n2', 'n3']);
  it.controller.membership.heartbeat({
    ...it.rack.joinRequest('n1', other),
    bytesUsed: 0,
    bytesCommitted: 0,
  });
  await settled();
  expect(it.controller.restoration.phase).toBe('over');
  const lost = it.regions(space).filter((one) => one.endsWith('lost'));
  expect(lost.every((one) => one.includes('n1'))).toBe(true);
});

test('places of files are not freed a second time', async () => {
  const it = new Restored();
  await it.begin();
  const space = await it.space('s');
  await it.grant(space);
  const file = { key: 'f', space, address: 2 ** 30, length: 8, sha256: '' };
  const { files, garbage } = it.controller;
  await files.put([file, { ...file, key: 'g', address: 2 ** 31 }]);
  await files.remove('g');
  const copy = it.copy();
  const taken = await garbage.take(5, 10);
  expect(taken.status === Status.Ok && taken.places).toHaveLength(1);
  await garbage.forget(5, [{ space, address: 2 ** 31 }], true);
  await files.put([{ ...file, address: 2 ** 32 }]);
  it.heartbeats();
  await it.putBack(copy);
  await it.join(NODES);
  await it.join(NODES);
  expect(it.controller.restoration.phase).toBe('over');
  await it.controller.files.put([{ ...file, address: 2 ** 33 }]);
  const again = await it.controller.garbage.take(6, 10);
  expect(again.status === Status.Ok && again.places).toEqual([]);
  // What is put from now on is freed as ever.
  await it.controller.files.remove('f');
  const later = await it.controller.garbage.take(7, 10);
  expect(later.status === Status.Ok && later.places.map(({ address }) => address)).toEqual([
    2 ** 33,
  ]);
});

test('a controller that dies while it restores goes on restoring', async () => {
  const it = new Restored();
  await it.begin();
  const space = await it.space('s');
  const copy = it.copy();
  await it.grant(space, 3);
  it.heartbeats();
  await it.putBack(copy);
  await it.join(['n1', 'n2']);
  await it.putBack(it.copy());
  expect(it.controller.restoration.phase).toBe('restoring');
  expect(it.controller.restoration.awaited()).toEqual(NODES);
  await it.join(NODES);
  expect(it.controller.restoration.phase).toBe('over');
  it.heartbeats();
  expect(it.regions(space)).toEqual(it.held(space).map((one) => `${one} serving`));
});

test('a life that ends before it has asked hides nothing from the next one', async () => {
  const it = new Restored();
  await it.begin();
  it.heartbeats();
  await settled();
  await it.putBack(it.copy());
  await it.join(NODES);
  expect(it.controller.restoration.phase).toBe('over');
  const copy = it.copy();
  // One commit, of which the nodes hear, and which holds no region.
  const made = await it.space('since');
  it.heartbeats();
  await settled();
  await it.putBack(copy);
  // As many commits as were lost.
  await it.putBack(it.copy());
  await it.putBack(it.copy());
  await it.join(NODES);
  expect(it.controller.metadata.next('restores')).toBe(1);
  expect(await it.space('another')).toBeGreaterThan(made);
});

test('a copy made while a life looks is judged by where that life went on', async () => {
  const it = new Restored();
  await it.begin();
  it.heartbeats();
  await settled();
  await it.putBack(it.copy());
  const copy = it.copy();
  await it.join(NODES);
  expect(it.controller.restoration.phase).toBe('over');
  const made = await it.space('since');
  it.heartbeats();
  await settled();
  await it.putBack(copy);
  // As many commits as were lost, of lives that ask nobody.
  for (let life = 0; life < 3; life++) await it.putBack(it.copy());
  await it.join(NODES);
  expect(it.controller.metadata.next('restores')).toBe(1);
  expect(await it.space('another')).toBeGreaterThan(made);
});

test('two lives of the same number, on the same copy, are told apart', async () => {
  const it = new Restored();
  await it.begin();
  it.heartbeats();
  await settled();
  const copy = it.copy();
  await it.putBack(copy);
  await it.join(NODES);
  const made = await it.space('since');
  it.heartbeats();
  await settled();
  await it.putBack(copy);
  expect(it.controller.metadata.next('life')).toBe(it.node('n1').mark.life);
  for (let life = 0; life < 3; life++) await it.putBack(it.copy());
  await it.join(NODES);
  expect(it.controller.metadata.next('restores')).toBe(1);
  expect(await it.space('another')).toBeGreaterThan(made);
});

test('a copy that knows no node is not judged by the first that starts on it', async () => {
  const it = new Restored();
  it.controller = await it.rack.start();
  const copy = it.copy();
  await it.join(['n1']);
  const made = await it.space('since');
  await it.putBack(copy);
  for (let life = 0; life < 8; life++) await it.putBack(it.copy());
  await it.join(['n1']);
  await it.join(['n1']);
  expect(it.controller.metadata.next('restores')).toBe(1);
  expect(await it.space('another')).toBeGreaterThan(made);
});

test('a file that was opened often since the copy is the one that was served last', async () => {
  const it = new Restored();
  it.controller = await it.rack.start();
  const join = (openings: number[], incarnation: number): Promise<{ status: number }> => {
    const kind = SpaceKind.PERSISTENT;
    const request = it.rack.joinRequest('n1', { kind, openings, incarnation });
    return it.controller.membership.join(request);
  };
  expect(await join([1], 1)).toMatchObject({ status: Status.Ok });
  await settled();
  const copy = it.copy();
  expect(await join([2, 3, 4], 9)).toMatchObject({ status: Status.Stale });
  expect(await join([1, 2, 3], 3)).toMatchObject({ status: Status.Ok });
  expect(await join([2, 3, 4], 4)).toMatchObject({ status: Status.Ok });
  it.rack.tell(it.controller, 'n1');
  await it.putBack(copy);
  expect(await join([2, 3, 4], 4)).toMatchObject({ status: Status.Ok });
  await settled();
  expect(it.controller.metadata.next('restores')).toBe(1);
  // From here on it is known again.
  expect(await join([5, 6, 7], 9)).toMatchObject({ status: Status.Stale });
});

test('numbers that a node remembers are not forgotten with it, or the controller', async () => {
  const it = new Restored();
  await it.begin();
  const copy = it.copy();
  await it.putBack(it.copy());
  for (const id of ['n2', 'n3']) it.node(id).hearsMarks = false;
  await it.join(NODES);
  // Of numbers that are far above, and told to one node.
  for (let i = 0; i < 3; i++) await it.space(`since-${i}`);
  it.heartbeats(['n1']);
  const { nextSpace, nextEpoch } = it.node('n1').mark;
  await it.putBack(copy);
  expect(it.controller.metadata.next('space')).toBeLessThan(nextSpace);
  // Killed as soon as it knows that it is older; the node is never heard again.
  it.rack.databases.afterCommit = (changes) => {
    if (changes.some((one) => 'put' in one && one.row['name'] === 'restoring')) it.rack.kill();
  };
  void it.controller.membership.join(it.rack.joinRequest('n1'));
  await settled();
  it.rack.databases.afterCommit = () => undefined;
  await it.putBack(it.copy());
  expect(it.controller.restoration.phase).toBe('restoring');
  expect(it.controller.metadata.next('space')).toBeGreaterThanOrEqual(nextSpace);
  expect(it.controller.metadata.next('epoch')).toBeGreaterThanOrEqual(nextEpoch);
});

test('what a restoration has told is remembered by a node that is no proof any more', async () => {
  const it = new Restored();
  await it.begin();
  const space = await it.space('s');
  const copy = it.copy();
  await it.grant(space, 3);
  it.heartbeats();
  await it.putBack(copy);
  await it.join(['n1']);
  expect(it.controller.restoration.phase).toBe('restoring');
  const n1 = it.node('n1');
  n1.mark = { ...n1.mark, ...ownMark(it.controller.metadata), nextSpace: 100_000_000 };
  await it.putBack(it.copy());
  await it.join(['n1']);
  expect(it.controller.metadata.next('space')).toBeGreaterThanOrEqual(100_000_000);
});

test('two restorations of one copy hardly ever end with the same numbers', async () => {
  const ends = new Set<string>();
  const it = new Restored();
  await it.begin();
  const space = await it.space('s');
  const copy = it.copy();
  await it.grant(space);
  it.heartbeats();
  const marks = NODES.map((id) => it.node(id).mark);
  for (let i = 0; i < 3; i++) {
    await it.putBack(copy);
    // Nothing that a restoration told is left.
    NODES.forEach((id, at) => (it.node(id).mark = marks[at] ?? NO_MARK));
    await it.join(NODES);
    await it.join(NODES);
    expect(it.controller.restoration.phase).toBe('over');
    const { metadata } = it.controller;
    ends.add(`space ${metadata.next('space')}`).add(`epoch ${metadata.next('epoch')}`);
    ends.add(`region ${metadata.spaces.get(space)?.nextRegion}`);
  }
  expect(ends.size).toBe(9);
});

test('lives that went on without a silent node are no proof of anything', async () => {
  const it = new Restored();
  await it.begin();
  it.heartbeats();
  await settled();
  for (let life = 0; life < 3; life++) {
    await it.putBack(it.copy());
    it.rack.nowMs += 7_000;
    await it.join(['n1', 'n2']);
    expect(it.controller.restoration.phase).toBe('over');
    await it.space(`s${life}`);
    it.heartbeats(['n1', 'n2']);
    await settled();
  }
  await it.join(['n3']);
  expect(it.controller.metadata.next('restores') + it.controller.metadata.next('restoring')).toBe(
    0,
  );
});

test('a node that is said to be gone is not waited for', async () => {
  const it = new Restored();
  await it.begin();
  const copy = it.copy();
  await it.grant(await it.space('s'), 3);
  it.heartbeats();
  await it.putBack(copy);
  await it.join(['n1', 'n2']);
  expect(it.controller.restoration.phase).toBe('restoring');
  await it.controller.membership.ended('n3', it.rack.joinRequest('n3').memoryId);
  it.heartbeats(['n1', 'n2']);
  await settled();
  expect(it.controller.restoration.phase).toBe('over');
});

test('what a silent node alone knows is given to nobody, and taken over later', async () => {
  const it = new Restored();
  await it.begin();
  const space = await it.space('s');
  it.rack.nowMs += 7_000;
  it.heartbeats(['n1']);
  const copy = it.copy();
  const [granted] = await it.grant(space);
  expect(it.held(space)).toEqual([`${granted} n1`]);
  await it.putBack(copy);
  it.rack.nowMs += 7_000;
  await it.join(['n2', 'n3']);
  expect(it.controller.restoration.phase).toBe('over');
  expect(it.controller.restoration.mayLack).toBe(true);
  const [other] = await it.grant(space);
  expect(other).not.toBe(granted);
  const [id] = [(await it.space('t')) as number];
  expect(id).toBeGreaterThan((space as number) + 1);
  await it.join(['n1']);
  expect(it.controller.metadata.next('restores') + it.controller.metadata.next('restoring')).toBe(
    1,
  );
  it.heartbeats();
  await settled();
  expect(it.controller.restoration.phase).toBe('over');
  expect(it.controller.restoration.mayLack).toBe(false);
  expect(it.regions(space)).toEqual(it.held(space).map((one) => `${one} serving`));
});

test('the jump over what a silent node may hold is never a small one', async () => {
  const it = new Restored();
  await it.begin();
  const space = await it.space('s');
  it.heartbeats();
  const copy = it.copy();
  const { nextRegion = 0 } = it.controller.metadata.spaces.get(space) ?? {};
  for (let i = 0; i < 40; i++) {
    await it.putBack(copy);
    const before = it.controller.metadata.next('space');
    it.rack.nowMs += 7_000;
    await it.join(['n1']);
    const { metadata } = it.controller;
    expect(metadata.next('space') - before).toBeGreaterThan(4_096);
    expect((metadata.spaces.get(space)?.nextRegion ?? 0) - nextRegion).toBeGreaterThan(256);
    for (const id of NODES) it.node(id).mark = NO_MARK;
  }
});

test('a node that was silent, and knows nothing more, is waited for no longer', async () => {
  const it = new Restored();
  await it.begin();
  const space = await it.space('s');
  it.heartbeats();
  await it.putBack(it.copy());
  it.rack.nowMs += 7_000;
  await it.join(['n1', 'n2']);
  expect(it.controller.restoration.mayLack).toBe(true);
  expect(it.controller.refuseUnknownSpace(4_711 as SpaceId)).toMatchObject({
    status: Status.Unavailable,
    message: expect.stringContaining('n3') as string,
  });
  await it.join(['n3']);
  expect(it.controller.restoration.mayLack).toBe(false);
  expect(it.controller.refuseUnknownSpace(4_711 as SpaceId).status).toBe(Status.NotFound);
  expect(it.controller.metadata.next('restores') + it.controller.metadata.next('restoring')).toBe(
    0,
  );
  expect(it.regions(space)).toEqual([]);
});

test.each([
  [['marksIgnored', 'silentNotAbove'], 'n1'],
  [['grantsNotAbove'], 'n3'],
] as const)('with %s planted a region is granted twice', async (faults, away) => {
  for (const fault of faults) controllerFaults[fault] = true;
  try {
    const it = new Restored();
    await it.begin(['n1', 'n2']);
    const space = await it.space('s');
    const copy = it.copy();
    await it.join(['n3']);
    while (!it.held(space).some((one) => one.endsWith(away))) await it.grant(space);
    it.heartbeats();
    const before = new Set(it.held(space).filter((one) => one.endsWith(away)));
    await it.putBack(copy);
    it.rack.nowMs += 7_000;
    await it.join(NODES.filter((id) => id !== away));
    const again: string[] = [];
    for (let i = 0; i < 8; i++) again.push(...(await it.grant(space)).map(String));
    expect([...before].some((one) => again.includes(one.split(' ')[0] ?? ''))).toBe(true);
  } finally {
    for (const fault of faults) controllerFaults[fault] = false;
  }
});
