/** The messages of block devices: docs/internals/block-devices.md. */

import * as limits from './limits.js';
import { placeRule, spaceRule } from './rules.js';
import { list, pad, struct, text, u8, u32, u53 } from './struct.js';

const name = text(limits.NAME_BYTES_MAX);

const deviceRule = ({ device }: { readonly device: number }): string | null =>
  device > 0 ? null : 'it is the number of no device';

/**
 * Repeated with the same number and facts it is Ok. Exists: there is another device of this name,
 * or of this number.
 */
export const CreateDeviceRequest = struct(
  'CreateDeviceRequest',
  24,
  {
    device: u53, // Random, chosen by who makes it: by this number the device is known everywhere.
    bytes: u53,
    slabBytes: u32, // Memory of one slab, with all that belongs to it.
    copies: u8, // Of each slab, as many as are wanted.
    reserved: pad(3),
    name,
    options: text(limits.DEVICE_OPTIONS_BYTES_MAX), // For who serves it; nobody else reads them.
  },
  deviceRule,
);
export const DeviceFacts = struct(
  'DeviceFacts',
  32,
  {
    device: u53,
    bytes: u53,
    sinceMs: u53, // When it was made, by the clock on the wall.
    slabBytes: u32,
    copies: u8,
    reserved: pad(3),
    name,
    options: text(limits.DEVICE_OPTIONS_BYTES_MAX),
  },
  deviceRule,
);
export const OpenDeviceRequest = struct('OpenDeviceRequest', 0, { name });
export const ListDevicesRequest = struct('ListDevicesRequest', 0, {
  after: name, // Names that are greater than this one.
});
export const ListDevicesReply = struct('ListDevicesReply', 8, {
  more: u8, // 1: ask again after the last name.
  reserved: pad(7),
  devices: list(DeviceFacts, limits.DEVICES_PER_MESSAGE_MAX),
});

/** Stale: the device's lease has a later epoch. Of a device that is removed already it is Ok. */
export const RemoveDeviceRequest = struct(
  'RemoveDeviceRequest',
  16,
  {
    device: u53,
    epoch: u32, // Of the device's lease, by its holder.
    reserved: pad(4),
    name,
  },
  deviceRule,
);

/**
 * Another size. Conflict: it has another one than `bytesBefore` by now; or there are sets of slabs
 * that would have to go, and `isForced` is 0. Stale: the device's lease has a later epoch. Busy:
 * what is beyond its end is not all gone yet.
 */
export const ResizeDeviceRequest = struct(
  'ResizeDeviceRequest',
  32,
  {
    device: u53,
    bytesBefore: u53,
    bytes: u53,
    epoch: u32, // Of the device's lease, by its holder, to shrink; to grow anything.
    isForced: u8, // 1: sets of slabs beyond the end go.
    reserved: pad(3),
    name,
  },
  deviceRule,
);

/** Other options. Conflict: they are not what they were, `before`. */
export const SetDeviceOptionsRequest = struct(
  'SetDeviceOptionsRequest',
  8,
  {
    device: u53,
    name,
    before: text(limits.DEVICE_OPTIONS_BYTES_MAX),
    options: text(limits.DEVICE_OPTIONS_BYTES_MAX),
  },
  deviceRule,
);

/**
 * Where one copy of a slab is. That in a file of a host is in space 0, at no node: its number is
 * that of the file.
 */
export const SlabCopy = struct(
  'SlabCopy',
  32,
  {
    copy: u53, // Random: another copy at the same place has another number.
    memoryId: u53, // Of the node's memory.
    address: u53,
    space: u32,
    reserved: pad(4),
    node: name,
  },
  (value) => (value.copy > 0 ? spaceRule(value) : 'it is the number of no copy'),
);
export const SlabSet = struct('SlabSet', 8, {
  slab: u32,
  generation: u32,
  copies: list(SlabCopy, limits.SLAB_MEMBERS_MAX),
});
/** The sets of slabs from one on; a slab that has none was never written. */
export const GetSetsRequest = struct(
  'GetSetsRequest',
  16,
  {
    device: u53,
    from: u32,
    reserved: pad(4),
  },
  deviceRule,
);
export const GetSetsReply = struct('GetSetsReply', 8, {
  next: u32, // `from` of the next request; 0: these were the last.
  reserved: pad(4),
  sets: list(SlabSet, limits.SETS_PER_MESSAGE_MAX),
});
/**
 * From the holder of the device's lease: the set of a slab, after that of `generation - 1`. Stale:
 * the lease has a later epoch. Unavailable, too: no node of the set serves, or a copy is added at
 * one that is drained.
 */
export const PutSetRequest = struct(
  'PutSetRequest',
  24,
  {
    device: u53,
    epoch: u32, // Of the device's lease.
    slab: u32,
    generation: u32, // 1: the slab has none yet.
    reserved: pad(4),
    copies: list(SlabCopy, limits.SLAB_MEMBERS_MAX),
  },
  (value) =>
    deviceRule(value) ?? (value.generation > 0 ? null : 'generations of sets begin with 1'),
);
/** What stands there now. */
export const PutSetReply = struct('PutSetReply', 8, {
  generation: u32, // 0: the slab has no set.
  isTaken: u8, // 1: it is the one that was asked for; 0: another one stands there, unchanged.
  reserved: pad(3),
  copies: list(SlabCopy, limits.SLAB_MEMBERS_MAX),
});

/**
 * A region of the space of slabs at the named node, the same for whoever asks: the first one with a
 * greater number that is not full by what sets say, or a new one. Unavailable: the node does not
 * serve; Denied: it is drained.
 */
export const GrantSlabRegionRequest = struct('GrantSlabRegionRequest', 8, {
  after: u32, // Regions above this one, which had no room; 0: any.
  reserved: pad(4),
  node: name,
});
/** As GrantSlabRegion: with room for a slab of so much memory, by what sets say. */
export const GrantSlabRoomRequest = struct('GrantSlabRoomRequest', 16, {
  after: u32,
  reserved: pad(4),
  bytes: u53,
  node: name,
});
export const GrantSlabRegionReply = struct(
  'GrantSlabRegionReply',
  24,
  {
    memoryId: u53, // Of the node's memory.
    space: u32,
    region: u32,
    epoch: u32,
    pageBytes: u32,
    address: name, // Where the node listens.
  },
  placeRule,
);
