/** Doors of hosts: where block devices, and later stores and files, are served to programs. */

import * as limits from './limits.js';
import { list, pad, struct, text, u32 } from './struct.js';

const name = text(limits.NAME_BYTES_MAX);

/** NBD_TLS: NBD, and nothing without TLS. */
export const DoorKind = { NBD: 1, NBD_TLS: 2 } as const;
export type DoorKind = (typeof DoorKind)[keyof typeof DoorKind];

/** From a host that has joined: it has this door. NotFound: no such host has joined. */
export const NoteDoorRequest = struct('NoteDoorRequest', 8, {
  kind: u32, // Of `DoorKind`.
  reserved: pad(4),
  host: name, // The id under which the host has joined.
  address: name, // Where the door listens: tcp://HOST:PORT.
});
export const DoorFacts = struct('DoorFacts', 8, {
  kind: u32, // Of `DoorKind`.
  reserved: pad(4),
  host: name,
  address: name,
});
/** Of hosts that serve. */
export const ListDoorsReply = struct('ListDoorsReply', 0, {
  doors: list(DoorFacts, limits.NODES_MAX),
});
