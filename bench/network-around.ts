/** Passes everything on to another network: for those that change one thing about it. */

import type {
  Address,
  DatagramHandler,
  DatagramSocket,
  Listener,
  Network,
  Stream,
  StreamHandler,
} from '../src/runtime/network.js';

export class NetworkAround implements Network {
  protected readonly inner: Network;

  constructor(inner: Network) {
    this.inner = inner;
  }

  listen(address: Address, accept: (stream: Stream) => StreamHandler): Promise<Listener> {
    return this.inner.listen(address, accept);
  }

  connect(address: Address, handler: StreamHandler, timeoutMs: number): Promise<Stream> {
    return this.inner.connect(address, handler, timeoutMs);
  }

  ownAddress(name: string): Promise<Address | undefined> {
    return this.inner.ownAddress(name);
  }

  lookUp(address: Address): Promise<readonly Address[]> {
    return this.inner.lookUp(address);
  }

  bind(address: Address, handler: DatagramHandler): Promise<DatagramSocket> {
    return this.inner.bind(address, handler);
  }
}
