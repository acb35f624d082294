/**
 * An array of the kernel's `struct mmsghdr`, made once: one datagram each, whose bytes and whose
 * peer have fixed places. The kernel writes into it how long what it received is.
 *
 *     msghdr: name u64 | name bytes u32, 0 | iovec u64 | iovecs u64 | control u64 | its bytes u64 |
 *             flags i32, 0                                                    56 bytes
 *     mmsghdr: msghdr | bytes transferred u32, 0                             64 bytes
 *     iovec: address u64 | bytes u64
 *     control, of what is received: cmsghdr (bytes u64 | level i32 | type i32) | timespec (16)
 *
 * So it is on every 64-bit Linux with little endian numbers.
 */

import { PEER_BYTES } from '../network.js';
import { type Family, sockaddrBytes } from './socket-address.js';
import { addressOf, SO_TIMESTAMPNS, timespecMs } from './system.js';

const HEADER_BYTES = 64;
const HEADER_WORDS = HEADER_BYTES / 4;
const NAME_WORD = 0;
const NAME_BYTES_WORD = 2;
const IOVEC_WORD = 4;
const IOVECS_WORD = 6;
const CONTROL_WORD = 8;
const CONTROL_BYTES_WORD = 10;
const MESSAGE_BYTES_WORD = 14;
const IOVEC_BYTES = 16;
const IOVEC_WORDS = IOVEC_BYTES / 4;
const CONTROL_BYTES = 32;
const CONTROL_WORDS = CONTROL_BYTES / 4;
const STAMP_TYPE_WORD = 3;
const STAMP_WORD = 4;

export class MessageHeaders {
  /** `PEER_BYTES` for each header. */
  readonly peers: Uint8Array;
  /** Where these are in memory, and how many bytes of each the kernel looks at. */
  readonly peerAddress: number;
  readonly peerBytes: number;
  /** Of the first header. */
  readonly #address: number;
  readonly #headers: Int32Array;
  readonly #iovecs: Int32Array;
  readonly #controls: Int32Array;

  /** `stamped`: the kernel may write beside each when it came. */
  constructor(family: Family, count: number, { stamped = false } = {}) {
    this.peers = new Uint8Array(count * PEER_BYTES);
    this.#headers = new Int32Array(count * HEADER_WORDS);
    this.#iovecs = new Int32Array(count * IOVEC_WORDS);
    this.peerBytes = sockaddrBytes(family);
    this.#address = addressOf(bytesOf(this.#headers));
    this.peerAddress = addressOf(this.peers);
    this.#controls = new Int32Array(stamped ? count * CONTROL_WORDS : 0);
    const controls = addressOf(bytesOf(this.#controls));
    const iovecs = addressOf(bytesOf(this.#iovecs));
    for (let i = 0; i < count; i++) {
      const at = i * HEADER_WORDS;
      putAddress(this.#headers, at + NAME_WORD, this.peerAddress + i * PEER_BYTES);
      this.#headers[at + NAME_BYTES_WORD] = this.peerBytes;
      putAddress(this.#headers, at + IOVEC_WORD, iovecs + i * IOVEC_BYTES);
      this.#headers[at + IOVECS_WORD] = 1;
      if (!stamped) continue;
      putAddress(this.#headers, at + CONTROL_WORD, controls + i * CONTROL_BYTES);
      this.#headers[at + CONTROL_BYTES_WORD] = CONTROL_BYTES;
    }
  }

  /** Where header `i` is in memory. */
  address(i: number): number {
    return this.#address + i * HEADER_BYTES;
  }

  /** Where the bytes of datagram `i` are, or go. */
  place(i: number, address: number, bytes: number): void {
    putAddress(this.#iovecs, i * IOVEC_WORDS, address);
    this.#iovecs[i * IOVEC_WORDS + 2] = bytes;
  }

  /** As it was given to `place`. */
  length(i: number): number {
    return this.#iovecs[i * IOVEC_WORDS + 2] as number;
  }

  setPeer(i: number, peers: Uint8Array, peerAt: number): void {
    const at = i * PEER_BYTES;
    for (let k = 0; k < this.peerBytes; k++) this.peers[at + k] = peers[peerAt + k] as number;
  }

  /** How long what was received is. */
  received(i: number): number {
    return this.#headers[i * HEADER_WORDS + MESSAGE_BYTES_WORD] as number;
  }

  /** When it came, by the clock of `realMs`; 0 where that is not known. */
  stampMs(i: number): number {
    const words = this.#headers[i * HEADER_WORDS + CONTROL_BYTES_WORD] as number;
    const at = i * CONTROL_WORDS;
    const isThere =
      words >= CONTROL_BYTES && this.#controls[at + STAMP_TYPE_WORD] === SO_TIMESTAMPNS;
    return isThere ? timespecMs(this.#controls, at + STAMP_WORD) : 0;
  }

  /** The kernel has said how much it wrote: there is room for as much as before again. */
  roomForStamp(i: number): void {
    this.#headers[i * HEADER_WORDS + CONTROL_BYTES_WORD] = CONTROL_BYTES;
  }
}

function bytesOf(words: Int32Array): Uint8Array {
  return new Uint8Array(words.buffer);
}

/** Storing takes the lower 32 bits. */
function putAddress(words: Int32Array, at: number, address: number): void {
  words[at] = address % 2 ** 32;
  words[at + 1] = address / 2 ** 32;
}
