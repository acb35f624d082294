/**
 * A network that loses datagrams: of those that a socket sends and of those that come to it, each
 * with the same chance, drawn by a seeded generator. What arrives nowhere and what is thrown away
 * on arrival are the same to both ends, so one end is wrapped.
 */

import { Prng } from '../src/base/prng.js';
import {
  type Address,
  type Bytes,
  DATAGRAM_BATCH_MAX,
  type DatagramBatch,
  type DatagramHandler,
  type DatagramSocket,
  type Network,
  PEER_BYTES,
} from '../src/runtime/network.js';
import { NetworkAround } from './network-around.js';

export class LossyNetwork extends NetworkAround {
  /** Of a million datagrams, in each direction; may be changed at any time. */
  lostPerMillion = 0;
  readonly #prng: Prng;

  constructor(inner: Network, seed: number) {
    super(inner);
    this.#prng = new Prng(seed);
  }

  loses(): boolean {
    return this.lostPerMillion > 0 && this.#prng.chance(this.lostPerMillion);
  }

  override async bind(address: Address, handler: DatagramHandler): Promise<DatagramSocket> {
    const socket = new LossySocket(this, handler);
    socket.inner = await this.inner.bind(address, socket);
    return socket;
  }
}

/** Stands before the socket for its user, and before the user for the socket. */
class LossySocket implements DatagramSocket, DatagramHandler {
  inner!: DatagramSocket;
  readonly #network: LossyNetwork;
  readonly #handler: DatagramHandler;
  readonly #kept = {
    input: undefined as unknown as Bytes,
    count: 0,
    starts: new Int32Array(DATAGRAM_BATCH_MAX),
    lengths: new Int32Array(DATAGRAM_BATCH_MAX),
    ages: new Float64Array(DATAGRAM_BATCH_MAX),
    peers: new Uint8Array(DATAGRAM_BATCH_MAX * PEER_BYTES),
  };

  constructor(network: LossyNetwork, handler: DatagramHandler) {
    this.#network = network;
    this.#handler = handler;
  }

  received(_socket: DatagramSocket, batch: DatagramBatch): void {
    if (this.#network.lostPerMillion === 0) {
      this.#handler.received(this, batch);
      return;
    }
    const kept = this.#kept;
    kept.input = batch.input;
    kept.count = 0;
    for (let i = 0; i < batch.count; i += 1) {
      if (this.#network.loses()) continue;
      kept.starts[kept.count] = batch.starts[i] ?? 0;
      kept.lengths[kept.count] = batch.lengths[i] ?? 0;
      kept.ages[kept.count] = batch.ages[i] ?? 0;
      const peer = batch.peers.subarray(i * PEER_BYTES, (i + 1) * PEER_BYTES);
      kept.peers.set(peer, kept.count * PEER_BYTES);
      kept.count += 1;
    }
    if (kept.count > 0) this.#handler.received(this, kept);
  }

  /** What was reserved and is not committed is reserved again. */
  commit(bytes: number, peers: Uint8Array, peerAt: number): void {
    if (!this.#network.loses()) this.inner.commit(bytes, peers, peerAt);
  }

  reserve(bytes: number): number {
    return this.inner.reserve(bytes);
  }

  flush(): void {
    this.inner.flush();
  }

  peerOf(address: Address): Uint8Array {
    return this.inner.peerOf(address);
  }

  expect(answerDue: boolean): void {
    this.inner.expect(answerDue);
  }

  close(): void {
    this.inner.close();
  }

  get address(): Address {
    return this.inner.address;
  }

  get output(): Bytes {
    return this.inner.output;
  }

  get receiveBytes(): number {
    return this.inner.receiveBytes;
  }

  get unsent(): number {
    return this.inner.unsent;
  }

  get dropped(): number {
    return this.inner.dropped;
  }
}
