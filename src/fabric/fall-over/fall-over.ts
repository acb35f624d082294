/**
 * What a link hands on to its node: over the stream, or as datagrams while the stream fails. See
 * docs/internals/fall-over.md, whose figure and tables this is.
 *
 *   add --stream is well-----------------------------> transport
 *      `--on datagrams, or some are under way--> queue --> datagrams, or transport
 */

import { assert } from '../../base/assert.js';
import { regionKey } from '../../base/region-key.js';
import type { Status } from '../../base/status.js';
import type { Timer } from '../../runtime/clock.js';
import type { Runtime } from '../../runtime/runtime.js';
import { MessageType, type Reply, type Request } from '../../wire/messages.js';
import { callInTurn } from '../datagram/call-in-turn.js';
import {
  createDatagramCounters,
  type DatagramCounters,
  type DatagramLinkState,
} from '../datagram/datagram-counters.js';
import { DatagramSender } from '../datagram/sender.js';
import { UdpQueue } from '../datagram/udp-queue.js';
import type { CompletionSink } from '../link.js';
import { type OperationRing, SENT, WAITING } from '../operation-ring.js';
import { fabricFaults } from '../planted.js';
import { Blockers } from '../reconcile.js';
import type { TcpLink } from '../tcp-link.js';
import type { LastCall, Transport, TransportWatcher } from '../transport.js';
import { changesBytes, isUnordered } from '../verbs.js';
import { StreamDoubts } from './doubts.js';
import { createFallOverCounters, type FallOverCounters } from './fall-over-counters.js';
import { OVERDUE_MS, StreamHealth } from './stream-health.js';

const LOOK_MS = 20;

export interface FallOverParts {
  readonly runtime: Runtime;
  /** Nobody else uses it from here on. */
  readonly link: TcpLink;
  /** Where the node takes datagrams. */
  readonly address: string;
  /** Shared by several links, for metrics. */
  readonly counters?: FallOverCounters;
  readonly datagramCounters?: DatagramCounters;
}

/** Made when the stream fails for the first time. */
interface Datagrams {
  readonly sender: DatagramSender;
  readonly queue: UdpQueue;
  readonly doubts: StreamDoubts;
}

export class FallOver implements TransportWatcher {
  /** As of the transport. */
  watcher: TransportWatcher | undefined;
  /** Which way operations go that are started now. */
  way: 'stream' | 'datagrams' = 'stream';
  readonly counters: FallOverCounters;
  readonly datagramCounters: DatagramCounters;
  readonly #runtime: Runtime;
  readonly #link: TcpLink;
  readonly #transport: Transport;
  readonly #address: string;
  readonly #health: StreamHealth;
  #datagrams: Datagrams | undefined;
  /** Whether the last operation was added to the queue. */
  #isQueued = false;
  /** It is being found out whether datagrams get through. */
  #isAsking = false;
  /** Since when they do not, while they are used; -1: they do. */
  #silentSince = -1;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #tick: Timer | undefined;

