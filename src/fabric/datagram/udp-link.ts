/**
 * A link to a memory node over datagrams: reads, writes and atomics go as parts of datagrams, calls
 * and writes with promised frames over the link's stream. Operations take effect in the order in
 * which they were started where they conflict; others overlap. See docs/internals/datagrams.md.
 */

import { assert } from '../../base/assert.js';
import { Status } from '../../base/status.js';
import type { Runtime } from '../../runtime/runtime.js';
import { messageName, MessageType, type Reply, type Request } from '../../wire/messages.js';
import type { CompletionSink, Link, Window } from '../link.js';
import type { OperationRing } from '../operation-ring.js';
import { QueuedVerbs } from '../ring-verbs.js';
import type { TcpLink } from '../tcp-link.js';
import type { LastCall, TransportWatcher } from '../transport.js';
import {
  createDatagramCounters,
  type DatagramCounters,
  type DatagramLinkState,
} from './datagram-counters.js';
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
}

/** Calls that no operation on memory can meet: all others have their order among these. */
const UNORDERED: ReadonlySet<number> = new Set([
  MessageType.OpenWindow,
  MessageType.OpenRange,
  MessageType.Alloc,
  MessageType.ConfirmAlloc,
  MessageType.Inspect,
  MessageType.Counters,
  MessageType.MeasureStations,
  MessageType.PingSlowPath,
  MessageType.NodeRegions,
  MessageType.RenewLease,
  MessageType.InspectLease,
]);

export class UdpLink extends QueuedVerbs implements Link, TransportWatcher {
  readonly counters: DatagramCounters;
  readonly #runtime: Runtime;
  readonly #link: TcpLink;
  readonly #sender: DatagramSender;
  readonly #queue: UdpQueue;

  /** `open({ runtime, link: endpoint.link(address, memoryId), address: 'udp://...' })` */
  static open(options: UdpLinkOptions): UdpLink {
    return new UdpLink(options);
  }

  private constructor({ runtime, link, address, counters }: UdpLinkOptions) {
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
  }

  /** For metrics. */
  get state(): DatagramLinkState {
    return this.#sender.state;
  }

  /** Resolves when datagrams can be sent, else with the reason why not, for people. */
  begun(): Promise<string | undefined> {
    return this.#sender.begun();
  }

  /** From the transport. */
  changed(): void {
    this.#queue.wake();
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
    if (UNORDERED.has(type) || this.#queue.isEmpty)
      return this.#link.call(type, request, timeoutMs);
    const deadline = this.#runtime.clock.now() + timeoutMs;
    return new Promise((resolve) => {
      const send = (): void => {
        const leftMs = Math.max(0, deadline - this.#runtime.clock.now());
        resolve(this.#link.call(type, request, leftMs));
      };
      const refuse = (status: Status, why: string): void => {
        resolve({ status, reason: `${messageName(type)}: ${why}` } as Reply<T>);
      };
      const expired = (): void => {
        refuse(Status.Unavailable, 'what was sent before it is in doubt, and the node is silent');
      };
      if (!this.#queue.startCall(type, deadline, { send, expired })) {
        refuse(Status.Busy, 'too much is waiting for this process already');
      }
    });
  }

  openWindow(space: number, timeoutMs: number): Promise<Window | Status> {
    return this.#link.openWindow(space, timeoutMs);
  }

  close(): void {
    this.#queue.close();
    this.#sender.close();
    this.#link.close();
  }
}
