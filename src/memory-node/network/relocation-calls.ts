/** The call that moves pages to other frames of the node, while clients are at work on them. */

import { Status } from '../../base/status.js';
import { formatBytes } from '../../base/units.js';
import type { TableFile } from '../../disk/table-file.js';
import { ADDRESS_END } from '../../wire/limits.js';
import { MessageType } from '../../wire/messages.js';
import type { Moves } from '../moves/moves.js';
import type { Slabs } from '../slabs.js';
import type { Regions } from '../slow/regions.js';
import { MOVED_PAGE_BYTES_MAX, type Relocation } from '../store/relocation.js';
import type { CallServer } from './call-server.js';
import { withinHeld } from './move-calls.js';

export interface RelocationCallParts {
  readonly table: TableFile;
  readonly regions: Regions;
  readonly relocation: Relocation;
  readonly moves: Moves;
  readonly slabs: Slabs;
}

export function serveRelocation(server: CallServer, parts: RelocationCallParts): void {
  const { table, regions, relocation, moves, slabs } = parts;
  const { pageBytes, regionBytes } = table.facts;
  const within = withinHeld(moves);
  server.serve(MessageType.Relocate, async ({ space, address, bytes }) => {
    if (pageBytes > MOVED_PAGE_BYTES_MAX) {
      const reason = `pages of more than ${formatBytes(MOVED_PAGE_BYTES_MAX)} are not moved`;
      return { status: Status.Unsupported, reason };
    }
    const isWithin = bytes >= 1 && (address % regionBytes) + bytes <= regionBytes;
    if (!isWithin || address >= ADDRESS_END) {
      return { status: Status.Invalid, reason: 'pages are moved within one region' };
    }
    const region = Math.floor(address / regionBytes);
    const firstPage = Math.floor(address / pageBytes);
    const end = Math.ceil((address + bytes) / pageBytes);
    // A page that gets another frame goes on: no page may, of a region that another node may have.
    return within(space, region, async () => {
      if (!regions.serves(space) || !table.regions.holds(space, region)) {
        return { status: Status.NotFound, reason: `region ${region} of ${space} is not held here` };
      }
      const denied = slabs.refusePlain(space);
      if (denied !== undefined) return denied;
      const { moved, cancelled } = await relocation.move(space, firstPage, end - firstPage);
      return { status: Status.Ok, moved, cancelled };
    });
  });
}
