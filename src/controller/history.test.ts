import { expect, test } from 'vitest';
import type { RegionIndex, SpaceId } from '../base/brands.js';
import type { Controller } from './controller.js';
import { eventPage, type EventQuery } from './event-pages.js';
import { EVENTS_KEPT_ANYWAY, EVENTS_KEPT_MS, EVENTS_MAX } from './metadata/history.js';
import { EVENTS_PER_COMMIT_MAX, eventOf } from './metadata/history.js';
import { rackMetrics } from './metrics.js';
import { Status } from '../base/status.js';
import { MoveState } from '../wire/messages.js';
import { isRefusal } from './refusal.js';
import { rackStatus } from './report.js';
import { FakeRack, GIB, settled } from './testing/fake-rack.js';

const ALL: EventQuery = { after: 0, limit: 100_000, lastMs: 0, space: '', node: '' };

async function join(rack: FakeRack, controller: Controller, id: string, more = {}): Promise<void> {
  const result = await controller.membership.join(rack.joinRequest(id, more));
  if (isRefusal(result)) throw new Error(result.message);
  rack.tell(controller, id);
  await settled();
}

async function spaceOf(controller: Controller, name: string): Promise<SpaceId> {
  const opened = await controller.spaces.open({ name, create: true, kind: 0, pageBytes: 0 });
  if (isRefusal(opened)) throw new Error(opened.message);
  return opened.space.id;
}

async function grant(controller: Controller, space: SpaceId, near = ''): Promise<void> {
  const granted = await controller.regions.grant({ space, count: 1, bytes: 0, near });
  if (isRefusal(granted)) throw new Error(granted.message);
}

function page(controller: Controller, query: Partial<EventQuery> = {}, nowMs = 0) {
  return eventPage(controller.metadata, { ...ALL, ...query }, nowMs);
}

/** `kind subject` of each. */
function told(controller: Controller, query: Partial<EventQuery> = {}): string[] {
  return page(controller, query).events.map(({ kind, node = '', space = '', region, details }) => {
    const { memory = '', from = '' } = details;
    const place = region === undefined ? space : `${space}/${region}`;
    return [kind, place, node, memory, from].filter((part) => part !== '').join(' ');
  });
}

test('what happens to nodes, spaces and regions is told in order', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  await join(rack, controller, 'n1');
  const space = await spaceOf(controller, 'photos');
  await grant(controller, space);
  await controller.spaces.open({ name: 'photos', create: true, kind: 0, pageBytes: 0 });
  await join(rack, controller, 'n1');
  await join(rack, controller, 'n1', { incarnation: 2 });
  await controller.membership.ended('n1', 1_001);
  await join(rack, controller, 'n1', { memoryId: 7, incarnation: 3, regions: [] });
  await controller.spaces.remove('photos');
  await settled();
  expect(told(controller)).toEqual([
    'controller-started',
    'node-joined n1',
    'space-created photos',
    'region-granted photos/1 n1',
    'node-back n1 kept',
    'node-ended n1',
    'region-lost photos/1 n1',
    'node-back n1 empty',
    'space-removed photos',
  ]);
  const sequences = page(controller).events.map(({ sequence }) => sequence);
  expect(sequences).toEqual(sequences.map((_, i) => i + 1));
  expect(page(controller)).toMatchObject({ oldest: 1, newest: 9, more: false });
});

