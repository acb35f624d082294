/** Calls about copies of slabs to a node that is driven by hand. */

import { Status } from '../../base/status.js';
import { MessageType, type Reply, type Request } from '../../wire/messages.js';
import { type Harness, PAGE, SPACE } from './harness.js';

export const LEASE = 2 ** 40 + 1;
export const DEVICE = 2 ** 41 + 5;

/** What a copy is taken with that a test does not say otherwise. */
export const TAKE: Request<typeof MessageType.TakeSlab> = {
  space: SPACE,
  region: 1,
  bytes: 5 * PAGE,
  device: DEVICE,
  slab: 3,
  copy: 77,
  lease: LEASE,
  leaseEpoch: 1,
};

/** The client of `slot` holds the lease in this epoch from now on. */
export async function hold(node: Harness, epoch: number, slot = 0, lease = LEASE): Promise<void> {
  const raised = await node.call(MessageType.RaiseLease, { lease, epoch });
  const holder = node.session(slot).client;
  const grant = { lease, epoch, holder, durationMs: 1000 };
  const granted = await node.call(MessageType.GrantLease, grant);
  if (raised.status !== Status.Ok || granted.status !== Status.Ok) throw new Error('no lease');
}

export function tryTake(node: Harness, more: Partial<typeof TAKE> = {}, slot = 0) {
  return node.call(MessageType.TakeSlab, { ...TAKE, ...more }, slot);
}

/** The address of the copy; throws when it is refused. */
export async function take(node: Harness, more: Partial<typeof TAKE> = {}): Promise<number> {
  const reply = await tryTake(node, more);
  if (reply.status !== Status.Ok) throw new Error(`refused: ${reply.status} ${reply.reason}`);
  return reply.address;
}

const NAMED = { space: SPACE, copy: TAKE.copy, lease: LEASE, leaseEpoch: 1 };

export interface OneMore {
  readonly copy?: number;
  readonly lease?: number;
  readonly leaseEpoch?: number;
}

export function tryGive(node: Harness, address: number, more: OneMore = {}, slot = 0) {
  return node.call(MessageType.GiveSlab, { ...NAMED, address, ...more }, slot);
}

export async function give(node: Harness, address: number, more: OneMore = {}): Promise<Status> {
  return (await tryGive(node, address, more)).status;
}

export function tryOpen(node: Harness, address: number, more: OneMore = {}, slot = 0) {
  return node.call(MessageType.OpenSlab, { ...NAMED, address, ...more }, slot);
}

/** The window; throws when it is refused. */
export async function open(node: Harness, address: number, more: OneMore = {}) {
  const reply: Reply<typeof MessageType.OpenSlab> = await tryOpen(node, address, more);
  if (reply.status !== Status.Ok) throw new Error(`refused: ${reply.status} ${reply.reason}`);
  return { window: reply.window, epoch: reply.epoch };
}

export async function mark(
  node: Harness,
  generation: number,
  address: number,
  more: OneMore = {},
): Promise<Status> {
  return (await node.call(MessageType.MarkSlab, { ...NAMED, address, generation, ...more })).status;
}

/** `bytes` of the copy from `from` on are zeros from now on. */
export async function trim(
  node: Harness,
  { from, bytes }: { readonly from: number; readonly bytes: number },
  more: OneMore & { readonly address: number },
  slot = 0,
): Promise<Status> {
  const request = { ...NAMED, ...more, from, bytes };
  return (await node.call(MessageType.TrimSlab, request, slot)).status;
}

/** All that the node tells, from one page of its list to the next. */
export async function listed(node: Harness, device = 0) {
  const all = [];
  let after = 0;
  do {
    const reply = await node.call(MessageType.ListSlabs, { after, device });
    if (reply.status !== Status.Ok) throw new Error(`no list: ${reply.status}`);
    all.push(...reply.slabs);
    after = reply.more;
  } while (after !== 0);
  return all;
}
