/** A fence over one link, as a promise: of one client, everything before it is over by then. */

import type { Status } from '../base/status.js';
import type { CompletionSink, Link } from '../fabric/link.js';

/** Requests are executed in order, and those of an earlier connection before it or never. */
export function fenceOver(link: Link, deadline: number): Promise<Status> {
  return new Promise((resolve) => {
    const sink: CompletionSink = { completed: (_token, status) => resolve(status) };
    link.fence(sink, 0, deadline);
  });
}
