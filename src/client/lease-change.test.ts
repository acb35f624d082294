import { expect, it } from 'vitest';
import { Status } from '../base/status.js';
import type { HolderNode } from '../leases/holder.js';
import type { Connections } from './connections.js';
import type { Control } from './control.js';
import { MemrackError } from './error.js';
import { LeaseChange } from './lease-change.js';
import { LeaseNodes } from './lease-nodes.js';

const WISH = { lease: 3, epoch: 5, holder: 7, durationMs: 400 };

function rig() {
  const asked: object[] = [];
  /** When it was asked: nodes that the lease is over, and at which it is renewed. */
  const seen: [number, number][] = [];
  const answers: object[] = [];
  const answer = (request: object): Promise<object> => {
    asked.push(request);
    seen.push([nodes.ids.size, renewed.size]);
    return Promise.resolve(answers.shift() ?? { status: Status.Ok });
  };
  const failure = (_: string, status: number): MemrackError =>
    new MemrackError(status === Status.Busy ? 'Busy' : 'Unavailable', 'no');
  const control = {
    call: (_: number, request: object) => answer(request),
    demand: (_: string, __: number, request: object) => answer(request),
    failure,
  } as unknown as Control;
  const parts = { runtime: {} as never, control, connections: {} as Connections };
  const nodes = new LeaseNodes(parts, { ...WISH, isOver: () => true });
  const renewed = new Set<HolderNode>([nodes.add({ id: 'n1', memoryId: 1, address: 'a1' })]);
  let most = 0;
  const holder = {
    add: (node: HolderNode) => {
      renewed.add(node);
      most = Math.max(most, renewed.size);
      return Promise.resolve();
    },
    remove: (node: HolderNode) => void renewed.delete(node),
  };
  const change = new LeaseChange(control, { name: 'l', wish: WISH, nodes, holder });
  return { asked, seen, answers, nodes, renewed, change, most: () => most };
}

it('renews at a node from when the controller says that it is one', async () => {
  const { asked, answers, nodes, renewed, change, most } = rig();
  answers.push({ status: Status.Ok, memoryId: 2, address: 'a2' });
  await change.extend('n2', 0);
  expect(asked).toEqual([{ ...WISH, node: 'n2' }]);
  expect([...nodes.ids]).toEqual(['n1', 'n2']);
  expect(renewed.size).toBe(2);
  // Asked again it is the same one; with other memory it is another.
  answers.push({ status: Status.Ok, memoryId: 2, address: 'a2' });
  await change.extend('n2', 0);
  const before = nodes.get('n2')?.node as HolderNode;
  expect(renewed.has(before)).toBe(true);
  answers.push({ status: Status.Ok, memoryId: 22, address: 'a2' });
  await change.extend('n2', 0);
  expect([renewed.size, renewed.has(before)]).toEqual([2, false]);
  // The new one has been asked before the other one is left.
  expect(most()).toBe(3);
});

it('renews no more at a node before it asks to take it out', async () => {
  const { asked, seen, nodes, change } = rig();
  await change.shrink('n1', 0);
  expect(seen).toEqual([[0, 0]]);
  expect(nodes.memoryAt('n1')).toBe(undefined);
  await change.shrink('n9', 0);
  expect(asked).toEqual([{ lease: 3, epoch: 5, node: 'n1', memoryId: 1 }]);
});

it('goes on with a node that must stay, and not with one of which nobody told', async () => {
  const { asked, answers, nodes, renewed, change } = rig();
  answers.push({ status: Status.Busy, reason: 'it has copies' });
  await expect(change.shrink('n1', 0)).rejects.toMatchObject({ code: 'Busy' });
  expect([[...nodes.ids], renewed.size]).toEqual([['n1'], 1]);
  answers.push({ status: Status.Timeout, reason: '' }, { status: Status.Ok });
  await expect(change.shrink('n1', 0)).rejects.toMatchObject({ code: 'Unavailable' });
  expect([nodes.ids.size, renewed.size]).toEqual([0, 0]);
  // It may be out by now, or not: asked again it is.
  await change.shrink('n1', 0);
  expect(asked).toHaveLength(3);
});

it('is changed one after the other', async () => {
  const { asked, answers, nodes, change } = rig();
  let answer: (reply: object) => void = () => undefined;
  answers.push(new Promise<object>((resolve) => (answer = resolve)));
  answers.push({ status: Status.Ok, memoryId: 1, address: 'a1' });
  const shrinking = change.shrink('n1', 0);
  // Side by side it could be there before the one that takes it out, and be out of the lease.
  const extending = change.extend('n1', 0);
  await new Promise((resolve) => setImmediate(resolve));
  expect(asked).toHaveLength(1);
  answer({ status: Status.Ok });
  await Promise.all([shrinking, extending]);
  expect(asked).toEqual([
    { lease: 3, epoch: 5, node: 'n1', memoryId: 1 },
    { ...WISH, node: 'n1' },
  ]);
  expect(nodes.memoryAt('n1')).toBe(1);
});