test('a move that does not end is named, counted, and told when it is over', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  await join(rack, controller, 'n1');
  await join(rack, controller, 'n2');
  const space = await spaceOf(controller, 'photos');
  await grant(controller, space, 'n1');
  rack.moving = MoveState.COPYING;
  void controller.moves.move({ space, region: 1 as RegionIndex, to: 'n2' });
  await settled();
  const context = { address: 'tcp://127.0.0.1:1', isDurable: true, wallMs: 0 };
  const status = () => rackStatus(controller, { ...context, nowMs: rack.nowMs });
  const move = { space: 'photos', region: 1, from: 'n1', to: 'n2', ms: 0 };
  expect(status()).toMatchObject({ moves: [move], movesOmitted: 0 });
  expect(status().findings.map(({ code }) => code)).toEqual([]);
  rack.nowMs += 75_000;
  expect(status().moves).toEqual([{ ...move, ms: 75_000 }]);
  const stuck = status().findings.find(({ code }) => code === 'MOVE_STUCK');
  expect(stuck).toMatchObject({ subject: 'photos/1', severity: 'warning' });
  expect(stuck?.message).toBe('is on its way from n1 to n2 for 75 s; n1, n2 is away');
  const metrics = rackMetrics(controller, { ...context, nowMs: rack.nowMs });
  const value = (name: string) => metrics.find((one) => one.name === name)?.samples;
  expect(value('memrack_moves_under_way')).toEqual([{ labels: {}, value: 1 }]);
  expect(value('memrack_move_oldest_seconds')).toEqual([{ labels: {}, value: 75 }]);
  expect(told(controller).at(-1)).toBe('move-begun photos/1 n1');
  rack.moving = MoveState.GONE;
  await rack.advance(1_000);
  expect(status().moves).toEqual([]);
  const [moved, done] = page(controller).events.slice(-2);
  expect(moved).toMatchObject({ kind: 'region-moved', node: 'n2', details: { from: 'n1' } });
  expect(done).toMatchObject({ kind: 'move-done', node: 'n1', details: { to: 'n2' } });
  expect(done?.details['ms']).toBeGreaterThanOrEqual(75_000);
});

test('a move whose order comes again, when it is made, is made', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  await join(rack, controller, 'n1');
  await join(rack, controller, 'n2');
  const space = await spaceOf(controller, 'photos');
  await grant(controller, space, 'n1');
  rack.wasMoveMade = true;
  const wish = { space, region: 1 as RegionIndex, to: 'n2' };
  const end = controller.moves.move(wish);
  await rack.advance(1_000);
  expect(await end).toEqual({ end: 'done' });
  expect(told(controller).at(-1)).toBe('move-done photos/1 n1');
});

test('a move has one driver, also when a node is let go meanwhile', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  for (const id of ['n1', 'n2']) await join(rack, controller, id);
  const space = await spaceOf(controller, 'photos');
  await grant(controller, space, 'n1');
  rack.moving = MoveState.COPYING;
  const end = controller.moves.move({ space, region: 1 as RegionIndex, to: 'n2' });
  await join(rack, controller, 'n3');
  await controller.membership.ended('n3', 1003);
  await join(rack, controller, 'n4');
  const member = controller.membership.members.get('n4');
  if (member !== undefined) member.seenMs = -1e9;
  const api = rack.api(controller);
  expect((await api.removeNode('n4', false)).status).toBe(Status.Ok);
  rack.moving = MoveState.GONE;
  await rack.advance(2_000);
  expect(await end).toEqual({ end: 'done' });
  expect(controller.moves.done).toBe(1);
  expect(told(controller).filter((one) => one.startsWith('move-done'))).toHaveLength(1);
});

test('a move that fails again and again is told now and then, with how often', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  await join(rack, controller, 'n1');
  await join(rack, controller, 'n2');
  const space = await spaceOf(controller, 'photos');
  await grant(controller, space, 'n1');
  const attempt = async (reason: string): Promise<void> => {
    rack.moveRefusal = { status: Status.Busy, reason };
    const joined = ['n1', 'n2'].map((id) => controller.membership.members.get(id));
    for (const member of joined) if (member !== undefined) member.seenMs = rack.nowMs;
    await controller.moves.move({ space, region: 1 as RegionIndex, to: 'n2' });
    rack.nowMs += 60_000;
  };
  for (let i = 0; i < 12; i++) await attempt('a window is open');
  await attempt('a thread is stopped');
  const moves = page(controller).events.filter(({ kind }) => kind.startsWith('move'));
  expect(moves.map(({ kind, details }) => [kind, details['reason'], details['before']])).toEqual([
    ['move-begun', undefined, undefined],
    ['move-cancelled', 'a window is open', undefined],
    ['move-begun', undefined, undefined],
    ['move-cancelled', 'a window is open', 9],
    ['move-cancelled', 'a thread is stopped', undefined],
  ]);
});

