/**
 * A link to a memory node over datagrams: reads, writes and atomics go as parts of datagrams, calls
 * and writes with promised frames over the link's stream. Operations take effect in the order in
 * which they were started where they conflict; others overlap. See docs/internals/datagrams.md.
 */

import { assert } from '../../base/assert.js';
import { regionKey } from '../../base/region-key.js';
import type { Status } from '../../base/status.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { MessageType, Reply, Request } from '../../wire/messages.js';
import { WINDOW_FOR_ALL } from '../../wire/messages.js';
import type { CompletionSink, Link, Window } from '../link.js';
import type { OperationRing } from '../operation-ring.js';
import { QueuedVerbs } from '../ring-verbs.js';
import type { TcpLink } from '../tcp-link.js';
import type { LastCall, TransportWatcher } from '../transport.js';
import { callInTurn } from './call-in-turn.js';
import {
  createDatagramCounters,
  type DatagramCounters,
  type DatagramLinkState,
} from './datagram-counters.js';
import { IdleStream, STREAM_IDLE_MS_DEFAULT } from './idle-stream.js';
import { DatagramSender } from './sender.js';
import { UdpQueue } from './udp-queue.js';

export interface UdpLinkOptions {
  readonly runtime: Runtime;
  /** To the same node; nobody else uses it from here on, and it is closed with this link. */
  readonly link: TcpLink;
  /** Where the node takes datagrams. */
  readonly address: string;
  /** Shared by several links, for metrics. */
  readonly counters?: DatagramCounters;
  /** After so many milliseconds without a call the stream is closed; it is made again for one. */
  readonly idleStreamMs?: number;
}

export class UdpLink extends QueuedVerbs implements Link, TransportWatcher {
  readonly counters: DatagramCounters;
  readonly #runtime: Runtime;
  readonly #link: TcpLink;
  readonly #sender: DatagramSender;
  readonly #queue: UdpQueue;
  readonly #idleStream: IdleStream;

  /** `open({ runtime, link: endpoint.link(address, memoryId), address: 'udp://...' })` */
  static open(options: UdpLinkOptions): UdpLink {
    return new UdpLink(options);
  }

  private constructor({ runtime, link, address, counters, idleStreamMs }: UdpLinkOptions) {
    super();
    const { transport } = link;
    this.#runtime = runtime;
    this.#link = link;
    this.counters = counters ?? createDatagramCounters();
    this.#sender = new DatagramSender({
      runtime,
      address,
      client: link.client,
      memoryId: transport.memoryId,
      counters: this.counters,
      transport,
    });
    this.#queue = new UdpQueue({ runtime, transport, sender: this.#sender });
    assert(transport.watcher === undefined, 'a link is wrapped twice');
    transport.watcher = this;
    const idleMs = idleStreamMs ?? STREAM_IDLE_MS_DEFAULT;
    this.#idleStream = new IdleStream(runtime, transport, idleMs);
    // Any number of clients, and one window at the node.
    transport.windowRights |= WINDOW_FOR_ALL;
  }

  /** For metrics. */
  get state(): DatagramLinkState {
    return this.#sender.state;
  }

  /** Resolves when datagrams can be sent, else with the reason why not, for people. */
  begun(): Promise<string | undefined> {
    return this.#sender.begun();
  }

  /** The longest datagram that its path is known to take, without the headers of IP and UDP. */
  get pathBytes(): number {
    return this.#sender.datagramBytes;
  }

  /** From the transport. */
  changed(): void {
    this.#queue.wake();
    this.#idleStream.changed();
  }

  /** From the transport. */
  lastCall(): LastCall | undefined {
    return undefined;
  }

  protected get ring(): OperationRing {
    return this.#queue.target;
  }

  protected start(type: number, sink: CompletionSink, token: number, deadline: number): number {
    return this.#queue.start(type, sink, token, deadline);
  }

  call<T extends MessageType>(type: T, request: Request<T>, timeoutMs: number): Promise<Reply<T>> {
    const reply = callInTurn(this.#runtime, this.#queue, this.#link, type, request, timeoutMs);
    return this.#idleStream.follow(type, request, reply);
  }

  override reserve(...operation: Parameters<Link['reserve']>): void {
    this.#idleStream.reserved(operation[6] ?? 0);
    super.reserve(...operation);
  }

  override unreserve(...operation: Parameters<Link['unreserve']>): void {
    this.#idleStream.unreserved(operation[3] ?? 0);
    super.unreserve(...operation);
  }

  get opening(): number {
    return this.#link.transport.opening;
  }

  awaits(space: number, region: number): boolean {
    return this.#queue.awaits(regionKey(space, region)) || this.#link.awaits(space, region);
  }

  giveBack(space: number, region: number): void {
    this.#link.giveBack(space, region);
  }

  set onLoss(callback: () => void) {
    this.#link.onLoss = callback;
  }

  openWindow(space: number, timeoutMs: number): Promise<Window | Status> {
    return this.#link.openWindow(space, timeoutMs);
  }

  close(): void {
    this.#idleStream.close();
    this.#queue.close();
    this.#sender.close();
    this.#link.close();
  }
}
