/**
 * Sectors that showed words of two writes. Whoever writes over shared memory may be stopped in the
 * middle: where another copy had all of the sector it is taken from there. Only of a slab that had
 * a single copy for a while nobody else has it (docs/internals/replication.md, "Torn blocks").
 */

import type { Journal } from '../journal.js';
import type { Complaint } from './foreign.js';

export function findTorn(journal: Journal): Complaint[] {
  return journal.tornReads
    .filter(({ device, slab }) => !journal.hadOneCopy.has(slabKey(device, slab)))
    .map(({ device, sector }) => {
      return { kind: 'torn-sector', text: `${device} sector ${sector} shows two values` };
    });
}

export function slabKey(device: string, slab: number): string {
  return `${device}, slab ${slab}`;
}
