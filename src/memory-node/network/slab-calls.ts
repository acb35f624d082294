/** The calls about copies of slabs. */

import { Status } from '../../base/status.js';
import { MessageType } from '../../wire/messages.js';
import type { Eviction } from '../eviction.js';
import type { Moves } from '../moves/moves.js';
import type { Refusal } from '../slow/allocations.js';
import type { Slabs } from '../slabs.js';
import type { Windows } from '../translate/windows.js';
import type { CallServer } from './call-server.js';
import { regionOf, withinHeld } from './move-calls.js';

export interface SlabCallParts {
  readonly slabs: Slabs;
  readonly eviction: Eviction;
  readonly moves: Moves;
  readonly windows: Windows;
  readonly pageBytes: number;
}

const done = { status: Status.Ok } as const;

const answer = (refusal: Refusal | undefined): typeof done | Refusal => refusal ?? done;

export function serveSlabs(server: CallServer, parts: SlabCallParts): void {
  const { slabs, eviction, windows, pageBytes } = parts;
  const within = withinHeld(parts.moves);
  server.serve(MessageType.TakeSlab, (request, { client }) =>
    within(request.space, request.region, async () => {
      const address = await slabs.take(request, client);
      return typeof address === 'number' ? { status: Status.Ok, address } : address;
    }),
  );
  server.serve(MessageType.OpenSlab, (request, { client }) =>
    within(request.space, regionOf(request.address), () => {
      const window = slabs.open(request, client);
      if (typeof window !== 'number') return window;
      return { status: Status.Ok, window, epoch: windows.epochOf(window), pageBytes };
    }),
  );
  server.serve(MessageType.MarkSlab, (request, { client }) =>
    within(request.space, regionOf(request.address), () => answer(slabs.mark(request, client))),
  );
  server.serve(MessageType.TornPages, (request, { client }) =>
    within(request.space, regionOf(request.address), () => {
      const torn = slabs.torn(request, client);
      return 'status' in torn ? torn : { status: Status.Ok, pages: torn };
    }),
  );
  // At once: in its order with the writes of this connection. The region does not move.
  server.serve(MessageType.TrimSlab, (request, { client }) => {
    return answer(slabs.trim(request, client));
  });
  server.serve(MessageType.GiveSlab, (request, { client }) =>
    within(request.space, regionOf(request.address), async () => {
      return answer(await slabs.give(request, client));
    }),
  );
  server.serve(MessageType.SlabActivity, (request, { client }) => {
    const told = eviction.told(request, client);
    return 'status' in told ? told : { status: Status.Ok, ...told };
  });
  server.serve(MessageType.DropCopies, async ({ copies }) => {
    return answer(await slabs.drop(copies.map(({ copy }) => copy)));
  });
  server.serve(MessageType.ListSlabs, ({ after, device }) => {
    return { status: Status.Ok, ...slabs.list(after, device) };
  });
}
