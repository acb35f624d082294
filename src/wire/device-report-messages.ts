/** What hosts tell of the devices that they serve, and what the controller tells of all of them. */

import * as limits from './limits.js';
import { list, pad, struct, text, u8, u32, u53 } from './struct.js';

const name = text(limits.NAME_BYTES_MAX);

export const Count = struct('Count', 8, { count: u53 });

/** Counted since the process of the host began, whoever served the device meanwhile. */
export const DeviceReport = struct('DeviceReport', 136, {
  device: u53,
  reads: u53,
  writes: u53,
  bytesRead: u53,
  bytesWritten: u53,
  readErrors: u53,
  writeErrors: u53,
  readUs: u53, // All that is counted in `readTimes` took.
  writeUs: u53,
  copiesMade: u53,
  copiesLost: u53,
  blocksRepaired: u53,
  blocksDamaged: u53,
  epoch: u32, // Of the lease under which it is served; 0: the host waits for one.
  waiting: u32, // Writes that wait for memory, and all that waits for the lease.
  degraded: u32, // Slabs with fewer copies at nodes that are there than are wanted.
  away: u32, // Slabs none of whose nodes is there.
  lost: u32, // Slabs of which no copy is left.
  inDoubt: u32, // Slabs of which a node has a later copy than the rows know.
  hot: u32, // Slabs that are used much.
  inFile: u32, // Slabs that no node has which is there, and a file of a host has.
  readTimes: list(Count, limits.DEVICE_TIME_BUCKETS + 1), // Each bucket alone; see limits.
  writeTimes: list(Count, limits.DEVICE_TIME_BUCKETS + 1),
});

/**
 * From a host that has joined, every few seconds: all that it serves of the devices above `after`,
 * up to `upTo`. NotFound: no such host has joined.
 */
export const NoteDevicesRequest = struct('NoteDevicesRequest', 16, {
  after: u53,
  upTo: u53,
  host: name,
  devices: list(DeviceReport, limits.DEVICE_REPORTS_PER_MESSAGE_MAX),
});

/** Devices with what hosts have told of them, by name. */
export const SeeDevicesRequest = struct('SeeDevicesRequest', 0, {
  after: name, // Names that are greater than this one.
});
export const SeeDevicesReply = struct('SeeDevicesReply', 8, {
  more: u8, // 1: ask again after the last name.
  reserved: pad(7),
  json: text(limits.JSON_BYTES_MAX), // A list, as `memrack device list -o json` prints it.
});
