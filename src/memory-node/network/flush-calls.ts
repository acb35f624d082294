/** Flush: what was stored in a range outlives the machine, and which pages it is in. */

import { Status } from '../../base/status.js';
import { NO_FRAME } from '../../disk/page-table.js';
import type { TableFile } from '../../disk/table-file.js';
import type { FileRange } from '../../runtime/durable.js';
import { ADDRESS_END } from '../../wire/limits.js';
import { MessageType, type Refused, type Request } from '../../wire/messages.js';
import type { Journal } from '../durable/journal.js';
import { durableFaults } from '../durable/planted.js';
import type { CallServer } from './call-server.js';

export interface FlushCallParts {
  readonly table: TableFile;
  /** Undefined: this memory is not on a disk. */
  readonly journal: Journal | undefined;
}

type FlushRange = Request<typeof MessageType.Flush>;

const refused = (status: Refused['status'], reason: string): Refused => ({ status, reason });

const NOT_ON_A_DISK = refused(
  Status.Unsupported,
  'the memory of this node ends with it: use a space of the kind persistent',
);
const OPENED_SINCE = refused(
  Status.DataLost,
  'the file was opened anew since this was written: what was not flushed before may be gone',
);

export function serveFlush(server: CallServer, { table, journal }: FlushCallParts): void {
  server.serve(MessageType.Flush, (request) => {
    if (journal === undefined) return NOT_ON_A_DISK;
    const { opening } = journal;
    const isOther = request.opening !== 0 && request.opening !== opening;
    if (isOther && !durableFaults.openingIgnored) return OPENED_SINCE;
    const ranges = framesOf(table, request);
    if ('status' in ranges) return ranges;
    return journal.flush(ranges).then(() => ({ status: Status.Ok, opening }));
  });
}

/** Neighbouring frames as one range. */
function framesOf(table: TableFile, { space, address, bytes }: FlushRange): FileRange[] | Refused {
  const { pageBytes, regionBytes } = table.facts;
  const isWithin = bytes >= 1 && (address % regionBytes) + bytes <= regionBytes;
  if (!isWithin || address >= ADDRESS_END) {
    return refused(Status.Invalid, 'a flush is asked for within one region');
  }
  const region = Math.floor(address / regionBytes);
  if (!table.regions.holds(space, region)) {
    return refused(Status.NotFound, `region ${region} of space ${space} is not held here`);
  }
  const ranges: { offset: number; bytes: number }[] = [];
  const end = Math.ceil((address + bytes) / pageBytes);
  for (let page = Math.floor(address / pageBytes); page < end; page++) {
    const entry = table.pages.find(space, page);
    if (entry < 0) return refused(Status.NotAllocated, `no allocation at ${page * pageBytes}`);
    const frame = table.pages.frameOf(entry);
    if (frame === NO_FRAME) continue;
    const offset = frame * pageBytes;
    const last = ranges.at(-1);
    if (last !== undefined && last.offset + last.bytes === offset) last.bytes += pageBytes;
    else ranges.push({ offset, bytes: pageBytes });
  }
  return ranges;
}
