/**
 * What a node makes of the record of a lease: pure rules, the same wherever they are looked at.
 *
 *              raise e           grant e, holder            end e
 *   (unknown) ---------> raised ----------------> held -----------> ended
 *                          ^  |                     |                 |
 *                          |  +------- end e -------|---------------> |
 *                          +--- raise, above e -----+-----------------+
 *
 * An epoch never falls, is granted to one holder at most, and never again after it has ended,
 * however late a message comes. A record that is forgotten leaves its epoch in the floor: no lease
 * that is not known has had a higher one.
 */

import { Status } from '../base/status.js';
import type { LeaseRecord } from '../disk/lease-table.js';

/** The floor stands in the table as the record of this lease, which no lease has. */
export const FLOOR_LEASE = 0;

/** `durationMs` of a record without a holder: 0 can still be granted, this has been used up. */
const ENDED = 1;

export interface Grant {
  readonly lease: number;
  readonly epoch: number;
  readonly holder: number;
  readonly durationMs: number;
}

type Refused = typeof Status.Stale;

/** The record as it must be stored, the known one where nothing changes, or `Stale`. */
export type Ruling = LeaseRecord | Refused;

export function isRefused(ruling: Ruling): ruling is Refused {
  return ruling === Status.Stale;
}

export function raised(
  known: LeaseRecord | undefined,
  floor: number,
  { lease, epoch }: { readonly lease: number; readonly epoch: number },
): Ruling {
  if (known?.epoch === epoch) return known;
  if (epoch <= (known?.epoch ?? floor)) return Status.Stale;
  return { lease, epoch, holder: 0, durationMs: 0 };
}

export function granted(known: LeaseRecord | undefined, grant: Grant): Ruling {
  if (known?.epoch !== grant.epoch) return Status.Stale;
  if (known.holder === grant.holder) return known;
  if (known.holder !== 0 || known.durationMs !== 0) return Status.Stale;
  return { ...known, holder: grant.holder, durationMs: grant.durationMs };
}

/** Also of an epoch that was not granted yet: a grant that is still under way comes too late. */
export function ended(known: LeaseRecord | undefined, epoch: number): Ruling {
  if (known?.epoch !== epoch) return Status.Stale;
  if (known.holder === 0 && known.durationMs !== 0) return known;
  return { ...known, holder: 0, durationMs: ENDED };
}

export function isHeldBy(known: LeaseRecord | undefined, epoch: number, holder: number): boolean {
  return known !== undefined && known.epoch === epoch && known.holder === holder && holder !== 0;
}
