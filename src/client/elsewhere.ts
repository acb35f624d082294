/** What says that a region may be somewhere else than it was asked for. */

import { Status } from '../base/status.js';

/** Answers that a change of the region's owner, or of the way to it, could explain. */
export function isElsewhere(status: Status): boolean {
  return (
    status === Status.NotFound ||
    status === Status.Moved ||
    status === Status.Unavailable ||
    status === Status.Stale ||
    status === Status.Closed
  );
}
