/** A network in which datagrams to one port of this machine go to another address: a proxy's. */

import type { Address, DatagramHandler, DatagramSocket } from '../src/runtime/network.js';
import { NetworkAround } from './network-around.js';

export class RedirectedNetwork extends NetworkAround {
  /** From the address that is meant to the one that is sent to. */
  readonly detours = new Map<Address, Address>();

  override async bind(address: Address, handler: DatagramHandler): Promise<DatagramSocket> {
    const socket = await this.inner.bind(address, handler);
    const peerOf = socket.peerOf.bind(socket);
    socket.peerOf = (to) => peerOf(this.detours.get(to) ?? to);
    return socket;
  }
}
