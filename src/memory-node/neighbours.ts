/**
 * Asks other nodes of the rack what has become of a piece of an allocation. The controller says
 * where; whoever cannot be asked just now is asked again later by the caller.
 */

import { Status } from '../base/status.js';
import type { Peer } from '../fabric/link.js';
import { REGION_BYTES } from '../wire/limits.js';
import { MessageType } from '../wire/messages.js';
import { type Fate, fateOf, type Neighbours } from './slow/provisional.js';

const CALL_MS = 5_000;

export class RackNeighbours implements Neighbours {
  readonly #controllers: readonly Peer[];
  readonly #peer: (address: string, memoryId: number) => Peer;

  constructor(controllers: readonly Peer[], peer: (address: string, memoryId: number) => Peer) {
    this.#controllers = controllers;
    this.#peer = peer;
  }

  async before(space: number, address: number): Promise<Fate> {
    const region = Math.floor(address / REGION_BYTES) - 1;
    for (const controller of this.#controllers) {
      const request = { space, after: region - 1 };
      const reply = await controller.call(MessageType.SpaceRegions, request, CALL_MS);
      if (reply.status !== Status.Ok) continue;
      const place = reply.regions.find((one) => one.region === region);
      const owner = place === undefined ? undefined : reply.nodes[place.node];
      if (place === undefined || owner === undefined) return 'unknown';
      // Nobody can know any more, and somebody may use the rest: rather too much is kept.
      if (place.lost === 1) return 'kept';
      const question = { space, address: address - 1, nonce: 0 };
      const peer = this.#peer(owner.address, owner.memoryId);
      return fateOf(await peer.call(MessageType.Inspect, question, CALL_MS));
    }
    return 'unknown';
  }
}
