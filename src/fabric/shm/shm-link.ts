/**
 * A link to a memory node of this machine: reads, writes and atomics are done in the node's memory
 * by this thread itself where that is possible, and are messages where it is not.
 *
 *   verb -- at once --> a step of one
 *        `- queued ---> shm-queue.ts: steps of up to 64, or messages
 *
 * Operations take effect in the order in which they were started. A step is made only while no
 * ordered message of this client can be executed any more (`Transport.isSettled`), and everything
 * that is started goes behind the queue, except calls that no operation on memory can meet.
 */

import { assert } from '../../base/assert.js';
import { regionKey } from '../../base/region-key.js';
import { Status } from '../../base/status.js';
import type { Memory } from '../../runtime/memory.js';
import type { Runtime } from '../../runtime/runtime.js';
import { PIECE_BYTES_MAX } from '../../wire/limits.js';
import { MessageType, messageName, type Reply, type Request } from '../../wire/messages.js';
import type { DatagramLinkState } from '../datagram/datagram-counters.js';
import type { FallOver } from '../fall-over/fall-over.js';
import { type CompletionSink, type Link, NOT_NOW, type Together, type Window } from '../link.js';
import type { OperationRing } from '../operation-ring.js';
import { RingVerbs } from '../ring-verbs.js';
import type { TcpLink } from '../tcp-link.js';
import type { LastCall, TransportWatcher } from '../transport.js';
import { isUnordered } from '../verbs.js';
import { Attaching } from './attaching.js';
import { OneSided } from './one-sided.js';
import { createShmCounters, type ShmCounters } from './shm-counters.js';
import { ShmQueue } from './shm-queue.js';
import { ShmTogether } from './shm-together.js';
import { SURE } from './step.js';

export interface ShmLinkOptions {
  readonly runtime: Runtime;
  /** To the same node; nobody else uses it from here on, and it is closed with this link. */
  readonly link: TcpLink;
  /** Takes what is no step, where there are several ways over that link; closed with this one. */
  readonly fallOver?: FallOver;
  /** Shared by several links, for metrics. */
  readonly counters?: ShmCounters;
}

export interface ShmLinkState {
  readonly isAttached: boolean;
  /** Which way operations go that are started now. */
  readonly way?: 'memory' | 'stream' | 'datagrams';
  /** Once they were tried. */
  readonly datagrams?: DatagramLinkState;
}

export class ShmLink extends RingVerbs implements Link, TransportWatcher {
  resultLow = 0;
  resultHigh = 0;
  readonly counters: ShmCounters;
  readonly together: Together;
  readonly #link: TcpLink;
  readonly #fallOver: FallOver | undefined;
  readonly #runtime: Runtime;
  readonly #memory: Memory;
  readonly #attaching: Attaching;
  readonly #queue: ShmQueue;
  /** For steps of one; undefined while not attached. */
  #alone: OneSided | undefined;
  /** The transport changed in the middle of a step. */
  #hasChanged = false;
  readonly #watchers = new Set<() => void>();

  /**
   * In place of the link itself: `open({ runtime, link: endpoint.link(address, memoryId) })`. It
   * attaches by itself as soon as there is a connection, which the first operation makes, and until
   * then, or where the node refuses, it is as good as its link. Who insists on memory without the
   * node calls `attach`.
   */
  static open(options: ShmLinkOptions): ShmLink {
    return new ShmLink(options);
  }

  private constructor({ runtime, link, fallOver, counters }: ShmLinkOptions) {
    super();
    const { transport } = link;
    this.#runtime = runtime;
    this.#memory = runtime.memory;
    this.#link = link;
    this.#fallOver = fallOver;
    this.counters = counters ?? createShmCounters();
    const changed = (): void => this.#attachmentChanged();
    this.#attaching = new Attaching({ runtime, link, counters: this.counters, changed });
    this.#queue = new ShmQueue({
      runtime,
      onward: fallOver ?? transport,
      counters: this.counters,
      doubted: () => this.#attaching.lookAlive(),
      stepped: () => {
        if (this.#hasChanged) this.changed();
      },
    });
    this.together = new ShmTogether({
      memory: runtime.memory,
      counters: this.counters,
      steps: () => (this.#queue.mayStep ? this.#alone : undefined),
      doubted: () => this.#attaching.lookAlive(),
    });
    const watched = fallOver ?? transport;
    assert(watched.watcher === undefined, 'a link is wrapped twice');
    watched.watcher = this;
    this.changed();
  }

  /** Connects and attaches; undefined when that is done, else why it cannot be, for people. */
  attach(timeoutMs: number): Promise<string | undefined> {
    return this.#attaching.now(timeoutMs);
  }

  get isAttached(): boolean {
    return this.#alone !== undefined;
  }

