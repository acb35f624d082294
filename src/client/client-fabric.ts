/**
 * How a client reaches its memory nodes: by messages alone, or where a node is on this machine also
 * by its memory.
 */

import type { Endpoint } from '../fabric/endpoint.js';
import type { Link } from '../fabric/link.js';
import { ShmLink } from '../fabric/shm/shm-link.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Fabric } from './connections.js';

/** Of `connect`: `shm` refuses nodes whose memory this process cannot open. */
export type LinkChoice = 'auto' | 'shm' | 'tcp';

export function clientFabric(runtime: Runtime, endpoint: Endpoint, choice: LinkChoice): Fabric {
  if (choice === 'tcp') return endpoint;
  const fabric: Fabric = {
    peer: (address) => endpoint.peer(address),
    link: (address, memoryId) => ShmLink.open({ runtime, link: endpoint.link(address, memoryId) }),
    close: () => endpoint.close(),
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
