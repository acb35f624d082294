/** The nodes of a lease that is held, as its holder reaches them. */

import { Status } from '../base/status.js';
import type { HolderNode } from '../leases/holder.js';
import type { Runtime } from '../runtime/runtime.js';
import { MessageType } from '../wire/messages.js';
import type { Connections } from './connections.js';
import type { Control } from './control.js';

/** Where one node of a set is. */
export interface Place {
  readonly id: string;
  readonly memoryId: number;
  address: string;
}

export interface LeaseNodesParts {
  readonly runtime: Runtime;
  readonly control: Control;
  readonly connections: Connections;
}

export interface HeldEpoch {
  readonly lease: number;
  readonly epoch: number;
  /** The rack was closed: nobody is reached any more. */
  readonly isOver: () => boolean;
}

interface Known {
  readonly place: Place;
  readonly node: HolderNode;
}

const LOOK_AGAIN_MS = 1000;

export class LeaseNodes {
  /** Of those that the lease is over. */
  readonly ids = new Set<string>();
  readonly #parts: LeaseNodesParts;
  readonly #held: HeldEpoch;
  /** By id; those that are being taken out as well. */
  readonly #known = new Map<string, Known>();

  constructor(parts: LeaseNodesParts, held: HeldEpoch) {
    this.#parts = parts;
    this.#held = held;
  }

  /** The same as before, where it is there with this memory. The place was asked for just now. */
  add(place: Place): HolderNode {
    const { id, address, memoryId } = place;
    let known = this.#known.get(id);
    if (known?.place.memoryId !== memoryId) {
      // Else the way to memory that is gone stays, where nobody else asks for the new one.
      if (!this.#held.isOver()) this.#parts.connections.to(id, address, memoryId);
      known = { place, node: this.#holderNode(place) };
      this.#known.set(id, known);
    }
    this.ids.add(id);
    return known.node;
  }

  /** The memory of a node that the lease is over; undefined: it is not. */
  memoryAt(id: string): number | undefined {
    return this.ids.has(id) ? this.#known.get(id)?.place.memoryId : undefined;
  }

  /** As it was last; it may have been taken out. */
  get(id: string): Known | undefined {
    return this.#known.get(id);
  }

  #holderNode(place: Place): HolderNode {
    const { lease, epoch } = this.#held;
    const request = { lease, epoch };
    return {
      renew: async (timeoutMs) => {
        const link = this.#linkTo(place);
        if (link === undefined) return Status.Unavailable;
        const { status } = await link.call(MessageType.RenewLease, request, timeoutMs);
        if (status !== Status.Ok && status !== Status.Stale) void this.#lookWhere(place);
        return status;
      },
      end: async (timeoutMs) => {
        const link = this.#linkTo(place);
        if (link === undefined) return Status.Unavailable;
        return (await link.call(MessageType.EndLease, request, timeoutMs)).status;
      },
    };
  }

  /** The one connection that this client has to the node. None when that lends other memory. */
  #linkTo({ id, address, memoryId }: Place) {
    if (this.#held.isOver()) return undefined;
    const { connections } = this.#parts;
    const known = connections.known(id) ?? connections.to(id, address, memoryId);
    return known.memoryId === memoryId ? known.link : undefined;
  }

  /** It does not answer: perhaps it listens elsewhere by now. */
  async #lookWhere(place: Place): Promise<void> {
    const { runtime, control, connections } = this.#parts;
    const deadline = runtime.clock.now() + LOOK_AGAIN_MS;
    try {
      const members = await control.members(deadline);
      const now = members.find(({ id, state }) => id === place.id && state === 'serving');
      const isOver = this.#held.isOver();
      if (isOver || now === undefined || now.address === place.address) return;
      const known = await memoryOf(control, place.id, deadline);
      if (known !== place.memoryId || this.#held.isOver()) return;
      place.address = now.address;
      connections.to(place.id, place.address, place.memoryId);
    } catch {
      // The controller is away as well: the next renewal asks again.
    }
  }
}

/** The memory that the node lends now. */
export async function memoryOf(control: Control, id: string, deadline: number): Promise<number> {
  const type = MessageType.DescribeNode;
  return (await control.demand(`describing ${id}`, type, { id }, deadline)).memoryId;
}
