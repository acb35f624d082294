/**
 * The calls about windows. A window that is closed is told as closed only when no thread that reads
 * and writes without the node can still be at work under it: also by who asks a second time, and by
 * a process that never knew the window (docs/internals/one-sided.md).
 */

import { Status } from '../../base/status.js';
import { RIGHTS_MASK, RIGHTS_SHIFT } from '../../disk/page-table.js';
import type { TableFile } from '../../disk/table-file.js';
import { ADDRESS_END } from '../../wire/limits.js';
import { MessageType, type Refused, type Reply, type Request } from '../../wire/messages.js';
import { WINDOW_FOR_ALL } from '../../wire/messages.js';
import type { NodeCounters } from '../counters.js';
import type { NodeLeases } from '../leases.js';
import type { Slabs } from '../slabs.js';
import type { Regions } from '../slow/regions.js';
import type { Revocation } from '../store/revocation.js';
import { NO_PARENT } from '../translate/window-tree.js';
import type { Windows } from '../translate/windows.js';
import type { Moves } from '../moves/moves.js';
import type { CallServer } from './call-server.js';
import { regionOf, withinHeld } from './move-calls.js';

export interface WindowCallParts {
  readonly table: TableFile;
  readonly windows: Windows;
  readonly regions: Regions;
  readonly counters: NodeCounters;
  readonly revocation: Revocation;
  readonly moves: Moves;
  readonly leases: Pick<NodeLeases, 'refuseWindow'>;
  readonly slabs: Slabs;
}

const done = { status: Status.Ok } as const;

/** What was stored stays; but nobody may be told that it is the end of all access. */
export const NOT_SETTLED: Refused = {
  status: Status.Busy,
  reason:
    'a stopped thread still has a page, and there is no frame to copy it to: free memory here, ' +
    'or let that process go on or end, and ask again',
};

const refused = (status: Refused['status'], reason: string): Refused => ({ status, reason });

export function serveWindows(server: CallServer, parts: WindowCallParts): void {
  const { windows, regions, table, revocation, slabs } = parts;
  const { pageBytes } = table.facts;
  const opened = (window: number) =>
    ({ status: Status.Ok, window, epoch: windows.epochOf(window), pageBytes }) as const;
  server.serve(MessageType.OpenWindow, ({ space, rights }, session) => {
    if (!regions.serves(space)) return notHeld(space);
    const denied = slabs.refusePlain(space);
    if (denied !== undefined) return denied;
    const bits = bitsOf({ rights });
    const isForAll = (rights & WINDOW_FOR_ALL) !== 0;
    const window = isForAll
      ? windows.openForAll(space, bits)
      : windows.openFor(session.client, space, bits);
    return window < 0 ? tooMany(parts) : opened(window);
  });
  server.serve(MessageType.CloseWindow, async ({ window }, session) => {
    const isClosed = windows.close(session.client, window);
    if (!(await revocation.settled())) return NOT_SETTLED;
    return isClosed ? done : refused(Status.NotFound, 'the window is not open');
  });
  const within = withinHeld(parts.moves);
  server.serve(MessageType.OpenRange, (request, session) =>
    within(request.space, regionOf(request.base), () => {
      const denied = slabs.refusePlain(request.space);
      const window = denied ?? openRange(parts, request, session.client);
      return typeof window === 'number' ? opened(window) : window;
    }),
  );
  server.serve(MessageType.RevokeWindow, (request, session) =>
    revoke(parts, request, session.client),
  );
}

function notHeld(space: number): Refused {
  return refused(Status.NotFound, `no region of space ${space} is held here`);
}

function tooMany({ counters }: WindowCallParts): Refused {
  counters.windowsRefused += 1;
  return refused(
    Status.Busy,
    'too many windows are open here: close or revoke some, and ask again',
  );
}

type RangeRequest = Request<typeof MessageType.OpenRange>;

function openRange(parts: WindowCallParts, request: RangeRequest, client: number) {
  const { windows, regions, table } = parts;
  const { space, base, bytes } = request;
  const { regionBytes } = table.facts;
  const isWithin = bytes >= 1 && (base % regionBytes) + bytes <= regionBytes;
  if (!isWithin || base >= ADDRESS_END) {
    return refused(Status.Invalid, 'a window over a range lies within one region');
  }
  const isHeld = table.regions.holds(space, Math.floor(base / regionBytes));
  if (!isHeld || !regions.serves(space)) return notHeld(space);
  const parent = request.parent === 0 ? NO_PARENT : request.parent - 1;
  const problem = parentProblem(parts, request, client) ?? leaseProblem(parts, request, client);
  if (problem !== undefined) return problem;
  const ofParent = windows.factsOf(parent);
  const own = { lease: request.lease, leaseEpoch: request.leaseEpoch };
  const range = { space, rights: bitsOf(request), base, end: base + bytes };
  const window = windows.openRange(range, {
    opener: client,
    space,
    isShared: request.isShared !== 0,
    parent,
    // What is cut from a window of a lease ends with that lease.
    ...(own.lease === 0 && ofParent !== undefined ? leaseOf(ofParent) : own),
  });
  return window < 0 ? tooMany(parts) : window;
}

function bitsOf({ rights }: { readonly rights: number }): number {
  return (rights << RIGHTS_SHIFT) & RIGHTS_MASK;
}

function leaseOf(facts: { readonly lease: number; readonly leaseEpoch: number }) {
  return { lease: facts.lease, leaseEpoch: facts.leaseEpoch };
}

/** Cutting only narrows. */
function parentProblem(
  { windows }: WindowCallParts,
  request: RangeRequest,
  client: number,
): Refused | undefined {
  if (request.parent === 0) return undefined;
  const parent = request.parent - 1;
  const facts = windows.factsOf(parent);
  const isGood = windows.isGood(parent, client, request.parentEpoch);
  if (!isGood || facts === undefined) {
    return refused(Status.Stale, 'the window that it is to be cut from is not open');
  }
  const { base, bytes, space } = request;
  const isWithin =
    facts.space === space &&
    base >= (windows.bases[parent] as number) &&
    base + bytes <= (windows.ends[parent] as number);
  const mayAll = (bitsOf(request) & ~windows.rightsOf(parent)) === 0;
  if (!isWithin || !mayAll) {
    return refused(Status.Denied, 'this is more than the window allows that it is to be cut from');
  }
  if (request.lease !== 0 && facts.lease !== 0 && facts.lease !== request.lease) {
    return refused(Status.Invalid, 'the window that it is to be cut from is of another lease');
  }
  return undefined;
}

/** Only for who holds the lease now: nobody's window outlives what he was promised. */
function leaseProblem(
  { leases }: WindowCallParts,
  { lease, leaseEpoch }: RangeRequest,
  client: number,
): Refused | undefined {
  return lease === 0 ? undefined : leases.refuseWindow(lease, leaseEpoch, client);
}

async function revoke(
  { windows, revocation }: WindowCallParts,
  { window, epoch }: Request<typeof MessageType.RevokeWindow>,
  client: number,
): Promise<Reply<typeof MessageType.RevokeWindow>> {
  const isOpen = epoch !== 0 && windows.factsOf(window) !== undefined;
  const isIt = isOpen && windows.epochOf(window) === epoch;
  if (isIt && !windows.mayRevoke(window, client)) {
    return refused(Status.Denied, 'it is revoked by who opened it, or what it was cut from');
  }
  if (isIt) windows.closeFamily(window);
  if (!(await revocation.settled())) return NOT_SETTLED;
  return isIt ? done : refused(Status.Stale, 'there is no such window');
}
