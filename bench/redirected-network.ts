/** A network in which datagrams to one port of this machine go to another address: a proxy's. */

import {
  type Address,
  type DatagramHandler,
  type DatagramSocket,
  type Listener,
  type Network,
  type Stream,
  type StreamHandler,
} from '../src/runtime/network.js';

export class RedirectedNetwork implements Network {
  /** From the address that is meant to the one that is sent to. */
  readonly detours = new Map<Address, Address>();
  readonly #inner: Network;

  constructor(inner: Network) {
    this.#inner = inner;
  }

  listen(address: Address, accept: (stream: Stream) => StreamHandler): Promise<Listener> {
    return this.#inner.listen(address, accept);
  }

  connect(address: Address, handler: StreamHandler, timeoutMs: number): Promise<Stream> {
    return this.#inner.connect(address, handler, timeoutMs);
  }

  ownAddress(name: string): Promise<Address | undefined> {
    return this.#inner.ownAddress(name);
  }

  lookUp(address: Address): Promise<readonly Address[]> {
    return this.#inner.lookUp(address);
  }

  async bind(address: Address, handler: DatagramHandler): Promise<DatagramSocket> {
    const socket = await this.#inner.bind(address, handler);
    const peerOf = socket.peerOf.bind(socket);
    socket.peerOf = (to) => peerOf(this.detours.get(to) ?? to);
    return socket;
  }
}
