/**
 * Datagrams over a socket that libuv owns.
 *
 * While the socket is cold libuv waits for it and receives the first datagram of each batch, with
 * the objects that node:dgram makes for it; what else is there is received by FFI. While it is hot
 * libuv is told not to look, and the poller receives batches by FFI. Sending is always done by
 * FFI, for all that was committed at once.
 *
 * Where a socket shows no descriptor everything goes by the documented interface of node:dgram.
 */

import type { RemoteInfo, Socket } from 'node:dgram';
import { assert } from '../../base/assert.js';
import type { Address, Bytes, DatagramHandler, DatagramSocket } from '../network.js';
import { formatAddress } from './addresses.js';
import type { DatagramInput, DatagramInputs } from './datagram-input.js';
import type { DatagramOutput, DatagramOutputs } from './datagram-output.js';
import { Patience } from './patience.js';
import type { Polled, Poller } from './poller.js';
import { decodePeer, encodePeer, type Family, peerAt } from './socket-address.js';
import { AF_INET, AF_INET6, MEMINFO_DROPS_WORD, MEMINFO_WORDS, setSocketOption } from './system.js';
import { IP_MTU_DISCOVER, IPPROTO_IP, IPPROTO_IPV6, IPV6_MTU_DISCOVER } from './system.js';
import {
  lastStampMs,
  PMTUDISC_PROBE,
  realMs,
  SO_MEMINFO,
  SO_RCVBUFFORCE,
  SO_SNDBUFFORCE,
  SO_TIMESTAMPNS,
  socketOption,
} from './system.js';

/** What of a socket's handle is used. Not documented, so each use is checked. */
interface Handle {
  readonly fd: number;
  recvStart(): number;
  recvStop(): number;
}

/** Beside a delay of the network this is nothing. */
const FRESH_MS = 0.1;
/** What arrives while this thread is busy, or waits for the network; the kernel may allow less. */
const BUFFER_BYTES = 4 * 1024 * 1024;

export interface DatagramWorld {
  readonly poller: Poller;
  readonly inputs: DatagramInputs;
  readonly outputs: DatagramOutputs;
}

export class NodeDatagramSocket implements DatagramSocket, Polled {
  readonly address: Address;
  readonly receiveBytes: number;
  readonly fd: number;
  hot = false;
  pollUntil = 0;
  registered = false;
  unsent = 0;

  readonly #socket: Socket;
  readonly #handle: Handle | undefined;
  readonly #handler: DatagramHandler;
  readonly #poller: Poller;
  readonly #family: Family;
  readonly #input: DatagramInput;
  readonly #output: DatagramOutput;
  #closed = false;
  #answerDue: boolean | undefined;
  readonly #patience = new Patience();
  /** The last sender that libuv told of: mostly the next one is the same. */
  #senderHost = '';
  #senderPort = -1;
  #sender: Uint8Array | undefined;

