/** The history as people and programs are shown it: page by page, by sequence. */
import type { Metadata } from './metadata/metadata.js';
import type { Details } from './metadata/history.js';
import type { EventRow } from './metadata/schema.js';

export interface EventFacts {
  /** The order of events; the clock on the wall may have been set back. */
  readonly sequence: number;
  /** ISO 8601, UTC. */
  readonly at: string;
  /** One of `EVENT_KINDS`. */
  readonly kind: string;
  readonly node?: string;
  /** The name of a space. */
  readonly space?: string;
  readonly spaceId?: number;
  readonly region?: number;
  readonly epoch?: number;
  readonly details: Details;
}

export interface EventQuery {
  /** Sequences above this one. */
  readonly after: number;
  readonly limit: number;
  /** What happened within so many milliseconds, by the clock of the controller; 0: ever. */
  readonly lastMs: number;
  /** The name of a space; empty: any. */
  readonly space: string;
  /** The id of a node, also of one that a region came from or goes to; empty: any. */
  readonly node: string;
}

export interface EventPage {
  readonly events: EventFacts[];
  /** There are more above the last one. */
  readonly more: boolean;
  /** The sequence of the oldest that is kept, whatever was asked for; 0: none is. */
  readonly oldest: number;
  /** Of the newest. Lower than one that was shown: the database is an older copy. */
  readonly newest: number;
}

export function eventPage({ history }: Metadata, query: EventQuery, wallMs: number): EventPage {
  const sinceMs = query.lastMs === 0 ? -Infinity : wallMs - query.lastMs;
  const events: EventFacts[] = [];
  let oldest = 0;
  let newest = 0;
  let more = false;
  for (const row of history.rows.values()) {
    if (oldest === 0) oldest = row.sequence;
    newest = row.sequence;
    if (more || row.sequence <= query.after) continue;
    if (row.atMs < sinceMs || !isWanted(row, query)) continue;
    if (events.length < query.limit) events.push(eventFacts(row));
    else more = true;
  }
  return { events, more, oldest, newest };
}

function isWanted(row: EventRow, { space, node }: EventQuery): boolean {
  if (space !== '' && row.spaceName !== space) return false;
  if (node === '' || row.node === node) return true;
  const { from, to } = detailsOf(row);
  return from === node || to === node;
}

function eventFacts(row: EventRow): EventFacts {
  const { sequence, atMs, kind, node, space, spaceName, region, epoch } = row;
  return {
    sequence,
    at: new Date(atMs).toISOString(),
    kind,
    ...(node === '' ? {} : { node }),
    ...(space === 0 ? {} : { space: spaceName, spaceId: space }),
    ...(region === 0 ? {} : { region }),
    ...(epoch === 0 ? {} : { epoch }),
    details: detailsOf(row),
  };
}

function detailsOf({ details }: EventRow): Details {
  return JSON.parse(details) as Details;
}
