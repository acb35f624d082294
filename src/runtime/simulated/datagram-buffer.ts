/**
 * What a simulated datagram socket has received and not shown: as much as the kernel keeps. It is
 * shown in batches, and what was shown is overwritten, so that whoever keeps it notices.
 */

import type { Prng } from '../../base/prng.js';
import { type Bytes, DATAGRAM_BATCH_MAX, type DatagramBatch, PEER_BYTES } from '../network.js';
import { makeBytes } from './buffers.js';
import { NS_PER_US } from './kernel.js';

export interface Datagram {
  readonly peer: Uint8Array;
  readonly bytes: Uint8Array;
}

const FIRST_BYTES = 4 * 1024;
/** How often a batch is shorter than it could be. */
const SHORT_PER_MILLION = 100_000;
const STALE = 0xdd;
const NS_PER_MS = 1000 * NS_PER_US;

export class DatagramBuffer implements DatagramBatch {
  input: Bytes = makeBytes(0);
  count = 0;
  readonly starts = new Int32Array(DATAGRAM_BATCH_MAX);
  readonly lengths = new Int32Array(DATAGRAM_BATCH_MAX);
  readonly ages = new Float64Array(DATAGRAM_BATCH_MAX);
  readonly peers = new Uint8Array(DATAGRAM_BATCH_MAX * PEER_BYTES);
  readonly limit: number;
  dropped = 0;
  waitingBytes = 0;
  readonly #queue: Datagram[] = [];
  /** When each of the queue came. */
  readonly #cameNs: number[] = [];
  #end = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** The one that is shown next. */
  get first(): Datagram | undefined {
    return this.#queue[0];
  }

  /** One is always taken, however long; what is too much for the others is lost. */
  add(datagram: Datagram, nowNs: number): void {
    const { length } = datagram.bytes;
    if (this.#queue.length > 0 && this.waitingBytes + length > this.limit) {
      this.dropped += 1;
      return;
    }
    this.waitingBytes += length;
    this.#queue.push(datagram);
    this.#cameNs.push(nowNs);
  }

  /** The next batch, valid until `spoil`. */
  take(prng: Prng, nowNs: number): DatagramBatch {
    const queue = this.#queue;
    let count = Math.min(queue.length, DATAGRAM_BATCH_MAX);
    if (count > 1 && prng.chance(SHORT_PER_MILLION)) count = prng.between(1, count - 1);
    this.#makeRoom(count);
    this.#end = 0;
    for (let i = 0; i < count; i++) {
      const { peer, bytes } = queue[i] as Datagram;
      this.input.bytes.set(bytes, this.#end);
      this.peers.set(peer, i * PEER_BYTES);
      this.starts[i] = this.#end;
      this.lengths[i] = bytes.length;
      this.ages[i] = (nowNs - (this.#cameNs[i] as number)) / NS_PER_MS;
      this.waitingBytes -= bytes.length;
      this.#end += (bytes.length + 7) & ~7;
    }
    queue.splice(0, count);
    this.#cameNs.splice(0, count);
    this.count = count;
    return this;
  }

  spoil(): void {
    this.input.bytes.fill(STALE, 0, this.#end);
    this.peers.fill(STALE, 0, this.count * PEER_BYTES);
    this.count = 0;
  }

  #makeRoom(count: number): void {
    let needed = 0;
    for (let i = 0; i < count; i++) needed += ((this.#queue[i]?.bytes.length ?? 0) + 7) & ~7;
    if (needed <= this.input.bytes.length) return;
    let length = FIRST_BYTES;
    while (length < needed) length *= 2;
    this.input = makeBytes(length);
  }
}
