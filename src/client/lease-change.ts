/** One node more, or one less, for a lease that is held. */

import { Serial } from '../base/serial.js';
import { Status } from '../base/status.js';
import type { Holder } from '../leases/holder.js';
import { MessageType } from '../wire/messages.js';
import type { Control } from './control.js';
import type { LeaseNodes } from './lease-nodes.js';

export interface LeaseChangeParts {
  readonly name: string;
  /** What each node is told of it. */
  readonly wish: {
    readonly lease: number;
    readonly epoch: number;
    readonly holder: number;
    readonly durationMs: number;
  };
  readonly nodes: LeaseNodes;
  readonly holder: Pick<Holder, 'add' | 'remove'>;
}

/** After these nothing was changed. */
const REFUSED: readonly Status[] = [
  Status.Busy,
  Status.Stale,
  Status.Invalid,
  Status.Unsupported,
  Status.NotFound,
];

export class LeaseChange {
  readonly #control: Control;
  readonly #parts: LeaseChangeParts;
  /** By node: what is asked for side by side is done in any order, and nobody knows in which. */
  readonly #changes = new Map<string, Serial>();

  constructor(control: Control, parts: LeaseChangeParts) {
    this.#control = control;
    this.#parts = parts;
  }

  /** Asked again it goes on. */
  extend(node: string, deadline: number): Promise<void> {
    return this.#inTurn(node, () => this.#extend(node, deadline));
  }

  async #extend(node: string, deadline: number): Promise<void> {
    const { name, wish, nodes, holder } = this.#parts;
    const what = `extending the lease ${name} to ${node}`;
    const request = { ...wish, node };
    const type = MessageType.ExtendLease;
    const { memoryId, address } = await this.#control.demand(what, type, request, deadline);
    const before = nodes.get(node);
    await holder.add(nodes.add({ id: node, memoryId, address }));
    // Not before: where all memory is lost it may be the last one that has confirmed the lease.
    if (before !== undefined && before.place.memoryId !== memoryId) holder.remove(before.node);
  }

  /** Renewed there no more before it is asked: nobody waits for that node then. */
  shrink(node: string, deadline: number): Promise<void> {
    const memoryId = this.#parts.nodes.memoryAt(node);
    return this.#inTurn(node, () => this.#shrink(node, memoryId, deadline));
  }

  async #inTurn(node: string, change: () => Promise<void>): Promise<void> {
    const turn = this.#changes.get(node) ?? new Serial(Infinity);
    this.#changes.set(node, turn);
    try {
      await turn.run(change);
    } finally {
      if (turn.waiting === 0) this.#changes.delete(node);
    }
  }

  /** Of the memory that it was asked for: it may have other memory by its turn. */
  async #shrink(node: string, memoryId: number | undefined, deadline: number): Promise<void> {
    const { name, wish, nodes, holder } = this.#parts;
    const known = nodes.get(node);
    const isOther = memoryId !== undefined && known?.place.memoryId !== memoryId;
    if (known === undefined || isOther) return;
    const wasThere = nodes.ids.delete(node);
    holder.remove(known.node);
    const { lease, epoch } = wish;
    const request = { lease, epoch, node, memoryId: known.place.memoryId };
    const reply = await this.#control.call(MessageType.ShrinkLease, request, deadline);
    if (reply.status === Status.Ok) return;
    if (wasThere && REFUSED.includes(reply.status)) void holder.add(nodes.add(known.place));
    throw this.#control.failure(`taking ${node} out of ${name}`, reply.status, reply.reason);
  }
}
