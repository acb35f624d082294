/**
 * Where datagrams are received: slots for one batch, shared by all sockets of a network, because a
 * batch is handled within the call.
 *
 * Every slot holds the longest datagram that there is, and they begin a few cache lines further on
 * each time: short datagrams at multiples of 64 KiB would all fall into the same sets of the cache.
 */

import {
  type Bytes,
  DATAGRAM_BATCH_MAX,
  DATAGRAM_BYTES_MAX,
  type DatagramBatch,
  PEER_BYTES,
} from '../network.js';
import { MessageHeaders } from './message-headers.js';
import { viewsOf } from './node-stream.js';
import type { Family } from './socket-address.js';
import { addressOf, AF_INET, AF_INET6, MSG_DONTWAIT, realMs, recvmmsg } from './system.js';

const SLOT_BYTES = 64 * 1024;
/** Three lines: a number without a divisor in common with any number of sets. */
const STAGGER_BYTES = 3 * 64;
const STRIDE_BYTES = SLOT_BYTES + STAGGER_BYTES;

/** The slots as sockets of one family see them: the kernel writes peers of that family's length. */
export class DatagramInput implements DatagramBatch {
  readonly input: Bytes;
  readonly starts: Int32Array;
  readonly lengths = new Int32Array(DATAGRAM_BATCH_MAX);
  readonly ages = new Float64Array(DATAGRAM_BATCH_MAX);
  readonly peers: Uint8Array;
  count = 0;
  readonly #headers: MessageHeaders;
  /** Some were dropped, so the starts are not those of the slots. */
  #isMoved = false;

  constructor(family: Family, input: Bytes) {
    this.input = input;
    this.#headers = new MessageHeaders(family, DATAGRAM_BATCH_MAX, { stamped: true });
    this.peers = this.#headers.peers;
    this.starts = new Int32Array(DATAGRAM_BATCH_MAX);
    const address = addressOf(input.bytes);
    for (let i = 0; i < DATAGRAM_BATCH_MAX; i++) {
      this.#headers.place(i, address + i * STRIDE_BYTES, SLOT_BYTES);
    }
    this.#placeStarts();
  }

  /** Begins a batch with a datagram that somebody else has received, and that came so long ago. */
  begin(bytes: Uint8Array, peer: Uint8Array, ageMs: number): void {
    this.count = 0;
    if (bytes.length > DATAGRAM_BYTES_MAX) return;
    if (this.#isMoved) this.#placeStarts();
    this.input.bytes.set(bytes, this.starts[0]);
    this.peers.set(peer);
    this.lengths[0] = bytes.length;
    this.ages[0] = ageMs;
    this.count = 1;
  }

  /**
   * Receives, behind the first `keep` of the batch, what there is and as many as it can hold. Of
   * what came since a moment ago (`isFresh`) nobody asks when that was.
   */
  receive(fd: number, keep: number, isFresh: boolean): void {
    if (keep === 0 && this.#isMoved) this.#placeStarts();
    const wanted = DATAGRAM_BATCH_MAX - keep;
    // An error is of a datagram that was sent, and no news; the kernel tells each once.
    const came = Math.max(0, recvmmsg(fd, this.#headers.address(keep), wanted, MSG_DONTWAIT, 0));
    this.count = keep + came;
    let isTooLong = false;
    for (let i = keep; i < this.count; i++) {
      const bytes = this.#headers.received(i);
      this.lengths[i] = bytes;
      if (bytes > DATAGRAM_BYTES_MAX) isTooLong = true;
    }
    if (came > 0) this.#takeAges(keep, isFresh);
    if (isTooLong) this.#dropLong();
  }

  #takeAges(from: number, isFresh: boolean): void {
    const now = isFresh ? 0 : realMs();
    for (let i = from; i < this.count; i++) {
      const stamp = isFresh ? 0 : this.#headers.stampMs(i);
      this.ages[i] = stamp === 0 ? 0 : Math.max(0, now - stamp);
      this.#headers.roomForStamp(i);
    }
  }

  #placeStarts(): void {
    for (let i = 0; i < DATAGRAM_BATCH_MAX; i++) this.starts[i] = i * STRIDE_BYTES;
    this.#isMoved = false;
  }

  #dropLong(): void {
    let kept = 0;
    for (let i = 0; i < this.count; i++) {
      const bytes = this.lengths[i] as number;
      if (bytes > DATAGRAM_BYTES_MAX) continue;
      this.lengths[kept] = bytes;
      this.starts[kept] = this.starts[i] as number;
      this.ages[kept] = this.ages[i] as number;
      this.peers.copyWithin(kept * PEER_BYTES, i * PEER_BYTES, (i + 1) * PEER_BYTES);
      kept++;
    }
    this.count = kept;
    this.#isMoved = true;
  }
}

/** Of both families, over the same slots. */
export class DatagramInputs {
  readonly #input = viewsOf(Buffer.allocUnsafeSlow(DATAGRAM_BATCH_MAX * STRIDE_BYTES).buffer);
  readonly #ofFamily: { [F in Family]: DatagramInput } = {
    [AF_INET]: new DatagramInput(AF_INET, this.#input),
    [AF_INET6]: new DatagramInput(AF_INET6, this.#input),
  };

  of(family: Family): DatagramInput {
    return this.#ofFamily[family];
  }
}
