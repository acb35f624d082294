import { expect, test } from 'vitest';
import type { RegionIndex, SpaceId } from '../base/brands.js';
import { Prng } from '../base/prng.js';
import { Status } from '../base/status.js';
import { placementPolicy } from '../policies/placement/placement-policies.js';
import { Member } from './member.js';
import { type AwayEnd, chooseTarget, MoveTargets, type TargetRequest } from './move-targets.js';
import type { MoveEnd, MoveWish } from './moves.js';
import { isRefusal, type Refusal } from './refusal.js';
import { FakeRack, GIB } from './testing/fake-rack.js';

const PAGE = 2 ** 16;
const MIB = 2 ** 20;

function member(id: string, facts: Partial<Member> = {}, pageBytes = PAGE): Member {
  const request = new FakeRack().joinRequest(id, { pageBytes, bytesLent: 64 * MIB });
  return Object.assign(new Member({ ...request, state: 'member' } as never), facts);
}

function request(members: Member[], more: Partial<TargetRequest> = {}): TargetRequest {
  return {
    members,
    source: 'n1',
    pageBytes: PAGE,
    bytes: 0,
    excluded: new Set(),
    isLeaving: () => false,
    isTaking: () => false,
    regionsOf: () => 0,
    policy: placementPolicy('best-free-of-k'),
    chance: new Prng(1),
    turn: 0,
    ...more,
  };
}

/** The id, or why there is none. */
function chosen(members: Member[], more: Partial<TargetRequest> = {}): string {
  const result = chooseTarget(request(members, more));
  return isRefusal(result) ? result.message : result.target.row.id;
}

test('the policy chooses among those that may take it', () => {
  const nodes = [
    member('n1'),
    member('n2', { bytesUsed: 32 * MIB }),
    member('n3', { bytesUsed: 8 * MIB }),
  ];
  expect(chosen(nodes)).toBe('n3');
  expect(chosen(nodes, { excluded: new Set(['n3']) })).toBe('n2');
  expect(chosen(nodes, { isLeaving: (id) => id === 'n3' })).toBe('n2');
  expect(chosen(nodes, { isTaking: (id) => id === 'n3' })).toBe('n2');
  expect(chosen(nodes, { bytes: 40 * MIB })).toBe('n3');
  // Its machine is short of memory: with room, but only where there is no other.
  const [, second = member('n2'), third = member('n3')] = nodes;
  third.bytesLent = 32 * MIB;
  expect(chosen(nodes)).toBe('n2');
  second.bytesUsed = 64 * MIB;
  expect(chosen(nodes)).toBe('n3');
  third.bytesToGive = 1;
  expect(chosen(nodes)).toMatch(/no other node has 64 KiB free/);
});

test('what stands in the way of all is said', () => {
  const other = member('n2');
  expect(chosen([member('n1')])).toMatch(/no other memory node/);
  expect(chosen([member('n1'), member('n2', {}, 2 * PAGE)])).toMatch(/pages of 64 KiB/);
  expect(chosen([other], { isLeaving: () => true })).toMatch(/to be emptied/);
  expect(chosen([member('n2', { bytesToGive: 1 })])).toMatch(/short of memory/);
  expect(chosen([other], { bytes: 65 * MIB })).toMatch(/no other node has 65 MiB free/);
  expect(chosen([other], { excluded: new Set(['n2']) })).toMatch(/has refused it/);
  expect(chosen([other], { isTaking: () => true })).toMatch(/on its way to each/);
  // Not used yet, and promised twice over.
  expect(chosen([member('n2', { bytesCommitted: 128 * MIB })])).toMatch(/no room/);
});

async function rackOf(ids: string[], answers: Readonly<Record<string, MoveEnd>>) {
  const rack = new FakeRack();
  const controller = await rack.start();
  for (const id of ids) await controller.membership.join(rack.joinRequest(id));
  const opened = await controller.spaces.open({ name: 's', create: true, kind: 0, pageBytes: 0 });
  if (isRefusal(opened)) throw new Error(opened.message);
  const space: SpaceId = opened.space.id;
  await controller.regions.grant({ space, count: 1, bytes: 0, near: 'n1' });
  const asked: string[] = [];
  const targets = new MoveTargets({
    metadata: controller.metadata,
    membership: controller.membership,
    policy: placementPolicy('round-robin'),
    chance: new Prng(1),
    move: ({ to }: MoveWish) => {
      asked.push(to);
      return Promise.resolve(answers[to] ?? { end: 'done' });
    },
  });
  const region = 1 as RegionIndex;
  const away = (bytes = 0): Promise<AwayEnd> => targets.moveAway({ space, region, bytes });
  return { controller, asked, away };
}

const refused = (status: Refusal['status']) => ({ end: 'refused', status, reason: 'no' }) as const;

test('a node without room is followed by another one', async () => {
  const no = refused(Status.NoSpace);
  const { asked, away } = await rackOf(['n1', 'n2', 'n3', 'n4'], { n2: no, n3: no });
  expect(await away()).toEqual({ end: 'done', to: 'n4' });
  expect(asked).not.toContain('n1');
  const all = await rackOf(['n1', 'n2', 'n3'], { n2: no, n3: no });
  expect(await all.away()).toMatchObject({ end: 'refused', status: Status.NoSpace });
  expect(all.asked.sort()).toEqual(['n2', 'n3']);
});

test('what the source does not give, no other target is asked for', async () => {
  const no = refused(Status.Conflict);
  const { asked, away } = await rackOf(['n1', 'n2', 'n3'], { n2: no, n3: no });
  expect(await away()).toMatchObject({ end: 'refused', status: Status.Conflict, reason: 'no' });
  expect(asked.length).toBe(1);
});

test('nobody is asked where nobody may take it', async () => {
  const { controller, asked, away } = await rackOf(['n1', 'n2'], {});
  expect(await away(2 * GIB)).toMatchObject({ end: 'refused', status: Status.NoSpace, to: '' });
  await controller.metadata.commit([
    { table: 'drains', put: { node: 'n2', state: 'draining', isForced: 0, sinceMs: 0 } },
  ]);
  expect(await away()).toMatchObject({ end: 'refused', to: '' });
  expect(asked).toEqual([]);
});
