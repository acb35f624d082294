/**
 * How a client reaches its memory nodes: by messages alone, or where a node is on this machine also
 * by its memory.
 */

import { createDatagramCounters } from '../fabric/datagram/datagram-counters.js';
import { UdpLink } from '../fabric/datagram/udp-link.js';
import type { Endpoint } from '../fabric/endpoint.js';
import type { Link } from '../fabric/link.js';
import { ShmLink } from '../fabric/shm/shm-link.js';
import { createShmCounters } from '../fabric/shm/shm-counters.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Fabric } from './connections.js';

/**
 * Of `connect`: `shm` refuses nodes whose memory this process cannot open, `udp` those that no
 * datagram can be sent to.
 */
export type LinkChoice = 'auto' | 'shm' | 'tcp' | 'udp';

export function clientFabric(runtime: Runtime, endpoint: Endpoint, choice: LinkChoice): Fabric {
  if (choice === 'tcp') {
    return {
      peer: (address) => endpoint.peer(address),
      link: (address, memoryId) => endpoint.link(address, memoryId),
      close: () => endpoint.close(),
      counts: () => ({ streams: copyOf(endpoint.counters) }),
    };
  }
  if (choice === 'udp') return datagramFabric(runtime, endpoint);
  const counters = createShmCounters();
  const fabric: Fabric = {
    peer: (address) => endpoint.peer(address),
    link: (address, memoryId) =>
      ShmLink.open({ runtime, link: endpoint.link(address, memoryId), counters }),
    close: () => endpoint.close(),
    counts: () => ({ streams: copyOf(endpoint.counters), memory: copyOf(counters) }),
    countsOf: (link) => ({ isAttached: (link as ShmLink).isAttached }),
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

/** A node takes datagrams at the number of its port for streams. */
function datagramFabric(runtime: Runtime, endpoint: Endpoint): Fabric {
  const counters = createDatagramCounters();
  return {
    peer: (address) => endpoint.peer(address),
    link: (address, memoryId) => {
      const link = endpoint.link(address, memoryId);
      if (!address.startsWith('tcp:')) return link;
      return UdpLink.open({ runtime, link, address: address.replace('tcp:', 'udp:'), counters });
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
