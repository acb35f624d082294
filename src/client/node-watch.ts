/** What memory nodes count, asked of each of them directly: for views that look again and again. */

import { Status } from '../base/status.js';
import type { Peer } from '../fabric/link.js';
import type { Clock } from '../runtime/clock.js';
import { MessageType } from '../wire/messages.js';
import type { Member } from './control.js';

/** What one memory node has told. */
export interface NodeNumbers {
  readonly node: string;
  /** As the node tells them, see docs/metrics.md; undefined: it did not answer. */
  readonly counters: Readonly<Record<string, unknown>> | undefined;
  /** From the question to the answer, in milliseconds. */
  readonly tookMs: number;
}

export interface NodeWatchParts {
  readonly clock: Pick<Clock, 'now'>;
  readonly peer: (address: string) => Peer;
}

export class NodeWatch {
  readonly #parts: NodeWatchParts;
  /** By address, as long as a node listens there. */
  #peers = new Map<string, Peer>();

  constructor(parts: NodeWatchParts) {
    this.#parts = parts;
  }

  /** Asks those of `members` that are memory nodes and serve, each for `timeoutMs` at most. */
  async read(members: readonly Member[], timeoutMs: number): Promise<NodeNumbers[]> {
    const nodes = members.filter(
      ({ kind, state }) => kind === 'memory-node' && state === 'serving',
    );
    this.#keepOnly(new Set(nodes.map(({ address }) => address)));
    return Promise.all(nodes.map(({ id, address }) => this.#ask(id, address, timeoutMs)));
  }

  #keepOnly(addresses: ReadonlySet<string>): void {
    for (const [address, peer] of this.#peers) {
      if (addresses.has(address)) continue;
      this.#peers.delete(address);
      peer.close();
    }
  }

  async #ask(node: string, address: string, timeoutMs: number): Promise<NodeNumbers> {
    const { clock } = this.#parts;
    const peer = this.#peers.get(address) ?? this.#parts.peer(address);
    this.#peers.set(address, peer);
    const askedMs = clock.now();
    const reply = await peer.call(MessageType.Counters, {}, timeoutMs);
    const tookMs = clock.now() - askedMs;
    const counters = reply.status === Status.Ok ? objectIn(reply.json) : undefined;
    return { node, counters, tookMs };
  }

  close(): void {
    for (const peer of this.#peers.values()) peer.close();
    this.#peers.clear();
  }
}

function objectIn(json: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