  /** For metrics. */
  get state(): ShmLinkState {
    const { isAttached } = this;
    if (this.#fallOver === undefined) return { isAttached };
    const { way, datagrams } = this.#fallOver;
    const state = { isAttached, way: isAttached ? ('memory' as const) : way };
    return datagrams === undefined ? state : { ...state, datagrams };
  }

  /** Calls back whenever `isAttached`, or to what, has changed. Returns how to stop it. */
  watch(changed: () => void): () => void {
    this.#watchers.add(changed);
    return () => this.#watchers.delete(changed);
  }

  #attachmentChanged(): void {
    const { attachment } = this.#attaching;
    this.#alone = undefined;
    this.#queue.steps = undefined;
    if (attachment !== undefined) {
      const batch = new OneSided(attachment, this.#memory, () => this.#queue.ended(batch));
      this.#alone = new OneSided(attachment, this.#memory, () => undefined);
      this.#queue.steps = batch;
    }
    this.#queue.wake();
    for (const watcher of this.#watchers) watcher();
  }

  /** From the transport. The files of a step that is under way cannot be given up. */
  changed(): void {
    this.#hasChanged = this.#queue.isUnderWay;
    if (this.#hasChanged) return;
    this.#attaching.upkeep();
    this.#queue.wake();
  }

  /** From the transport. */
  lastCall(): LastCall | undefined {
    return this.#queue.isUnderWay ? undefined : this.#attaching.lastCall();
  }

  // --------------------------------------------------------------------------------- at once

  get mayStep(): boolean {
    return this.#alone !== undefined && this.#queue.mayStep;
  }

  readNow(window: Window, address: number, into: Uint8Array, start: number, bytes: number): number {
    assert(bytes <= PIECE_BYTES_MAX && start + bytes <= into.length, 'a read out of bounds');
    const steps = this.#alone;
    if (steps === undefined || !this.#queue.mayStep) return NOT_NOW;
    steps.one(MessageType.Read, window, address, bytes, into, start);
    this.#memory.runNow(steps);
    if (steps.done === 1 && steps.certainty[0] === SURE) return this.#doneAlone();
    this.#attaching.lookAlive();
    return NOT_NOW;
  }

  writeNow(
    window: Window,
    address: number,
    from: Uint8Array,
    start: number,
    bytes: number,
  ): number {
    assert(bytes <= PIECE_BYTES_MAX && start + bytes <= from.length, 'a write out of bounds');
    const steps = this.#alone;
    if (steps === undefined || !this.#queue.mayStep) return NOT_NOW;
    steps.one(MessageType.Write, window, address, bytes, from, start);
    this.#memory.runNow(steps);
    if (steps.done === 1 && steps.certainty[0] === SURE) return this.#doneAlone();
    return this.#notDone(steps);
  }

  compareAndSwapNow(
    window: Window,
    address: number,
    expectedLow: number,
    expectedHigh: number,
    desiredLow: number,
    desiredHigh: number,
  ): number {
    const steps = this.#alone;
    if (steps === undefined || !this.#queue.mayStep) return NOT_NOW;
    const type = MessageType.CompareAndSwap;
    steps.oneAtomic(type, window, address, expectedLow, expectedHigh, desiredLow, desiredHigh);
    return this.#atomicNow(steps);
  }

  fetchAndAddNow(window: Window, address: number, deltaLow: number, deltaHigh: number): number {
    const steps = this.#alone;
    if (steps === undefined || !this.#queue.mayStep) return NOT_NOW;
    steps.oneAtomic(MessageType.FetchAndAdd, window, address, deltaLow, deltaHigh, 0, 0);
    return this.#atomicNow(steps);
  }

  #atomicNow(steps: OneSided): number {
    this.#memory.runNow(steps);
    if (steps.done === 0 || steps.certainty[0] !== SURE) return this.#notDone(steps);
    this.resultLow = steps.oldLow[0] as number;
    this.resultHigh = steps.oldHigh[0] as number;
    return this.#doneAlone();
  }

  #doneAlone(): number {
    this.counters.operationsAlone++;
    return Status.Ok;
  }

  /** Of a write or an atomic. */
  #notDone(steps: OneSided): number {
    this.#attaching.lookAlive();
    if (steps.done === 0) return NOT_NOW;
    this.counters.outcomesUnknown++;
    return Status.OutcomeUnknown;
  }

  // ---------------------------------------------------------------------------------- queued

  protected get ring(): OperationRing {
    return this.#queue.target;
  }

  protected start(type: number, sink: CompletionSink, token: number, deadline: number): number {
    return this.#queue.start(type, sink, token, deadline);
  }

  call<T extends MessageType>(type: T, request: Request<T>, timeoutMs: number): Promise<Reply<T>> {
    const isNext = isUnordered(type) || this.#queue.isEmpty;
    const onward = this.#fallOver ?? this.#link;
    if (isNext) return onward.call(type, request, timeoutMs);
    const deadline = this.#runtime.clock.now() + timeoutMs;
    return new Promise((resolve) => {
      const send = (): void => {
        const leftMs = Math.max(0, deadline - this.#runtime.clock.now());
        resolve(onward.call(type, request, leftMs));
      };
      if (!this.#queue.startCall(type, send)) this.#refuse(type, resolve);
    });
  }

  #refuse<T extends MessageType>(type: T, resolve: (reply: Reply<T>) => void): void {
    const reason = `${messageName(type)}: too much is waiting for this process already`;
    resolve({ status: Status.Busy, reason } as Reply<T>);
  }

  get opening(): number {
    return this.#link.transport.opening;
  }

  awaits(space: number, region: number): boolean {
    const onward = this.#fallOver ?? this.#link;
    return this.#queue.awaits(regionKey(space, region)) || onward.awaits(space, region);
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
    this.#fallOver?.close();
    this.#link.close();
  }
}
