/** Flush: what was stored in a range outlives the machine, and which pages it is in. */

import { Status } from '../../base/status.js';
import { NO_FRAME } from '../../disk/page-table.js';
import type { TableFile } from '../../disk/table-file.js';
import type { FileRange } from '../../runtime/durable.js';
import { ADDRESS_END } from '../../wire/limits.js';
import { MessageType, type Refused, type Request } from '../../wire/messages.js';
import type { Journal } from '../durable/journal.js';
import { durableFaults } from '../durable/planted.js';
import { merged } from '../durable/ranges.js';
import type { Moves } from '../moves/moves.js';
import type { CallServer } from './call-server.js';
import { regionOf, withinHeld } from './move-calls.js';

export interface FlushCallParts {
  readonly table: TableFile;
  /** Undefined: this memory is not on a disk. */
  readonly journal: Journal | undefined;
  readonly moves: Moves;
}

type FlushRange = Request<typeof MessageType.Flush>;

const refused = (status: Refused['status'], reason: string): Refused => ({ status, reason });

const ENDS_WITH_NODE = refused(
  Status.Unsupported,
  'the memory of this node ends with it: use a space of the kind persistent',
);
const NOT_WITHIN = refused(Status.Invalid, 'a flush is asked for within one region');
const OPENED_SINCE = refused(
  Status.DataLost,
  'the file was opened anew since this was written: what was not flushed before may be gone',
);

export function serveFlush(server: CallServer, parts: FlushCallParts): void {
  const { table, journal } = parts;
  const within = withinHeld(parts.moves);
  server.serve(MessageType.Flush, (request) => {
    if (journal === undefined) return ENDS_WITH_NODE;
    const { space, address, bytes } = request;
    const { regionBytes } = table.facts;
    const isWithin = bytes >= 1 && (address % regionBytes) + bytes <= regionBytes;
    if (!isWithin || address >= ADDRESS_END) return NOT_WITHIN;
    return within(space, regionOf(address), () => flush(table, journal, request));
  });
}

async function flush(table: TableFile, journal: Journal, request: FlushRange) {
  const { opening } = journal;
  const { space, address } = request;
  const region = regionOf(address);
  // Of a region that is elsewhere it is not known here what was lost.
  if (!table.regions.holds(space, region)) {
    return refused(Status.NotFound, `region ${region} of space ${space} is not held here`);
  }
  if (mayBeLost(table, journal, region, request)) return OPENED_SINCE;
  const ranges = framesOf(table, request);
  if ('status' in ranges) return ranges;
  await journal.flush(ranges);
  return { status: Status.Ok, opening };
}

/** Of what was written under the opening that is named. */
function mayBeLost(
  { regions }: TableFile,
  journal: Journal,
  region: number,
  { space, opening }: FlushRange,
): boolean {
  if (opening === 0 || opening === journal.opening || durableFaults.openingIgnored) return false;
  const former = regions.openingsOf(space, region);
  if (durableFaults.everyOpeningTaken && former.length > 0) return false;
  return !former.includes(opening);
}

function framesOf(table: TableFile, { space, address, bytes }: FlushRange): FileRange[] | Refused {
  const { pageBytes } = table.facts;
  const ranges: FileRange[] = [];
  const end = Math.ceil((address + bytes) / pageBytes);
  for (let page = Math.floor(address / pageBytes); page < end; page++) {
    const entry = table.pages.find(space, page);
    if (entry < 0) return refused(Status.NotAllocated, `no allocation at ${page * pageBytes}`);
    const frame = table.pages.frameOf(entry);
    if (frame !== NO_FRAME) ranges.push({ offset: frame * pageBytes, bytes: pageBytes });
  }
  return merged(ranges);
}
