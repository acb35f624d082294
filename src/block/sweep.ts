/**
 * Gives back copies that no row names: those of a writer that was killed between taking a copy and
 * having it in a row. Only the holder of a later epoch may: nothing that was asked before can name
 * them any more. A record that says it counted once where no row does is left alone: the database
 * may be an older one (docs/internals/block-devices.md).
 */

import { Status } from '../base/status.js';
import { sleep } from '../runtime/clock.js';
import { MessageType } from '../wire/messages.js';
import type { LeasedRack } from './leased-rack.js';
import type { SetRow } from './ports.js';
import type { DeviceWorld } from './world.js';

const CALL_MS = 2_000;
const AGAIN_MS = 1_000;
const TRIES_MAX = 10;

/** What the nodes know of slabs. */
export interface Told {
  /** A copy that no row names has counted, in a set that the rows do not know. */
  noteDoubt(slab: number): void;
  /** A copy that a row names was in the set of this generation. */
  noteMark(slab: number, generation: number): void;
}

/** At every node that is there, once. Those that do not answer are left for another time. */
export async function sweep(
  world: DeviceWorld,
  rack: LeasedRack,
  device: number,
  epoch: number,
  rows: readonly SetRow[],
  told: Told,
): Promise<void> {
  const bySlab = new Map(rows.map((row) => [row.slab, row]));
  let nodes = await world.memories.list();
  for (let tries = 1; nodes === undefined && tries < TRIES_MAX && !rack.isOver; tries++) {
    await sleep(world.runtime.timers, AGAIN_MS);
    nodes = await world.memories.list();
  }
  // One that is drained holds what nobody names, too, and cannot go before that is gone.
  const there = (nodes ?? []).filter(({ isServing, isLeaving }) => isServing || isLeaving);
  await Promise.all(
    there.map(({ id }) => sweepNode(world, rack, { id, device, epoch, bySlab, told })),
  );
}

interface Swept {
  readonly id: string;
  readonly device: number;
  readonly epoch: number;
  readonly bySlab: ReadonlyMap<number, SetRow>;
  readonly told: Told;
}

async function sweepNode(world: DeviceWorld, rack: LeasedRack, swept: Swept): Promise<void> {
  const { runtime, memories, connections } = world;
  const node = memories.find(swept.id);
  if (node === undefined || !rack.lease.nodes.has(swept.id)) return;
  const { link } = connections.to(swept.id, node.address, node.memoryId);
  for (let after = 0, tries = 0; tries < TRIES_MAX && !rack.isOver; ) {
    const request = { after, device: swept.device };
    const reply = await link.call(MessageType.ListSlabs, request, CALL_MS);
    if (reply.status !== Status.Ok) {
      tries += 1;
      await sleep(runtime.timers, AGAIN_MS);
      continue;
    }
    for (const { space, address, copy, slab, leaseEpoch, generation } of reply.slabs) {
      const row = swept.bySlab.get(slab);
      const isNamed = row?.copies.some((one) => one.copy === copy) === true;
      const isLeft = row === undefined ? generation === 0 : generation < row.generation;
      if (leaseEpoch >= swept.epoch) continue;
      if (isNamed) swept.told.noteMark(slab, generation);
      else if (!isLeft) swept.told.noteDoubt(slab);
      else rack.give({ copy, node: swept.id, memoryId: node.memoryId, space, address });
    }
    if (reply.more === 0) return;
    after = reply.more;
  }
}
