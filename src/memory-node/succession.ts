/**
 * Taking the place of the memory that the rack knows under our id.
 *
 * The controller lets other memory take an id only when it knows that the memory before is gone.
 * Silence is no proof: its node may be cut off, or stopped, and what is once called lost is lost
 * for good. Whatever ran on this machine can be looked for; for the rest an operator can speak.
 */

import { Status } from '../base/status.js';
import type { Endpoint } from '../fabric/endpoint.js';
import type { Peer } from '../fabric/link.js';
import { sleep } from '../runtime/clock.js';
import type { Runtime } from '../runtime/runtime.js';
import {
  type DescribeNodeReply,
  MessageType,
  NodeState,
  type Reply,
  SpaceKind,
} from '../wire/messages.js';
import type { Fields } from '../wire/struct.js';

const CALL_MS = 5_000;
const LOOK_MS_MIN = 50;
const LOOK_MS_MAX = 2_000;

export interface Successor {
  readonly id: string;
  readonly machine: string;
  readonly memoryId: number;
  /** Addresses of the controller. */
  readonly join: readonly string[];
  /** An operator's word that the memory before is gone; believed unless that is being served. */
  readonly replace: boolean;
  readonly isStopped: () => boolean;
}

type Known = Fields<typeof DescribeNodeReply>;

/**
 * Ends when the rack knows our memory under our id. Until then it looks again and again: a join
 * that the former node sent before it ended may arrive after its memory was called gone, and takes
 * the place once more. `cleared` is called when nothing stands in the way of joining now.
 */
export async function succeed(
  runtime: Runtime,
  endpoint: Endpoint,
  to: Successor,
  cleared: () => void,
): Promise<void> {
  const { id, join, memoryId } = to;
  for (let look = 0; !to.isStopped(); look++) {
    const peer = endpoint.peer(join[look % join.length] ?? '');
    const known = await peer.call(MessageType.DescribeNode, { id }, CALL_MS);
    if (known.status === Status.Ok && known.memoryId === memoryId) {
      cleared();
      return;
    }
    if (await isClear(runtime, to, peer, known)) cleared();
    await sleep(runtime.timers, Math.min(LOOK_MS_MAX, LOOK_MS_MIN * 2 ** Math.min(look, 10)));
  }
}

/** Whether nobody stands in our place, or whoever does has just been told to be gone. */
async function isClear(
  runtime: Runtime,
  to: Successor,
  peer: Peer,
  known: Reply<typeof MessageType.DescribeNode>,
): Promise<boolean> {
  if (known.status === Status.NotFound) return true;
  if (known.status !== Status.Ok) return false;
  if (known.state === NodeState.ENDED) return true;
  if (!isGone(runtime, to, known)) return false;
  const ended = { id: to.id, memoryId: known.memoryId };
  const told = await peer.call(MessageType.NodeEnded, ended, CALL_MS);
  return told.status === Status.Ok;
}

function isGone({ processes }: Runtime, to: Successor, known: Known): boolean {
  // Either of the two alone would keep it; and what is on a disk outlives them.
  const hasEnded =
    known.kind !== SpaceKind.PERSISTENT &&
    processes.hasEnded(known.keeper) &&
    processes.hasEnded(known.process);
  if (known.machine === to.machine && hasEnded) return true;
  return to.replace && known.state !== NodeState.SERVING;
}
