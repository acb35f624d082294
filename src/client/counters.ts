/** What a client counts, as its program sees it: plain numbers, for metrics of its own. */

import type { FabricCounters } from '../fabric/counters.js';
import type { DatagramCounters, DatagramLinkState } from '../fabric/datagram/datagram-counters.js';
import type { FallOverCounters } from '../fabric/fall-over/fall-over-counters.js';
import type { ShmCounters } from '../fabric/shm/shm-counters.js';

/** Sums since `connect`. */
export interface FabricCounts {
  /** Connections to nodes and to the controller, and what went over them. */
  readonly streams: Readonly<FabricCounters>;
  /** Memory that is reached without its node (links `auto` and `shm`). */
  readonly memory?: Readonly<ShmCounters>;
  /** Datagrams (links `udp` and `auto`). */
  readonly datagrams?: Readonly<DatagramCounters>;
  /** How often links went over from streams to datagrams, and back (link `auto`). */
  readonly fallOver?: Readonly<FallOverCounters>;
}

/** How the link to one node stands at the moment. */
export interface LinkCounts {
  /** Whether its memory is reached without it. */
  readonly isAttached?: boolean;
  /** Which way operations go that are started now (link `auto`). */
  readonly way?: 'memory' | 'stream' | 'datagrams';
  readonly datagrams?: DatagramLinkState;
}

export interface RackCounters extends FabricCounts {
  /** One for each memory node that this client has used. */
  readonly links: readonly (LinkCounts & { readonly node: string; readonly address: string })[];
}
