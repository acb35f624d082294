/** The memory nodes of the rack, as the controller knows them; asked for once for all devices. */

import { Status } from '../base/status.js';
import type { Control } from '../client/control.js';
import type { Clock } from '../runtime/clock.js';
import { MessageType, NodeState } from '../wire/messages.js';
import type { SlabNode } from './ports.js';

const KEEP_MS = 500;
const ASK_MS = 2_000;

export interface MemoryNode extends SlabNode {
  readonly address: string;
}

export class Memories {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #control: Control;
  #known: readonly MemoryNode[] | undefined;
  #knownMs = -Infinity;
  #asking: Promise<readonly MemoryNode[] | undefined> | undefined;

  constructor(clock: Pick<Clock, 'now'>, control: Control) {
    this.#clock = clock;
    this.#control = control;
  }

  /** What is known without asking. */
  find(node: string): MemoryNode | undefined {
    return this.#known?.find(({ id }) => id === node);
  }

  /** Half a second old at most; undefined: the controller does not answer. */
  list(): Promise<readonly MemoryNode[] | undefined> {
    if (this.#clock.now() - this.#knownMs < KEEP_MS) return Promise.resolve(this.#known);
    this.#asking ??= this.#ask().finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  async #ask(): Promise<readonly MemoryNode[] | undefined> {
    const nodes: MemoryNode[] = [];
    const deadline = this.#clock.now() + ASK_MS;
    for (let after = ''; ; ) {
      const reply = await this.#control.call(MessageType.ListMemories, { after }, deadline);
      if (reply.status !== Status.Ok) return undefined;
      for (const one of reply.memories) {
        const { node: id, memoryId, machine, address, bytesLent, bytesUsed, bytesCommitted } = one;
        const isServing = one.state === NodeState.SERVING && one.isDisk === 0;
        nodes.push({
          ...{ id, memoryId, machine, address, bytesLent, bytesCommitted, isServing },
          bytesFree: bytesLent - bytesUsed,
          isLeaving: one.state === NodeState.DRAINING,
        });
        after = id;
      }
      if (reply.more === 0 || reply.memories.length === 0) break;
    }
    this.#known = nodes;
    this.#knownMs = this.#clock.now();
    return nodes;
  }
}
