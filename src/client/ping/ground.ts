/** A page of memory at one node, to be read by who measures; it goes with the space it is in. */

import { Status } from '../../base/status.js';
import type { Link, Window } from '../../fabric/link.js';
import type { Runtime } from '../../runtime/runtime.js';
import { NONCE_END } from '../../wire/limits.js';
import { MessageType } from '../../wire/messages.js';
import type { Control, Member } from '../control.js';
import { failed, MemrackError } from '../error.js';
import type { RemoteSpace } from '../space.js';

export interface Ground {
  readonly address: number;
  /** Of the connection that asked for it. */
  readonly window: Window;
}

export interface GroundParts {
  readonly runtime: Runtime;
  readonly control: Control;
  readonly space: RemoteSpace;
  readonly node: Member;
  /** The memory of a node by its address, which the controller tells with a region. */
  readonly linkTo: (memoryId: number) => Link;
  readonly timeoutMs: number;
}

/** Allocates a page at exactly this node. Throws a `MemrackError`. */
export async function breakGround(parts: GroundParts): Promise<Ground & { readonly link: Link }> {
  const { runtime, control, space, node, timeoutMs } = parts;
  const what = `memory at ${node.id}`;
  const deadline = runtime.clock.now() + timeoutMs;
  const wanted = { count: 1, bytes: space.pageBytes, near: node.id };
  const granted = await control.grant(space.id, wanted, deadline);
  if (granted.status !== Status.Ok) throw failed(what, granted.status, granted.reason);
  const region = granted.regions.find(({ nodeId }) => nodeId === node.id);
  if (region === undefined) {
    const remedy = 'free memory there, or try again when it serves';
    throw new MemrackError('NoSpace', `${what}: the controller chose another node`, { remedy });
  }
  const link = parts.linkTo(region.memoryId);
  const nonce = 1 + (runtime.entropy.u32() % (NONCE_END - 1));
  const request = { space: space.id, region: region.region, bytes: space.pageBytes, wish: 0 };
  const made = await link.call(MessageType.Alloc, { ...request, flags: 0, nonce }, timeoutMs);
  if (made.status !== Status.Ok) throw failed(what, made.status, made.reason);
  const { address } = made;
  const kept = { space: space.id, address, nonce };
  const confirmed = await link.call(MessageType.ConfirmAlloc, kept, timeoutMs);
  if (confirmed.status !== Status.Ok) throw failed(what, confirmed.status, confirmed.reason);
  const window = await link.openWindow(space.id, timeoutMs);
  if (typeof window === 'number') throw failed(what, window);
  // An untouched page would be read as zeros without any memory behind it.
  await space.write(address, new Uint8Array(space.pageBytes));
  return { address, window, link };
}