  /** `socket` is bound. */
  constructor(socket: Socket, handler: DatagramHandler, world: DatagramWorld) {
    this.#socket = socket;
    this.#handle = handleOf(socket);
    this.#handler = handler;
    this.#poller = world.poller;
    this.fd = this.#handle?.fd ?? -1;
    const bound = socket.address();
    this.address = formatAddress('udp', bound.address, bound.port);
    this.#family = bound.family === 'IPv6' ? AF_INET6 : AF_INET;
    this.#input = world.inputs.of(this.#family);
    this.#output = world.outputs.of(this.#family);
    forbidFragments(this.fd, this.#family);
    // From here on the kernel looks at the clock for each; it is asked while the socket is cold.
    this.#stampEach(true);
    this.#stampEach(false);
    this.receiveBytes = enlargeBuffers(socket, this.fd);
    // What a datagram met on its way is no news: they may be lost.
    socket.on('error', () => {});
    socket.on('message', (bytes, sender) => this.#message(bytes, sender));
  }

  get output(): Bytes {
    return this.#output.bytes;
  }

  get dropped(): number {
    if (this.#closed || this.fd < 0) return this.#droppedBefore;
    this.#droppedBefore = socketOption(this.fd, SO_MEMINFO, MEMINFO_WORDS, MEMINFO_DROPS_WORD) ?? 0;
    return this.#droppedBefore;
  }
  /** When it was last asked: after close nobody tells. */
  #droppedBefore = 0;

  reserve(bytes: number): number {
    const output = this.#output;
    output.take(this);
    if (!output.hasRoom(bytes)) this.flush();
    return output.reserve(bytes);
  }

  commit(bytes: number, peers: Uint8Array, peerAt: number): void {
    assert(this.#output.isOf(this), 'another socket has reserved meanwhile');
    this.#output.commit(bytes, peers, peerAt);
  }

  flush(): void {
    const output = this.#output;
    if (!output.isOf(this) || output.count === 0) return;
    if (this.#closed) output.clear();
    else if (this.fd >= 0) this.unsent += output.send(this.fd);
    else output.forEach((bytes, peers, at) => this.#sendByNode(bytes, peers, at));
  }

  peerOf(address: Address): Uint8Array {
    return peerAt(this.#family, address);
  }

  expect(answerDue: boolean): void {
    if (answerDue === this.#answerDue) return;
    this.#answerDue = answerDue;
    if (!answerDue) return;
    const now = performance.now();
    this.#patience.begin(now);
    this.#heat(now);
  }

  close(): void {
    if (this.#closed) return;
    // The last answer, as long as somebody can be asked.
    void this.dropped;
    this.#closed = true;
    this.flush();
    this.#poller.remove(this);
    this.#socket.close();
  }

  /** One look by the poller. */
  poll(): boolean {
    const now = performance.now();
    this.#input.receive(this.fd, 0, now - this.#lookedAt < FRESH_MS);
    this.#lookedAt = now;
    if (this.#input.count === 0) return false;
    this.#arrived();
    return true;
  }
  /** Nothing was there then that is there now. */
  #lookedAt = 0;

  settle(): void {
    if (this.#closed) return;
    if (this.#answerDue !== false) this.#patience.waitedInVain();
    this.#stampEach(false);
    this.#handle?.recvStart();
  }

  crowded(): void {
    // Nothing waits to be written.
  }

  /** libuv has received one. */
  #message(bytes: Uint8Array, { address, port }: RemoteInfo): void {
    if (this.#closed) return;
    if (port !== this.#senderPort || address !== this.#senderHost) {
      this.#sender = encodePeer(this.#family, address, port);
      this.#senderHost = address;
      this.#senderPort = port;
    }
    // The interface that it came through may be gone already.
    if (this.#sender === undefined) return;
    const input = this.#input;
    input.begin(bytes, this.#sender, this.#lastAge());
    // libuv comes back, 32 times before it looks at anything else, while there is more.
    if (this.fd >= 0) {
      this.#stampEach(true);
      input.receive(this.fd, input.count, false);
      this.#lookedAt = performance.now();
    }
    if (input.count > 0) this.#arrived();
    if (!this.hot) this.#stampEach(false);
  }

  /** How long the datagram that libuv has received lay here. */
  #lastAge(): number {
    const stamp = this.fd < 0 ? 0 : lastStampMs(this.fd);
    return stamp === 0 ? 0 : Math.max(0, realMs() - stamp);
  }

  /** libuv does not take the times that are told with datagrams: for it the last one is kept. */
  #stampEach(each: boolean): void {
    if (this.fd >= 0 && !this.#closed) setSocketOption(this.fd, SO_TIMESTAMPNS, each ? 1 : 0);
  }

  /** The input holds a batch. */
  #arrived(): void {
    const now = performance.now();
    this.#patience.arrived(now, this.hot);
    this.#handler.received(this, this.#input);
    if (this.#answerDue !== false) this.#heat(now);
  }

  #heat(now: number): void {
    if (this.#handle === undefined || this.#closed) return;
    this.pollUntil = now + this.#patience.ms;
    const before = this.hot;
    this.#poller.heat(this, now);
    if (!this.hot || before) return;
    this.#handle.recvStop();
    this.#stampEach(true);
  }

  #sendByNode(bytes: Uint8Array, peers: Uint8Array, at: number): void {
    const { host, port } = decodePeer(peers, at);
    // A copy, since the place is used again when this returns.
    const failed = (error: Error | null): void => {
      if (error) this.unsent++;
    };
    try {
      this.#socket.send(Buffer.from(bytes), port, host, failed);
    } catch (error) {
      failed(error as Error);
    }
  }
}

/**
 * So that a datagram which arrives proves something of the path. PROBE, and not DO: with DO the
 * kernel refuses what is longer than it has learned from ICMP messages, which anybody can send, for
 * ten minutes, at worst all that is longer than 552 bytes; and routers that send none make it learn
 * nothing. Whoever sends finds out by itself what arrives. Where the kernel refuses the option, or
 * the descriptor is not known, long datagrams go in fragments.
 */
function forbidFragments(fd: number, family: Family): void {
  if (fd < 0) return;
  setSocketOption(fd, IP_MTU_DISCOVER, PMTUDISC_PROBE, IPPROTO_IP);
  // Such a socket reaches hosts of IPv4 too, and has both options.
  if (family === AF_INET6) {
    setSocketOption(fd, IPV6_MTU_DISCOVER, PMTUDISC_PROBE, IPPROTO_IPV6);
  }
}

/** What the receive buffer really is, as the kernel counts it. */
function enlargeBuffers(socket: Socket, fd: number): number {
  if (fd < 0 || !setSocketOption(fd, SO_RCVBUFFORCE, BUFFER_BYTES)) {
    socket.setRecvBufferSize(BUFFER_BYTES);
  }
  if (fd < 0 || !setSocketOption(fd, SO_SNDBUFFORCE, BUFFER_BYTES)) {
    socket.setSendBufferSize(BUFFER_BYTES);
  }
  return socket.getRecvBufferSize();
}

/** The socket's handle, where it has what we use; otherwise node:dgram does all the work. */
function handleOf(socket: Socket): Handle | undefined {
  for (const symbol of Object.getOwnPropertySymbols(socket)) {
    const state = (socket as unknown as { [symbol: symbol]: unknown })[symbol];
    const handle = (state as { handle?: Partial<Handle> | null } | undefined)?.handle;
    const usable =
      typeof handle?.fd === 'number' &&
      handle.fd >= 0 &&
      typeof handle.recvStart === 'function' &&
      typeof handle.recvStop === 'function';
    if (usable) return handle as Handle;
  }
  return undefined;
}