  constructor({ runtime, link, address, ...parts }: FallOverParts) {
    this.#runtime = runtime;
    this.#link = link;
    this.#transport = link.transport;
    this.#address = address;
    this.counters = parts.counters ?? createFallOverCounters();
    this.datagramCounters = parts.datagramCounters ?? createDatagramCounters();
    this.#health = new StreamHealth(this.#transport, () => runtime.clock.now());
    assert(this.#transport.watcher === undefined, 'a link is wrapped twice');
    this.#transport.watcher = this;
  }

  // -------------------------------------------------------------------------------- handing on

  /** As of the transport; the place is in `ring` as it is then. */
  add(type: number, sink: CompletionSink, token: number, deadline: number): number {
    const queue = this.#datagrams?.queue;
    this.#isQueued = queue !== undefined && (this.way === 'datagrams' || !queue.isEmpty);
    if (queue === undefined || !this.#isQueued) {
      // Nothing is left there that could stand behind what has come back.
      if (type === MessageType.Fence) queue?.endFence();
      return this.#transport.add(type, sink, token, deadline);
    }
    const place = queue.start(type, sink, token, deadline);
    this.#tickLater();
    return place;
  }

  /** In which `add` has just made a place. */
  get ring(): OperationRing {
    const queue = this.#datagrams?.queue;
    return this.#isQueued && queue !== undefined ? queue.target : this.#transport.ring;
  }

  refuse(sink: CompletionSink, token: number, status: Status): void {
    this.#transport.refuse(sink, token, status);
  }

  call<T extends MessageType>(type: T, request: Request<T>, timeoutMs: number): Promise<Reply<T>> {
    const queue = this.#datagrams?.queue;
    if (queue === undefined) return this.#link.call(type, request, timeoutMs);
    return callInTurn(this.#runtime, queue, this.#link, type, request, timeoutMs);
  }

  /** For metrics: how datagrams stand, once they were tried. */
  get datagrams(): DatagramLinkState | undefined {
    return this.#datagrams?.sender.state;
  }

  get connection(): number {
    return this.#transport.connection;
  }

  get isEmpty(): boolean {
    return this.#transport.isEmpty && this.#datagrams?.queue.isEmpty !== false;
  }

  awaits(space: number, region: number): boolean {
    const key = regionKey(space, region);
    return this.#transport.ring.awaits(key) || this.#datagrams?.queue.awaits(key) === true;
  }

  get isFenceOwed(): boolean {
    return this.#transport.isFenceOwed || this.#datagrams?.queue.isFenceOwed === true;
  }

  isBehindMoved(ring: OperationRing, place: number): boolean {
    if (this.#transport.isBehindMoved(ring, place)) return true;
    const canMove = ring.sink[place]?.moved !== undefined;
    return canMove && this.#datagrams?.queue.hasMoved(ring, place) === true;
  }

  get isSettled(): boolean {
    return this.#transport.isSettled && this.#datagrams?.queue.isEmpty !== false;
  }

  /** With the link, or before it. */
  close(): void {
    this.#tick?.cancel();
    this.#datagrams?.queue.close();
    this.#datagrams?.sender.close();
  }

  // ---------------------------------------------------------------------------------- looking

  /** From the transport. */
  changed(): void {
    if (this.#transport.isClosed) this.close();
    this.#datagrams?.queue.wake();
    const now = this.#runtime.clock.now();
    if (now - this.#lookedAt >= LOOK_MS) this.#look(now);
    this.watcher?.changed();
  }

  /** From the transport. */
  lastCall(): LastCall | undefined {
    return this.watcher?.lastCall();
  }

  #tickLater(): void {
    this.#tick ??= this.#runtime.timers.after(LOOK_MS, () => {
      this.#tick = undefined;
      this.#look(this.#runtime.clock.now());
    });
  }

  #look(now: number): void {
    this.#lookedAt = now;
    // Without a process that was reached there are no windows.
    if (this.#transport.isClosed || this.#transport.incarnation === 0) return;
    if (this.way === 'stream') this.#lookAtStream(now);
    else this.#lookAtDatagrams(now);
    const isResting = this.way === 'stream' && !this.#isAsking;
    if (!isResting || this.#datagrams?.queue.isEmpty === false) this.#tickLater();
    else this.#datagrams?.sender.rest();
  }

  #lookAtStream(now: number): void {
    if (!this.#health.isFailing(now)) {
      this.#isAsking = false;
      return;
    }
    const { sender } = this.#have();
    if (!this.#isAsking) {
      this.#isAsking = true;
      this.counters.asked++;
      sender.ask();
    } else if (sender.isOpen) {
      this.#goToDatagrams(now);
    }
  }

  #lookAtDatagrams(now: number): void {
    this.#health.ping(now);
    if (this.#have().sender.isOpen) this.#silentSince = -1;
    else if (this.#silentSince < 0) this.#silentSince = now;
    const since = this.#silentSince;
    const isSilent = since >= 0 && now - since > OVERDUE_MS;
    if (isSilent && this.#health.hasAnsweredSince(since)) this.#goToStream(now, true);
    else if (this.#health.isWell(now)) this.#goToStream(now, false);
  }

  #have(): Datagrams {
    if (this.#datagrams !== undefined) return this.#datagrams;
    const transport = this.#transport;
    const sender = new DatagramSender({
      runtime: this.#runtime,
      address: this.#address,
      client: this.#link.client,
      memoryId: transport.memoryId,
      counters: this.datagramCounters,
      transport,
    });
    const doubts = new StreamDoubts(transport);
    const queue = new UdpQueue({ runtime: this.#runtime, transport, sender, doubts });
    queue.isByStream = true;
    this.#datagrams = { sender, queue, doubts };
    return this.#datagrams;
  }

  // ------------------------------------------------------------------------------- going over

  #goToDatagrams(now: number): void {
    const { queue, doubts } = this.#have();
    this.#health.left(now);
    this.#isAsking = false;
    this.#silentSince = -1;
    this.way = 'datagrams';
    this.counters.toDatagrams++;
    queue.isByStream = false;
    // Who waits there already may be older or newer than what the transport has.
    if (!queue.isHolding) this.#takeBack(queue);
    doubts.restart();
    queue.wake();
    this.#note('goes on by datagrams');
  }

  #goToStream(now: number, isSilent: boolean): void {
    const { queue } = this.#have();
    this.#health.back(now);
    this.way = 'stream';
    this.counters.toStream++;
    queue.isByStream = true;
    if (isSilent) this.counters.operationsMoved += queue.takeBack();
    queue.wake();
    this.#note('goes on over the stream');
  }

  #note(what: string): void {
    this.#runtime.log.write('info', what, { code: 'WENT_OVER', remote: this.#transport.address });
  }

  /** What the stream cannot have done, or may do in vain, goes to the queue in its order. */
  #takeBack(queue: UdpQueue): void {
    const { ring } = this.#transport;
    const positions: number[] = [];
    const blockers = new Blockers();
    // Newest first, so that a read meets the changes after it.
    for (let position = ring.tail - 1; position >= ring.head; position--) {
      const place = ring.place(position);
      if (mayGo(ring, place, blockers)) positions.push(position);
      else if (ring.state[place] === SENT) blockers.add(ring, place);
    }
    for (const position of positions.reverse()) {
      const place = ring.place(position);
      const sink = ring.sink[place] as CompletionSink;
      const token = ring.token[place] as number;
      const type = ring.type[place] as number;
      const to = queue.start(type, sink, token, ring.deadline[place] as number);
      if (to >= 0) ring.copyTo(place, queue.target, to);
      this.#transport.release(position);
      this.counters.operationsMoved++;
    }
    ring.skipDropped();
  }
}

/** Whether it may be started anew elsewhere. */
function mayGo(ring: OperationRing, place: number, blockers: Blockers): boolean {
  const type = ring.type[place] as number;
  if (ring.sink[place] === undefined || isUnordered(type)) return false;
  if (ring.state[place] === WAITING) return true;
  if (ring.state[place] !== SENT) return false;
  if (changesBytes(type)) return fabricFaults.sentBothWays;
  return type === MessageType.Read && !blockers.overlap(ring, place);
}
