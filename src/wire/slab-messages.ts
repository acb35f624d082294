/** The messages about copies of slabs at a memory node: docs/internals/block-devices.md. */

import * as limits from './limits.js';
import { placeRule, spaceRule } from './rules.js';
import { list, pad, struct, u8, u32, u53 } from './struct.js';

const copyRule = (value: { readonly copy: number }): string | null =>
  value.copy > 0 ? null : 'it is the number of no copy';

/** All but ListSlabs are for who holds the lease in this epoch: Stale for anybody else. */
const holder = {
  lease: u53, // That of the device.
  leaseEpoch: u32,
} as const;

/**
 * A copy of a slab of a device, made and confirmed at once. Its last 4 KiB are the node's; what is
 * behind its blocks has memory from then on. Idempotent as long as the copy is there: Invalid where
 * it is another slab's, or has another size. Conflict: the space is used otherwise here. As long as
 * there is a copy, plain allocations and windows of its space are Denied at the node.
 */
export const TakeSlabRequest = struct(
  'TakeSlabRequest',
  48,
  {
    space: u32,
    region: u32,
    bytes: u53, // A multiple of the page size.
    device: u53, // Number of the device.
    copy: u53, // Random, of this copy alone.
    ...holder,
    slab: u32, // Which slab of the device.
  },
  (value) => placeRule(value) ?? copyRule(value),
);

/**
 * One copy. OpenSlab: a window over all of it but the last 4 KiB, the same one again where there is
 * one. GiveSlab: closes all windows over it, waits until nobody is at work through them, and frees
 * it. NotAllocated: the copy is not there, whatever else is at the address by now.
 */
export const SlabRequest = struct(
  'SlabRequest',
  40,
  {
    space: u32,
    reserved: pad(4),
    address: u53, // Of the copy, or any of its region.
    copy: u53,
    ...holder,
    reserved2: pad(4),
  },
  (value) => spaceRule(value) ?? copyRule(value),
);

/** The copy is in the set of this generation: the node keeps the highest that it was told. */
export const MarkSlabRequest = struct(
  'MarkSlabRequest',
  40,
  {
    space: u32,
    generation: u32,
    address: u53, // As in SlabRequest.
    copy: u53,
    ...holder,
    reserved: pad(4),
  },
  (value) => spaceRule(value) ?? copyRule(value),
);

/**
 * These bytes of a copy are zeros from then on. Pages in which nothing else is give their memory
 * back; no page takes any. In the order of the writes of its connection, and of no other; while it
 * is under way its client makes no step in shared memory. Invalid where it is not within blocks.
 */
export const TrimSlabRequest = struct(
  'TrimSlabRequest',
  48,
  {
    space: u32,
    bytes: u32, // A multiple of 4 KiB; at most PIECE_BYTES_MAX.
    address: u53, // As in SlabRequest.
    copy: u53,
    from: u53, // Counted from the start of the copy; a multiple of 4 KiB.
    ...holder,
    reserved: pad(4),
  },
  (value) => spaceRule(value) ?? copyRule(value),
);

/** Bytes from a place in the copy on: a page, or all. */
export const TornPage = struct('TornPage', 16, { from: u53, bytes: u53 });
/**
 * Pages of a copy that somebody was at work on over shared memory when he was ended, or cut off:
 * each may have half of what he wrote. Those that are `mended` are forgotten before.
 */
export const TornPagesRequest = struct(
  'TornPagesRequest',
  40,
  {
    space: u32,
    reserved: pad(4),
    address: u53, // As in SlabRequest.
    copy: u53,
    ...holder,
    reserved2: pad(4),
    mended: list(TornPage, limits.TORN_PAGES_MAX), // As they were told.
  },
  (value) => spaceRule(value) ?? copyRule(value),
);
export const TornPagesReply = struct('TornPagesReply', 0, {
  pages: list(TornPage, limits.TORN_PAGES_MAX),
});

/** Copies of slabs that the node has, in the order of their numbers. */
export const ListSlabsRequest = struct('ListSlabsRequest', 16, {
  after: u53, // Those with greater numbers; 0: all.
  device: u53, // Those of this device; 0: of all.
});
export const SlabFacts = struct(
  'SlabFacts',
  56,
  {
    space: u32,
    slab: u32,
    address: u53,
    bytes: u53, // Of its memory, the last 4 KiB included.
    device: u53,
    copy: u53,
    lease: u53,
    leaseEpoch: u32, // In which it was taken.
    generation: u32, // Of the last set in which it is known to be; 0: of none.
  },
  spaceRule,
);
export const ListSlabsReply = struct('ListSlabsReply', 8, {
  more: u53, // `after` of the next request, or 0 when these were the last.
  slabs: list(SlabFacts, limits.SLABS_PER_MESSAGE_MAX),
});

/** From the controller: these copies are nobody's. Ok: none of them is there any more. */
export const DropCopiesRequest = struct('DropCopiesRequest', 0, {
  copies: list(struct('CopyNumber', 8, { copy: u53 }), limits.COPIES_DROPPED_MAX),
});

/** A copy that the node has asked about, or that is to go. */
export const SlabUse = struct(
  'SlabUse',
  24,
  {
    copy: u53,
    activity: u53, // Blocks read and written, for each and second, in parts of 2^-32.
    isGoing: u8, // 1: another one is being made in its place.
    reserved: pad(7),
  },
  copyRule,
);
export const SlabName = struct('SlabName', 8, { copy: u53 }, copyRule);

/**
 * How copies of the holder are used that a node asks about which is short of memory, and what is
 * being done about those that are to go. Stale for anybody else.
 */
export const SlabActivityRequest = struct('SlabActivityRequest', 24, {
  round: u53, // Of the last answer; 0: there was none. Only those of this round count.
  ...holder,
  reserved: pad(4),
  slabs: list(SlabUse, limits.SLABS_ASKED_MAX),
});
export const SlabActivityReply = struct('SlabActivityReply', 16, {
  round: u53, // 0: nothing is asked.
  isShort: u8, // 1: the node has to give memory back.
  reserved: pad(7),
  asked: list(SlabName, limits.SLABS_ASKED_MAX), // To be told in the next call.
  going: list(SlabName, limits.SLABS_ASKED_MAX), // To be taken elsewhere, and given back then.
});
