/**
 * Datagrams that are made and sent: one buffer, in which they lie one behind the other, and the
 * headers that `sendmmsg` wants, of which only lengths and peers change.
 *
 * All sockets of a family share it, since each makes datagrams and sends them within one call: with
 * one each some hundred sockets would not fit into a cache, nor some ten thousand into memory.
 */

import { assert } from '../../base/assert.js';
import { type Bytes, DATAGRAM_BYTES_MAX, PEER_BYTES } from '../network.js';
import { MessageHeaders } from './message-headers.js';
import { viewsOf } from './node-stream.js';
import type { Family } from './socket-address.js';
import { addressOf, EAGAIN, EINTR, lastErrno } from './system.js';
import { MSG_DONTWAIT, MSG_NOSIGNAL, sendmmsg, sendto } from './system.js';

/** Four of the longest; what stays in the second level cache. */
const OUTPUT_BYTES = 256 * 1024;
/** More of them than this are sent in several calls. */
const DATAGRAMS_MAX = 64;
const FLAGS = MSG_DONTWAIT | MSG_NOSIGNAL;

/** A socket. */
export interface OutputUser {
  flush(): void;
}

export class DatagramOutput {
  readonly bytes: Bytes;
  readonly #address: number;
  readonly #headers: MessageHeaders;
  #count = 0;
  #tail = 0;
  #reserved = -1;
  #user: OutputUser | undefined;

  constructor(family: Family) {
    this.bytes = viewsOf(Buffer.allocUnsafeSlow(OUTPUT_BYTES).buffer);
    this.#address = addressOf(this.bytes.bytes);
    this.#headers = new MessageHeaders(family, DATAGRAMS_MAX);
  }

  /** Whose datagrams these are from here on; what another one has left here is sent first. */
  take(user: OutputUser): void {
    if (this.#user === user) return;
    this.#user?.flush();
    this.#user = user;
  }

  isOf(user: OutputUser): boolean {
    return this.#user === user;
  }

  get count(): number {
    return this.#count;
  }

  /** Whether another datagram of this length can be made before these are sent. */
  hasRoom(bytes: number): boolean {
    return this.#count < DATAGRAMS_MAX && this.#tail + bytes <= OUTPUT_BYTES;
  }

  reserve(bytes: number): number {
    assert(bytes >= 0 && bytes <= DATAGRAM_BYTES_MAX, 'reserve of a wrong size');
    this.#reserved = bytes;
    return this.#tail;
  }

  commit(bytes: number, peers: Uint8Array, peerAt: number): void {
    assert(bytes >= 0 && bytes <= this.#reserved, 'commit of more than was reserved');
    assert(peerAt + PEER_BYTES <= peers.length, 'a peer is short of bytes');
    this.#reserved = -1;
    this.#headers.place(this.#count, this.#address + this.#tail, bytes);
    this.#headers.setPeer(this.#count, peers, peerAt);
    this.#count++;
    this.#tail += (bytes + 7) & ~7;
  }

  /** Sends all that was committed, or loses it; says how many the kernel did not take. */
  send(fd: number): number {
    const count = this.#count;
    let unsent = 0;
    let at = 0;
    let refused = -1;
    while (at < count) {
      const sent = count === 1 ? this.#sendOne(fd) : this.#sendFrom(fd, at);
      if (sent > 0) {
        at += sent;
        continue;
      }
      const errno = lastErrno();
      if (errno === EINTR) continue;
      // A full buffer concerns all that follow.
      if (errno === EAGAIN) {
        unsent += count - at;
        break;
      }
      // It may be what became of an earlier one, which the kernel tells once and in its place; what
      // is told twice (too long, no way there) is of this one.
      if (refused === at) {
        unsent++;
        at++;
      } else {
        refused = at;
      }
    }
    this.clear();
    return unsent;
  }

  /** How many were sent; 0 or -1 where the first one failed. */
  #sendFrom(fd: number, first: number): number {
    return sendmmsg(fd, this.#headers.address(first), this.#count - first, FLAGS);
  }

  /** A lone one is cheaper without the header. */
  #sendOne(fd: number): number {
    const { peerBytes } = this.#headers;
    const bytes = this.#headers.length(0);
    const peer = this.#headers.peerAddress;
    return sendto(fd, this.#address, bytes, FLAGS, peer, peerBytes) >= 0 ? 1 : -1;
  }

  /** Hands each over that was committed: its bytes, valid during the call, and its peer. */
  forEach(send: (bytes: Uint8Array, peers: Uint8Array, peerAt: number) => void): void {
    for (let i = 0, at = 0; i < this.#count; i++) {
      const length = this.#headers.length(i);
      send(this.bytes.bytes.subarray(at, at + length), this.#headers.peers, i * PEER_BYTES);
      at += (length + 7) & ~7;
    }
    this.clear();
  }

  clear(): void {
    this.#count = 0;
    this.#tail = 0;
  }
}

/** One for each family, made when it is first wanted. */
export class DatagramOutputs {
  readonly #ofFamily = new Map<Family, DatagramOutput>();

  of(family: Family): DatagramOutput {
    const known = this.#ofFamily.get(family);
    if (known !== undefined) return known;
    const output = new DatagramOutput(family);
    this.#ofFamily.set(family, output);
    return output;
  }
}
