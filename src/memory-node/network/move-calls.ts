/**
 * The calls that move regions between nodes, and what calls about a region do while it moves: they
 * wait for the end of a pause, and are told where to go when the region has gone.
 */

import { regionKey } from '../../base/region-key.js';
import { Status } from '../../base/status.js';
import type { ClientSession } from '../../fabric/serve.js';
import { MOVES_TOLD_MAX, REGION_BYTES } from '../../wire/limits.js';
import { MessageType, type Refused } from '../../wire/messages.js';
import type { Moves } from '../moves/moves.js';
import type { Refusal } from '../slow/allocations.js';
import type { CallServer } from './call-server.js';

const done = { status: Status.Ok } as const;

const answer = (refusal: Refusal | undefined): typeof done | Refused => refusal ?? done;

export function regionOf(address: number): number {
  return Math.floor(address / REGION_BYTES);
}

const MOVED: Refused = { status: Status.Moved, reason: 'another memory node holds the region' };
const IN_DOUBT: Refused = {
  status: Status.Unavailable,
  reason: 'the region is being handed over to another node, which does not answer',
};

/** Does the work of a call about a region when that is held here and nobody pauses it. */
export function withinHeld(moves: Moves) {
  return async <T extends { readonly status: Status }>(
    space: number,
    region: number,
    work: () => T | Promise<T>,
  ): Promise<T | Refused> => {
    if (moves.isPaused(space, region)) await moves.whenGoingOn(space, region);
    if (moves.isPaused(space, region)) return IN_DOUBT;
    // Its pages may still be here, until it is durable that they are another node's.
    if (moves.isGone(space, region)) return MOVED;
    const reply = await work();
    const isElsewhere = reply.status === Status.NotFound && moves.isGone(space, region);
    return isElsewhere ? MOVED : reply;
  };
}

/** Of a call that may be from before the region left and came back: it is not to be executed. */
export function dismissingLate({ returns }: Moves) {
  return (session: ClientSession, space: number, address: number): Refused | undefined => {
    if (!returns.isFromBefore(session, regionKey(space, regionOf(address)))) return undefined;
    session.dismiss();
    return MOVED;
  };
}

export function serveMoves(server: CallServer, moves: Moves): void {
  server.serve(MessageType.MoveOut, (order) => answer(moves.moveOut(order)));
  server.serve(MessageType.MoveOutForced, (order) => answer(moves.moveOut(order, true)));
  server.serve(MessageType.MoveProgress, (move) => {
    return { status: Status.Ok, ...moves.progress(move) };
  });
  server.serve(MessageType.MovePrepare, (move) => answer(moves.prepare(move)));
  server.serve(MessageType.MoveEntries, async (list) => answer(await moves.list(list)));
  server.serve(MessageType.MoveOpenings, (request) => answer(moves.noteOpenings(request)));
  server.serve(MessageType.MovePages, (piece) => {
    const refusal = moves.put(piece);
    return refusal instanceof Promise ? refusal.then(answer) : answer(refusal);
  });
  server.serve(MessageType.MoveTake, async (move) => answer(await moves.take(move)));
  server.serve(MessageType.MoveCancel, async (move) => {
    return { status: Status.Ok, state: await moves.cancel(move), why: 0, reason: '' };
  });
  server.serve(MessageType.MoveEnd, async (move) => answer(await moves.end(move)));
  server.serve(MessageType.NodeMoves, ({ stops }) => {
    if (stops !== 0) moves.comeToRest();
    return { status: Status.Ok, moves: moves.known().slice(0, MOVES_TOLD_MAX) };
  });
  server.serve(MessageType.WhereIs, (place) => {
    const gone = moves.gonePlace(place);
    if (gone !== undefined) return { status: Status.Ok, ...gone };
    return { status: Status.NotFound, reason: 'nothing is known here of where that is' };
  });
}
