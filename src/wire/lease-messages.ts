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
/** To the controller, from the holder of an epoch. */
export const HeldBeforeReply = struct('HeldBeforeReply', 8, {
  epoch: u32, // The last one before in which another holder may have held the lease.
  reserved: pad(4),
});
export const ReleaseLeaseRequest = struct('ReleaseLeaseRequest', 16, {
  lease: u53,
  epoch: u32,
  reserved: pad(4),
});

/**
 * To the controller, from the holder: the lease is over this node, too, in the same epoch. Asked
 * again it is the same. Stale: it has passed on, or this node knows a later epoch: only a new epoch
 * helps. Unavailable: the node may have heard of it, or not.
 */
export const ExtendLeaseRequest = struct(
  'ExtendLeaseRequest',
  24,
  {
    lease: u53,
    holder: u53, // The client id by which the holder talks to the nodes.
    epoch: u32,
    durationMs: u32,
    node: name,
  },
  leaseRule,
);
export const ExtendLeaseReply = struct('ExtendLeaseReply', 8, {
  memoryId: u53, // Of the node's memory.
  address: name, // Where it listens.
});

/**
 * To the controller, from the holder of a device's lease, who renews it there no more: it is not
 * over this node any more. Busy: the set of a slab has a copy there.
 */
export const ShrinkLeaseRequest = struct(
  'ShrinkLeaseRequest',
  24,
  {
    lease: u53,
    memoryId: u53, // Of the node's memory.
    epoch: u32,
    reserved: pad(4),
    node: name,
  },
  leaseRule,
);
