/**
 * The links of this client, one per memory node, shared by all its spaces; and what a
 * reservation costs them: an `unreserve` gives back everything that is left of a link's
 * reservations, so it is sent only when no operation relies on one any more.
 */

import { assert } from '../base/assert.js';
import type { Status } from '../base/status.js';
import type { CompletionSink, Link, Peer } from '../fabric/link.js';

/** Where peers and links come from: the endpoint of `fabric`, or a fake. */
export interface Fabric {
  peer(address: string): Peer;
  /** The hello names the memory that is meant: another one at the address refuses it. */
  link(address: string, memoryId: number): Link;
  close(): Promise<void> | void;
}

export interface Connection {
  readonly nodeId: string;
  readonly address: string;
  readonly memoryId: number;
  readonly link: Link;
  /** Operations that rely on a reservation at this node. */
  reservations: number;
  /** An `unreserve` is under way; another one is owed when it has ended. */
  isUnreserving: boolean;
  owesUnreserve: boolean;
  /** Closed before the client itself was: whoever still has it asks for another. */
  isClosed: boolean;
}

export class Connections {
  readonly #fabric: Fabric;
  readonly #byNode = new Map<string, Connection>();

  constructor(fabric: Fabric) {
    this.#fabric = fabric;
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
      reservations: 0,
      isUnreserving: false,
      owesUnreserve: false,
      isClosed: false,
    };
    this.#byNode.set(nodeId, made);
    return made;
  }

  /** Ends what is under way over a connection to memory that is gone. */
  drop(connection: Connection): void {
    if (this.#byNode.get(connection.nodeId) === connection) {
      this.#byNode.delete(connection.nodeId);
    }
    connection.isClosed = true;
    connection.link.close();
  }

  reserved(connection: Connection): void {
    connection.reservations += 1;
  }

  unreserved(connection: Connection): void {
    assert(connection.reservations > 0);
    connection.reservations -= 1;
    if (connection.reservations > 0) return;
    if (connection.isUnreserving) connection.owesUnreserve = true;
    else this.#unreserve(connection);
  }

  /**
   * Without a deadline: the node keeps what it has promised through lost connections, for as long
   * as this client lives, so giving it back must not be given up. One at a time is enough.
   */
  #unreserve(connection: Connection): void {
    connection.isUnreserving = true;
    connection.owesUnreserve = false;
    const sink: CompletionSink = {
      completed: (_token: number, _status: Status): void => {
        connection.isUnreserving = false;
        const isOwed = connection.owesUnreserve && connection.reservations === 0;
        if (isOwed && !connection.isClosed) this.#unreserve(connection);
      },
    };
    connection.link.unreserve(sink, 0, Number.POSITIVE_INFINITY);
  }

  close(): void {
    for (const connection of this.#byNode.values()) connection.link.close();
    this.#byNode.clear();
  }
}
