/**
 * How a client reaches its memory nodes: by messages alone, or where a node is on this machine also
 * by its memory.
 */

import { createDatagramCounters } from '../fabric/datagram/datagram-counters.js';
import { idlePeer } from '../fabric/datagram/idle-peer.js';
import { UdpLink } from '../fabric/datagram/udp-link.js';
import type { Endpoint } from '../fabric/endpoint.js';
import { FallOver } from '../fabric/fall-over/fall-over.js';
import { createFallOverCounters } from '../fabric/fall-over/fall-over-counters.js';
import type { Link } from '../fabric/link.js';
import { ShmLink } from '../fabric/shm/shm-link.js';
import { createShmCounters } from '../fabric/shm/shm-counters.js';
import type { TcpLink } from '../fabric/tcp-link.js';
import type { Address } from '../runtime/network.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Fabric } from './connections.js';

/**
 * Of `connect`: `shm` refuses nodes whose memory this process cannot open, `udp` those that no
 * datagram can be sent to.
 */
export type LinkChoice = 'auto' | 'shm' | 'tcp' | 'udp';

export interface FabricChoice {
  /** Default 'auto'. */
  readonly link?: LinkChoice;
  /** As `UdpLinkOptions.idleStreamMs`. */
  readonly idleStreamMs?: number;
}

export function clientFabric(runtime: Runtime, endpoint: Endpoint, options: FabricChoice): Fabric {
  const choice = options.link ?? 'auto';
  if (choice === 'tcp') {
    return {
      peer: (address) => endpoint.peer(address),
      link: (address, memoryId) => endpoint.link(address, memoryId),
      close: () => endpoint.close(),
      counts: () => ({ streams: copyOf(endpoint.counters) }),
    };
  }
  if (choice === 'udp') return datagramFabric(runtime, endpoint, options);
  const counts = anyWayCounts();
  const fabric: Fabric = {
    peer: (address) => endpoint.peer(address),
    link: (address, memoryId) => {
      const link = endpoint.link(address, memoryId);
      const isOneWay = choice === 'shm' || !address.startsWith('tcp:');
      const fallOver = isOneWay ? {} : { fallOver: fallOverOf(runtime, link, address, counts) };
      return ShmLink.open({ runtime, link, counters: counts.memory, ...fallOver });
    },
    close: () => endpoint.close(),
    counts: () => ({ streams: copyOf(endpoint.counters), ...anyWayCopies(counts, choice) }),
    countsOf: (link) => (link as ShmLink).state,
    sharing: {
      client: endpoint.clientId,
      isAttached: (link) => (link as ShmLink).isAttached,
      watch: (link, changed) => (link as ShmLink).watch(changed),
    },
  };
  if (choice === 'auto') return fabric;
  const attach = (link: Link, timeoutMs: number): Promise<string | undefined> =>
    (link as ShmLink).attach(timeoutMs);
  return { ...fabric, attach };
}

/** What links have counted that may go any way. */
function anyWayCounts() {
  return {
    memory: createShmCounters(),
    datagrams: createDatagramCounters(),
    fallOver: createFallOverCounters(),
  };
}

function anyWayCopies({ memory, ...ofAuto }: ReturnType<typeof anyWayCounts>, choice: LinkChoice) {
  if (choice === 'shm') return { memory: copyOf(memory) };
  const { datagrams, fallOver } = ofAuto;
  return { memory: copyOf(memory), datagrams: copyOf(datagrams), fallOver: copyOf(fallOver) };
}

function fallOverOf(
  runtime: Runtime,
  link: TcpLink,
  address: Address,
  counts: ReturnType<typeof anyWayCounts>,
): FallOver {
  const { fallOver: counters, datagrams: datagramCounters } = counts;
  const to = datagramAddress(address);
  return new FallOver({ runtime, link, address: to, counters, datagramCounters });
}

/** A node takes datagrams at the number of its port for streams. */
function datagramAddress(address: Address): Address {
  return address.replace('tcp:', 'udp:');
}

function datagramFabric(
  runtime: Runtime,
  endpoint: Endpoint,
  { idleStreamMs }: FabricChoice,
): Fabric {
  const idle = idleStreamMs === undefined ? {} : { idleStreamMs };
  const counters = createDatagramCounters();
  return {
    // One that is asked for nothing keeps nothing of this client, as the nodes do.
    peer: (address) => idlePeer(runtime, endpoint.link(address), idleStreamMs),
    link: (address, memoryId) => {
      const link = endpoint.link(address, memoryId);
      if (!address.startsWith('tcp:')) return link;
      const to = datagramAddress(address);
      return UdpLink.open({ runtime, link, address: to, counters, ...idle });
    },
    close: () => endpoint.close(),
    counts: () => ({ streams: copyOf(endpoint.counters), datagrams: copyOf(counters) }),
    countsOf: (link) => (link instanceof UdpLink ? { datagrams: link.state } : {}),
    attach: (link) => {
      if (link instanceof UdpLink) return link.begun();
      return Promise.resolve('it listens at no port, where datagrams could be sent to');
    },
  };
}

/** As it stands now, whatever is counted afterwards. */
function copyOf<T extends object>(counters: T): T {
  const entries = Object.entries(counters).map(([key, value]: [string, unknown]) => {
    return [key, typeof value === 'object' ? { ...value } : value] as const;
  });
  return Object.fromEntries(entries) as T;
}
