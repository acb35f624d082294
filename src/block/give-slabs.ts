/** Gives back what a device has at a node, beyond what any writer may still use. */

import type { RackCore } from '../client/rack.js';
import { Status } from '../base/status.js';
import { deviceLeaseName } from '../leases/device-lease.js';
import { leaseNumber } from '../leases/number.js';
import { sleep } from '../runtime/clock.js';
import { MessageType } from '../wire/messages.js';

const CALL_MS = 3_000;
const PATIENCE_MS = 10_000;
const AGAIN_MS = 100;

export interface GivingNode {
  readonly id: string;
  readonly address: string;
  readonly memoryId: number;
}

/**
 * All copies of slabs from `from` on, by the holder of the lease's `epoch`. Whether it is known
 * that none is left.
 */
export async function giveSlabs(
  { connections, runtime }: RackCore,
  node: GivingNode,
  device: number,
  epoch: number,
  from = 0,
): Promise<boolean> {
  const { link } = connections.to(node.id, node.address, node.memoryId);
  const holder = { lease: leaseNumber(deviceLeaseName(device)), leaseEpoch: epoch };
  const untilMs = runtime.clock.now() + PATIENCE_MS;
  let isAllGone = true;
  for (let after = 0; runtime.clock.now() < untilMs; ) {
    const reply = await link.call(MessageType.ListSlabs, { after, device }, CALL_MS);
    if (reply.status !== Status.Ok) {
      await sleep(runtime.timers, AGAIN_MS);
      continue;
    }
    for (const { space, address, copy, slab } of reply.slabs) {
      if (slab < from) continue;
      const request = { space, address, copy, ...holder };
      const { status } = await link.call(MessageType.GiveSlab, request, CALL_MS);
      isAllGone &&= status === Status.Ok || status === Status.NotAllocated;
    }
    if (reply.more === 0) return isAllGone;
    after = reply.more;
  }
  return false;
}