test('a move that somebody wants waits for what ends by itself', async () => {
  const rack = new FakeRack();
  rack.awayMs = 60_000;
  const controller = await rack.start();
  await join(rack, controller, 'n1');
  await join(rack, controller, 'n2');
  await grant(controller, await spaceOf(controller, 'photos'), 'n1');
  const api = rack.api(controller);
  rack.moveRefusal = { status: Status.Busy, reason: 'a moment ago' };
  const first = api.moveRegion('photos', 1, 'n2');
  await rack.advance(1_800);
  rack.moveRefusal = undefined;
  await rack.advance(1_000);
  expect(await first).toEqual({ status: Status.Ok });
  expect(rack.movesAsked).toBe(5);
  // Not for ever, and not for what stays as it is.
  rack.moveRefusal = { status: Status.Busy, reason: 'still' };
  const second = api.moveRegion('photos', 1, 'n1');
  await rack.advance(5_000);
  expect(await second).toMatchObject({ status: Status.Busy, message: 'not moved: still' });
  rack.moveRefusal = { status: Status.NoSpace, reason: 'full' };
  expect(await api.moveRegion('photos', 1, 'n1')).toMatchObject({ message: 'not moved: full' });
});

test('it outlives the controller, and goes on above', async () => {
  const rack = new FakeRack();
  const first = await rack.start();
  await join(rack, first, 'n1');
  rack.kill();
  rack.nowMs -= 500;
  const second = await rack.start();
  await join(rack, second, 'n1');
  second.watch.look();
  await settled();
  expect(told(second)).toEqual([
    'controller-started',
    'node-joined n1',
    'controller-started',
    'node-back n1 kept',
  ]);
  // The clock was set back: the order is that of what happened.
  const [, before, after] = page(second).events;
  expect(Date.parse(after?.at ?? '')).toBeLessThan(Date.parse(before?.at ?? ''));
  expect(after?.sequence).toBe(3);
});

test('it is in the commit of what it tells: both, or none', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  const commits = rack.databases.commits;
  await spaceOf(controller, 'one');
  expect(rack.databases.commits).toBe(commits + 1);
  rack.databases.beforeCommit = () => {
    throw new Error('the disk is full');
  };
  void spaceOf(controller, 'two');
  await settled();
  expect(rack.failures).toHaveLength(1);
  rack.kill();
  rack.databases.beforeCommit = () => undefined;
  const next = await rack.start();
  expect(told(next).filter((text) => text.startsWith('space'))).toEqual(['space-created one']);
  expect([...next.metadata.spaceIds.keys()]).toEqual(['one']);
});

test('a silent node is told, and when it is heard of again; no call waits for that', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  await join(rack, controller, 'n1');
  const beat = { id: 'n1', memoryId: 1_001, incarnation: 1, bytesUsed: 0, bytesCommitted: 0 };
  const look = async (bytesLent?: number): Promise<void> => {
    if (bytesLent !== undefined) controller.membership.heartbeat({ ...beat, bytesLent });
    controller.watch.look();
    await settled();
  };
  await look(GIB);
  const commits = rack.databases.commits;
  await look(GIB);
  expect(rack.databases.commits).toBe(commits);
  rack.nowMs += rack.awayMs + 1;
  await look();
  await look();
  expect(rack.databases.commits).toBe(commits + 1);
  await look(GIB / 2);
  await look(GIB / 4);
  await look(GIB);
  expect(told(controller).slice(2)).toEqual([
    'node-away n1',
    'node-back n1 kept',
    'node-short n1',
    'node-well n1',
  ]);
  const short = page(controller).events.find(({ kind }) => kind === 'node-short');
  expect(short?.details).toEqual({ bytesLent: GIB / 2, bytesToGive: 0 });
  expect((await controller.membership.remove('n1', true)).status).toBeDefined();
});

