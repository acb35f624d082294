/**
 * The links of this client, one per memory node, shared by all its spaces, each with the numbers of
 * the reservations that its operations have there.
 */

import type { Link, Peer } from '../fabric/link.js';
import type { FabricCounts, LinkCounts } from './counters.js';
import { Reservations } from './reservations.js';

/** Memory that is reached without its node: for further threads of this process. */
export interface MemorySharing {
  /** By which nodes know this client. */
  readonly client: number;
  /** Whether this link reaches its node's memory so at the moment. */
  isAttached(link: Link): boolean;
  /** Calls back whenever that has changed, or may have. Returns how to stop it. */
  watch(link: Link, changed: () => void): () => void;
}

/** Where peers and links come from: the endpoint of `fabric`, or a fake. */
export interface Fabric {
  peer(address: string): Peer;
  /** The hello names the memory that is meant: another one at the address refuses it. */
  link(address: string, memoryId: number): Link;
  close(): Promise<void> | void;
  /** What was counted, for metrics. */
  counts?(): FabricCounts;
  /** How this link stands. */
  countsOf?(link: Link): LinkCounts;
  /** Where links may reach memory without its node. */
  readonly sharing?: MemorySharing;
  /**
   * Only where memory has to be reached without its node: resolves when this link does so, else
   * with the reason, for people, why it cannot.
   */
  attach?(link: Link, timeoutMs: number): Promise<string | undefined>;
}

export interface Connection {
  readonly nodeId: string;
  readonly address: string;
  readonly memoryId: number;
  readonly link: Link;
  readonly reservations: Reservations;
  /** Why it may not be used, where that is demanded (`Fabric.attach`). */
  refusal: string | undefined;
  /** Closed before the client itself was: whoever still has it asks for another. */
  isClosed: boolean;
}

export class Connections {
  readonly #fabric: Fabric;
  readonly #byNode = new Map<string, Connection>();
  readonly #watchers: ((connection: Connection) => void)[] = [];
  /** The client is. */
  isClosed = false;

  constructor(fabric: Fabric) {
    this.#fabric = fabric;
  }

  get sharing(): MemorySharing | undefined {
    return this.#fabric.sharing;
  }

  /** The connection to a node; a new one when it now listens elsewhere, or lends other memory. */
  to(nodeId: string, address: string, memoryId: number): Connection {
    const known = this.#byNode.get(nodeId);
    if (known?.address === address && known.memoryId === memoryId) return known;
    if (known !== undefined) this.drop(known);
    const link = this.#fabric.link(address, memoryId);
    const made: Connection = {
      nodeId,
      address,
      memoryId,
      link,
      reservations: new Reservations(link),
      refusal: undefined,
      isClosed: false,
    };
    link.onLoss = () => this.#tellLoss(made);
    this.#byNode.set(nodeId, made);
    return made;
  }

  /** For as long as the client lives: a node does not answer that somebody waits for. */
  watchLosses(watcher: (connection: Connection) => void): void {
    this.#watchers.push(watcher);
  }

  #tellLoss(connection: Connection): void {
    for (const watcher of this.#watchers) watcher(connection);
  }

  /** How the links stand, by node. */
  *links(): Generator<LinkCounts & { readonly node: string; readonly address: string }> {
    for (const { nodeId, address, link } of this.#byNode.values()) {
      yield { node: nodeId, address, ...this.#fabric.countsOf?.(link) };
    }
  }

  /** The connection that there is to a node, wherever it listens and whatever it lends. */
  known(nodeId: string): Connection | undefined {
    return this.#byNode.get(nodeId);
  }

  /** Whether the connection is as it was demanded; if not, `refusal` says why. */
  async isGood(connection: Connection, timeoutMs: number): Promise<boolean> {
    if (this.#fabric.attach === undefined) return true;
    connection.refusal = await this.#fabric.attach(connection.link, timeoutMs);
    return connection.refusal === undefined;
  }

  /** Ends what is under way over a connection to memory that is gone. */
  drop(connection: Connection): void {
    if (this.#byNode.get(connection.nodeId) === connection) {
      this.#byNode.delete(connection.nodeId);
    }
    connection.isClosed = true;
    connection.link.close();
  }

  close(): void {
    this.isClosed = true;
    for (const connection of this.#byNode.values()) connection.link.close();
    this.#byNode.clear();
  }
}
