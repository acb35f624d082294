/** Calls to memory on a disk: each is answered when what its answer rests upon is durable. */

import type { CallHandler } from '../../fabric/serve.js';
import { type CallType, MessageType } from '../../wire/messages.js';
import type { Journal } from '../durable/journal.js';
import { durableFaults } from '../durable/planted.js';
import type { CallServer } from './call-server.js';

/** What they say does not rest upon the table. */
const AT_ONCE: ReadonlySet<number> = new Set([
  MessageType.Counters,
  MessageType.MeasureStations,
  MessageType.PingSlowPath,
]);

/** Of the planted bug. */
const EARLY: readonly number[] = [MessageType.MoveProgress, MessageType.MoveEnd];

export function answeringDurably(server: CallServer, journal: Journal | undefined): CallServer {
  if (journal === undefined) return server;
  return {
    serve(type, handler) {
      if (isAtOnce(type)) server.serve(type, handler);
      else server.serve(type, waiting(handler, journal));
    },
  };
}

function isAtOnce(type: CallType): boolean {
  const isEarly = durableFaults.givenAwayToldEarly && EARLY.includes(type);
  return isEarly || AT_ONCE.has(type);
}

/** A refusal, too, may rest upon a change that nobody would remember. */
function waiting<T extends CallType>(handler: CallHandler<T>, journal: Journal): CallHandler<T> {
  return (request, session) => {
    const answer = handler(request, session);
    if (!(answer instanceof Promise)) return journal.whenDurable(answer);
    return answer.then((given) => journal.whenDurable(given));
  };
}
