// What the nodes of a rack count, asked of them directly.
import { Status } from '../../../src/base/status.js';
import { createEndpoint, type Endpoint } from '../../../src/fabric/endpoint.js';
import { createRuntime } from '../../../src/runtime/node/create-runtime.js';
import { MessageType } from '../../../src/wire/messages.js';
import type { TestRack } from '../rack.js';

export interface NodeCounts {
  readonly incarnation: number;
  readonly frames: number;
  readonly framesUsed: number;
  readonly framesResting: number;
  readonly framesPromised: number;
  readonly slotsAttached: number;
  readonly slotsHeldBack: number;
  readonly pagesCopiedOnRevoke: number;
  readonly revocationsUnsettled: number;
  readonly pagesMoved: number;
  readonly movesCancelled: number;
  readonly fabric: { readonly sessionsOpened: number; readonly sessionsClosed: number };
}

export class CountersOfNodes {
  readonly #endpoint: Endpoint;
  readonly #rack: TestRack;
  /** Found out once: a node keeps its address. */
  #addresses: Promise<string[]> | undefined;
  /** The last that were seen of each process of each node. */
  readonly #seen = new Map<string, NodeCounts>();

  constructor(rack: TestRack) {
    this.#endpoint = createEndpoint(createRuntime({ logLevel: 'error' }), {});
    this.#rack = rack;
  }

  /** Of the nodes that answer within the time. */
  async now(timeoutMs = 2_000): Promise<NodeCounts[]> {
    this.#addresses ??= this.#find();
    const asked = (await this.#addresses).map((address) => this.#ask(address, timeoutMs));
    const found = await Promise.all(asked);
    return found.flatMap((one) => one ?? []);
  }

  async #find(): Promise<string[]> {
    const rows = await this.#rack.nodes();
    return rows.filter(({ kind }) => kind !== 'host').map(({ address }) => address);
  }

  async #ask(address: string, timeoutMs: number): Promise<NodeCounts | undefined> {
    const peer = this.#endpoint.peer(address);
    const reply = await peer.call(MessageType.Counters, {}, timeoutMs);
    if (reply.status !== Status.Ok) return undefined;
    const counts = JSON.parse(reply.json) as NodeCounts;
    this.#seen.set(`${address} ${counts.incarnation}`, counts);
    return counts;
  }

  /** Over all processes of all nodes, as far as it was seen. */
  total(name: Exclude<keyof NodeCounts, 'fabric'>): number {
    let sum = 0;
    for (const counts of this.#seen.values()) sum += counts[name];
    return sum;
  }

  async close(): Promise<void> {
    await this.#endpoint.close();
  }
}
