/** Calls of a link whose operations stand in a `UdpQueue`: most have their order among those. */

import { Status } from '../../base/status.js';
import type { Runtime } from '../../runtime/runtime.js';
import { messageName, MessageType, type Reply, type Request } from '../../wire/messages.js';
import type { Peer } from '../link.js';
import type { UdpQueue } from './udp-queue.js';

/** Calls that no operation on memory can meet: all others have their order among these. */
const UNORDERED: ReadonlySet<number> = new Set([
  MessageType.OpenWindow,
  MessageType.OpenRange,
  MessageType.Alloc,
  MessageType.ConfirmAlloc,
  MessageType.Inspect,
  MessageType.Counters,
  MessageType.MeasureStations,
  MessageType.PingSlowPath,
  MessageType.NodeRegions,
  MessageType.TakeSlab,
  MessageType.ListSlabs,
  MessageType.OpenSlab,
  MessageType.MarkSlab,
  MessageType.TornPages,
  MessageType.SlabActivity,
  MessageType.RenewLease,
  MessageType.InspectLease,
]);

/** Makes the call over the stream when what was started before it has ended. */
export function callInTurn<T extends MessageType>(
  runtime: Runtime,
  queue: UdpQueue,
  stream: Pick<Peer, 'call'>,
  type: T,
  request: Request<T>,
  timeoutMs: number,
): Promise<Reply<T>> {
  if (UNORDERED.has(type) || queue.isEmpty) return stream.call(type, request, timeoutMs);
  const deadline = runtime.clock.now() + timeoutMs;
  return new Promise((resolve) => {
    const send = (): void => {
      const leftMs = Math.max(0, deadline - runtime.clock.now());
      resolve(stream.call(type, request, leftMs));
    };
    const refuse = (status: Status, why: string): void => {
      resolve({ status, reason: `${messageName(type)}: ${why}` } as Reply<T>);
    };
    const expired = (): void => {
      refuse(Status.Unavailable, 'what was sent before it is in doubt, and the node is silent');
    };
    if (!queue.startCall(type, deadline, { send, expired })) {
      refuse(Status.Busy, 'too much is waiting for this process already');
    }
  });
}
