/** The calls that a memory node answers: everything that is not a byte of data. */

import { assert } from '../../base/assert.js';
import { Status } from '../../base/status.js';
import { EntryFlag, RIGHTS_SHIFT, SPACE_ID_END as SPACES_OF_TABLE } from '../../disk/page-table.js';
import { REGIONS_PER_MESSAGE_MAX, SPACE_ID_END } from '../../wire/limits.js';
import { MessageType, type Refused, Right } from '../../wire/messages.js';
import type { Eviction } from '../eviction.js';
import type { Giving } from '../giving.js';
import type { Moves } from '../moves/moves.js';
import type { Sharing } from '../sharing.js';
import type { Allocations, Refusal } from '../slow/allocations.js';
import type { Relocation } from '../store/relocation.js';
import type { CallServer } from './call-server.js';
import { type FlushCallParts, serveFlush } from './flush-calls.js';
import { type MeasureCallParts, serveMeasures } from './measure-calls.js';
import { dismissingLate, regionOf, serveMoves, withinHeld } from './move-calls.js';
import { serveRelocation } from './relocation-calls.js';
import { serveSlabs } from './slab-calls.js';
import { serveSlots } from './slot-calls.js';
import { NOT_SETTLED, serveWindows, type WindowCallParts } from './window-calls.js';

// A right of the protocol becomes a bit of the page table by a shift.
assert(
  Right.READ << RIGHTS_SHIFT === EntryFlag.READ && Right.WRITE << RIGHTS_SHIFT === EntryFlag.WRITE,
);
assert(SPACE_ID_END <= SPACES_OF_TABLE, 'every space of a message has its own word');

export interface CallParts extends WindowCallParts, MeasureCallParts, FlushCallParts {
  readonly allocations: Allocations;
  readonly sharing: Sharing;
  readonly relocation: Relocation;
  readonly moves: Moves;
  readonly giving: Giving;
  readonly eviction: Eviction;
  /** All that the node counts, as JSON. */
  readonly countersJson: () => string;
}

const done = { status: Status.Ok } as const;

function refused(refusal: Refusal): Refused {
  return { status: refusal.status, reason: refusal.reason };
}

export function serveCalls(server: CallServer, parts: CallParts): void {
  serveWindows(server, parts);
  serveAllocations(server, parts);
  serveRegions(server, parts);
  serveSlabs(server, { ...parts, pageBytes: parts.table.facts.pageBytes });
  serveRelocation(server, parts);
  serveMoves(server, parts.moves);
  serveSlots(server, parts.table, parts.sharing, parts.journal !== undefined);
  serveMeasures(server, parts);
  serveFlush(server, parts);
  server.serve(MessageType.RegionsToGive, async () => {
    return { status: Status.Ok, ...(await parts.giving.regions()) };
  });
  server.serve(MessageType.RegionSizes, async () => {
    return { status: Status.Ok, ...(await parts.giving.sizes()) };
  });
  server.serve(MessageType.Counters, () => ({ status: Status.Ok, json: parts.countersJson() }));
}

function serveAllocations(server: CallServer, parts: CallParts): void {
  const { allocations, revocation, moves, slabs } = parts;
  const within = withinHeld(moves);
  const late = dismissingLate(moves);
  server.serve(MessageType.Alloc, (request) =>
    within(request.space, request.region, async () => {
      const denied = slabs.refusePlain(request.space);
      const address = denied ?? (await allocations.allocate(request));
      return typeof address === 'number' ? { status: Status.Ok, address } : refused(address);
    }),
  );
  server.serve(MessageType.ConfirmAlloc, ({ space, address, nonce }) =>
    within(space, regionOf(address), () => {
      const refusal = allocations.confirm(space, address, nonce);
      return refusal === undefined ? done : refused(refusal);
    }),
  );
  server.serve(MessageType.Free, ({ space, address, nonce }, session) => {
    const work = () => {
      const denied = slabs.refusePlain(space, address);
      const bytes = denied ?? allocations.free(space, address, nonce);
      return typeof bytes === 'number' ? { status: Status.Ok, bytes } : refused(bytes);
    };
    return late(session, space, address) ?? within(space, regionOf(address), work);
  });
  server.serve(MessageType.Inspect, ({ space, address }) =>
    within(space, regionOf(address), () => {
      const found = allocations.inspect(space, address);
      return 'status' in found ? refused(found) : { status: Status.Ok, ...found };
    }),
  );
  server.serve(MessageType.Protect, ({ space, rights, address, bytes }, session) => {
    const work = async () => {
      const denied = slabs.refusePlain(space);
      const refusal = denied ?? allocations.protect(space, { address, bytes }, rights);
      if (!(await revocation.settled())) return NOT_SETTLED;
      return refusal === undefined ? done : refused(refusal);
    };
    return late(session, space, address) ?? within(space, regionOf(address), work);
  });
}

function serveRegions(server: CallServer, parts: CallParts): void {
  const { regions, table } = parts;
  server.serve(MessageType.GrantRegion, (grant) => {
    const refusal = regions.grant(grant);
    return refusal === undefined ? done : refused(refusal);
  });
  server.serve(MessageType.RemoveSpace, async ({ space }) => {
    await regions.remove(space);
    return done;
  });
  server.serve(MessageType.NoteMark, (mark) => {
    table.raiseMark(mark);
    return done;
  });
  server.serve(MessageType.NodeRegions, ({ after }) => {
    const all = table.regions.list();
    const end = after + REGIONS_PER_MESSAGE_MAX;
    const shown = all.slice(after, end);
    return { status: Status.Ok, more: end < all.length ? end : 0, regions: shown };
  });
}
