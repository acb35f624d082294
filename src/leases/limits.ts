/** Limits of leases, with their reasons. */

import { assert } from '../base/assert.js';
import { LEASES_MAX } from '../disk/lease-table.js';

/** Shorter ones would run out between two turns of a busy event loop. */
export const LEASE_MS_MIN = 100;
/** How long others may have to wait for a holder that has vanished. */
export const LEASE_MS_MAX = 3_600_000;
export const LEASE_MS_DEFAULT = 10_000;

/** Two renewals may be lost before a lease runs out. */
export const RENEWALS_PER_LEASE = 3;

/** Epochs end here: they travel as 32 bits. */
export const LEASE_EPOCH_END = 2 ** 32 - 1;

/** One place of a node's table is the floor's, see record.ts. */
export const LEASES_PER_NODE_MAX = LEASES_MAX - 1;
/** A record that nobody held for so long is forgotten when its place is needed. */
export const LEASE_KEEP_MS = 60_000;

/** Leases of a rack: so many that the smallest set of nodes, one node, holds them all. */
export const LEASES_PER_RACK_MAX = LEASES_PER_NODE_MAX;

assert(LEASE_MS_MIN < LEASE_MS_DEFAULT && LEASE_MS_DEFAULT < LEASE_MS_MAX);
