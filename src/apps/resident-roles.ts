/** The roles that programs wait for whose memory is in the rack. */

import { keepInMemory } from '../runtime/node/resident-memory.js';

const RESIDENT = ['controller', 'supervisor', 'memory-node'];

/** Their memory stays in the machine as long as it has swap: see `keepInMemory`. */
export function stayResident(role: string): void {
  if (RESIDENT.includes(role)) keepInMemory(role === 'supervisor');
}
