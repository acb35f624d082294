/**
 * Peers of datagrams: the kernel's `sockaddr_in` and `sockaddr_in6`, with zeros behind.
 *
 *     IPv4, 16 bytes   family u16 | port u16 (big endian) | address 4 | zeros 8
 *     IPv6, 28 bytes   family u16 | port u16 (big endian) | flow u32, 0 | address 16 | scope u32
 *
 * Family and scope are in the machine's byte order, which is little endian where we run.
 */

import { type Address, NetworkError, PEER_BYTES } from '../network.js';
import { parseAddress } from './addresses.js';
import { addressOf, AF_INET, AF_INET6, inetPton, interfaceIndex } from './system.js';

export type Family = typeof AF_INET | typeof AF_INET6;

const HOST_AT = { [AF_INET]: 4, [AF_INET6]: 8 } as const;
const SCOPE_AT = 24;

/** What of a peer the kernel reads and writes. */
export function sockaddrBytes(family: Family): number {
  return family === AF_INET ? 16 : 28;
}

/** Throws a `NetworkError` 'invalid' where the address is no peer for a socket of this family. */
export function peerAt(family: Family, address: Address): Uint8Array {
  const place = parseAddress(address);
  const local = family === AF_INET ? '127.0.0.1' : '::1';
  if (place.kind === 'udp') {
    const host = place.host === 'localhost' ? local : place.host;
    const peer = encodePeer(family, host, place.port);
    if (peer !== undefined) return peer;
  }
  const wanted = family === AF_INET ? 'udp://127.0.0.1:PORT' : 'udp://[::1]:PORT';
  const what = `"${address}" cannot be sent to from this socket`;
  throw new NetworkError('invalid', `${what}; write its host as a number, like ${wanted}`);
}

/** Undefined where the host is no number of this family. */
export function encodePeer(family: Family, host: string, port: number): Uint8Array | undefined {
  const peer = new Uint8Array(PEER_BYTES);
  const [number = '', scope] = host.split('%');
  const address = addressOf(peer) + HOST_AT[family];
  // A socket of IPv6 reaches hosts of IPv4 too, and this is how the kernel tells of them.
  const mapped = family === AF_INET6 && !number.includes(':') ? `::ffff:${number}` : number;
  if (inetPton(family, mapped, address) !== 1) return undefined;
  const view = new DataView(peer.buffer);
  view.setUint16(0, family, true);
  view.setUint16(2, port);
  if (scope === undefined) return peer;
  const index = /^\d+$/.test(scope) ? Number(scope) : interfaceIndex(scope);
  if (family === AF_INET || index === 0) return undefined;
  view.setUint32(SCOPE_AT, index, true);
  return peer;
}

/** The host as a number, and the port; an IPv6 scope is left out. */
export function decodePeer(peers: Uint8Array, at: number): { host: string; port: number } {
  const view = new DataView(peers.buffer, peers.byteOffset + at, PEER_BYTES);
  const port = view.getUint16(2);
  if (view.getUint16(0, true) === AF_INET) {
    return { host: Array.from({ length: 4 }, (_, i) => view.getUint8(4 + i)).join('.'), port };
  }
  const groups = Array.from({ length: 8 }, (_, i) => view.getUint16(8 + 2 * i).toString(16));
  return { host: groups.join(':'), port };
}