test('what an operator wants of a node is told', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  await join(rack, controller, 'n1');
  const { metadata } = controller;
  const drain = { node: 'n1', isForced: 0, sinceMs: 1 };
  for (const state of ['draining', 'draining', 'drained', 'draining', 'ended'] as const) {
    await metadata.commit([{ table: 'drains', put: { ...drain, state } }]);
  }
  await metadata.commit([{ table: 'drains', remove: 'n1' }]);
  expect(told(controller).slice(2)).toEqual([
    'drain-begun n1',
    'drain-done n1',
    'drain-begun n1',
    'drain-cancelled n1',
  ]);
});

test('pages, spaces, nodes and times are chosen', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  await join(rack, controller, 'n1');
  await join(rack, controller, 'n2');
  const photos = await spaceOf(controller, 'photos');
  await spaceOf(controller, 'books');
  await grant(controller, photos, 'n2');
  const row = controller.metadata.regionsOf(photos).get(1 as RegionIndex);
  if (row === undefined) throw new Error('no region');
  rack.nowMs += 60_000;
  const epoch = controller.metadata.next('epoch');
  const put = { ...row, node: 'n1', memoryId: 1_001, epoch };
  await controller.metadata.commit([{ table: 'regions', put }]);
  expect(told(controller, { space: 'photos' })).toEqual([
    'space-created photos',
    'region-granted photos/1 n2',
    'region-moved photos/1 n1 n2',
  ]);
  // It came from there.
  expect(told(controller, { node: 'n2' })).toHaveLength(3);
  expect(page(controller, { lastMs: 1_000 }, rack.nowMs).events).toHaveLength(1);
  const first = page(controller, { limit: 2 });
  expect([first.events.length, first.more]).toEqual([2, true]);
  const rest = page(controller, { after: first.events[1]?.sequence ?? 0 });
  expect([rest.events.length, rest.more, rest.newest]).toEqual([5, false, 7]);
});

test('the oldest go by count; by age, but for some; of one commit not all are told', async () => {
  const rack = new FakeRack();
  const controller = await rack.start();
  const { metadata } = controller;
  const some = (count: number) =>
    Array.from({ length: count }, () => eventOf('node-away', { node: 'n1' }));
  const write = async (count: number): Promise<void> => {
    const put = { name: 'commit', next: metadata.next('commit') + 1 } as const;
    await metadata.commit([{ table: 'counters', put }], { events: some(count) });
  };
  await write(2 * EVENTS_PER_COMMIT_MAX);
  expect(page(controller).events.at(-1)).toMatchObject({
    kind: 'events-left-out',
    details: { count: EVENTS_PER_COMMIT_MAX + 1 },
  });
  for (let i = 0; i < EVENTS_MAX / 1_000 + 1; i++) await write(1_000);
  expect(metadata.history.rows.size).toBe(EVENTS_MAX);
  expect(rack.databases.tables.get('events')?.size).toBe(EVENTS_MAX);
  rack.nowMs += EVENTS_KEPT_MS + 1;
  for (let i = 0; i < EVENTS_MAX / 64; i++) await write(1);
  expect(metadata.history.rows.size).toBe(EVENTS_KEPT_ANYWAY);
});

test('on an older copy it goes on above all that was told since the copy was made', async () => {
  const rack = new FakeRack();
  const first = await rack.start();
  await join(rack, first, 'n1');
  const copy = structuredClone([...rack.databases.tables]);
  for (let i = 0; i < 20; i++) await spaceOf(first, `later-${i}`);
  rack.tell(first, 'n1');
  const newest = page(first).newest;
  rack.kill();
  rack.databases.tables.clear();
  for (const [name, rows] of copy) rack.databases.tables.set(name, rows);
  const second = await rack.start();
  // Not known yet; a reader sees that it has gone back.
  expect(page(second).newest).toBeLessThan(newest);
  await join(rack, second, 'n1');
  const above = page(second, { after: newest }).events.map(({ kind }) => kind);
  expect(above.slice(0, 2)).toEqual(['metadata-older', 'node-back']);
  expect(above.at(-1)).toBe('metadata-restored');
});
