/** The messages of leases: docs/internals/leases.md. */

import * as limits from './limits.js';
import { list, pad, struct, text, u32, u53 } from './struct.js';

const name = text(limits.NAME_BYTES_MAX);

const leaseRule = (value: { readonly lease: number }): string | null =>
  value.lease > 0 ? null : 'it is the number of no lease';

/**
 * From the controller: the epoch of the lease is at least this one from now on, nobody holds it in
 * an older one, and all windows of older ones are revoked. Idempotent. Stale: it is higher already.
 */
export const RaiseLeaseRequest = struct(
  'RaiseLeaseRequest',
  16,
  { lease: u53, epoch: u32, reserved: pad(4) },
  leaseRule,
);

/** From the controller: who holds the lease in this epoch, which is the highest here. */
export const GrantLeaseRequest = struct(
  'GrantLeaseRequest',
  24,
  {
    lease: u53,
    holder: u53, // The client id of the holder's hello.
    epoch: u32,
    durationMs: u32,
  },
  leaseRule,
);

/** From the holder: it is there. EndLease: it gives the lease up. Stale: it is not its any more. */
export const LeaseEpochRequest = struct(
  'LeaseEpochRequest',
  16,
  { lease: u53, epoch: u32, reserved: pad(4) },
  leaseRule,
);
export const InspectLeaseRequest = struct('InspectLeaseRequest', 8, { lease: u53 }, leaseRule);
/** NotFound: the lease was never granted here. */
export const InspectLeaseReply = struct('InspectLeaseReply', 16, {
  holder: u53, // 0: nobody.
  epoch: u32,
  leftMs: u32, // Until it runs out unless it is renewed; 0: it has.
});

/**
 * To the controller: the lease of this name over a set of nodes, for the caller. Conflict: somebody
 * holds it, for `reason` says how long; Unavailable: a node of the set cannot be reached, so that
 * its epoch cannot be raised.
 */
export const AcquireLeaseRequest = struct('AcquireLeaseRequest', 16, {
  holder: u53, // The client id by which the holder talks to the nodes.
  durationMs: u32,
  reserved: pad(4),
  name,
  nodes: list(struct('LeaseNode', 0, { id: name }), limits.LEASE_NODES_MAX),
});
export const AcquireLeaseReply = struct('AcquireLeaseReply', 16, {
  lease: u53,
  epoch: u32,
  reserved: pad(4),
});
export const ReleaseLeaseRequest = struct('ReleaseLeaseRequest', 16, {
  lease: u53,
  epoch: u32,
  reserved: pad(4),
});
