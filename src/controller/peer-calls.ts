/** `NodeCalls` over the fabric: one connection per node, so a node sees calls in their order. */
import { Status } from '../base/status.js';
import type { Peer } from '../fabric/link.js';
import { MessageType } from '../wire/messages.js';
import { TELL_MS } from './limits.js';
import type { NodeCalls, RegionGrant } from './node-calls.js';
import type { HeldRegion } from './reconcile.js';

export class PeerCalls implements NodeCalls {
  readonly #peer: (address: string) => Peer;
  readonly #peers = new Map<string, Peer>();

  /** `peer` gives the peer of an address, the same one until it is closed. */
  constructor(peer: (address: string) => Peer) {
    this.#peer = peer;
  }

  async grantRegion(address: string, grant: RegionGrant): Promise<Status> {
    const reply = await this.#at(address).call(MessageType.GrantRegion, grant, TELL_MS);
    return reply.status;
  }

  async removeSpace(address: string, space: number): Promise<Status> {
    const reply = await this.#at(address).call(MessageType.RemoveSpace, { space }, TELL_MS);
    return reply.status === Status.NotFound ? Status.Ok : reply.status;
  }

  async heldRegions(address: string): Promise<readonly HeldRegion[] | undefined> {
    const request = { after: 0 };
    const reply = await this.#at(address).call(MessageType.NodeRegions, request, TELL_MS);
    // A node holds no more regions than one message names.
    return reply.status === Status.Ok && reply.more === 0 ? reply.regions : undefined;
  }

  forget(address: string): void {
    this.#peers.get(address)?.close();
    this.#peers.delete(address);
  }

  close(): void {
    for (const peer of this.#peers.values()) peer.close();
    this.#peers.clear();
  }

  #at(address: string): Peer {
    let peer = this.#peers.get(address);
    if (peer === undefined) this.#peers.set(address, (peer = this.#peer(address)));
    return peer;
  }
}
