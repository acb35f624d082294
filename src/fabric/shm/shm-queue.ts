/**
 * The queued operations of a `ShmLink`, in the order in which they were started: made in steps of
 * up to 64 in the node's memory, or handed on to the transport as messages.
 *
 *   ring   | in the step, not told | waiting, tail ...     (positions as in operation-ring.ts)
 *          head                    head + inStep
 *
 * A message overtakes nothing, because it is handed on only when all before it have been done or
 * handed on; a step overtakes nothing, because it is made only while the transport is settled.
 * Where only messages stand in the way operations are held back for a moment, so that a pipeline
 * does not stay with messages for good.
 */

import { type Outcome, Status } from '../../base/status.js';
import type { Timer } from '../../runtime/clock.js';
import type { Runtime } from '../../runtime/runtime.js';
import { QUEUE_MAX } from '../../wire/limits.js';
import { isCallType, MessageType } from '../../wire/messages.js';
import type { CompletionSink } from '../link.js';
import { OperationRing } from '../operation-ring.js';
import { fabricFaults } from '../planted.js';
import type { Transport } from '../transport.js';
import { changesBytes, outcomeOf } from '../verbs.js';
import type { OneSided } from './one-sided.js';
import { REASON_ELSEWHERE, type ShmCounters } from './shm-counters.js';
import { Elsewhere, STEP_BYTES_MAX, STEP_OPERATIONS_MAX, SURE } from './step.js';
import { ThreadSteps } from './thread-steps.js';

/** How long operations are held back for messages that are under way. */
const HOLD_MS = 2;
/** So long the ring is emptied without a look at timers and at what arrives. */
const TURN_MS = 5;

/** Then others have their turn. */
const STEPS_PER_PUMP = 16;

/** Of a call only its own promise is told. */
const UNHEARD: CompletionSink = { completed: () => undefined };

/** Where operations go that are no steps: a transport, or what chooses one of several ways. */
export type Onward = Pick<
  Transport,
  | 'add'
  | 'ring'
  | 'refuse'
  | 'connection'
  | 'isSettled'
  | 'isEmpty'
  | 'isFenceOwed'
  | 'isBehindMoved'
>;

export interface ShmQueueParts {
  readonly runtime: Runtime;
  readonly onward: Onward;
  readonly counters: ShmCounters;
  /** Something was not done, or not for sure: maybe because the node's process is another one. */
  readonly doubted: () => void;
  /** After a step: what waited for its end can be looked at. */
  readonly stepped: () => void;
}

export class ShmQueue {
  /** Makes the steps; undefined while there is no attachment. */
  steps: OneSided | undefined;
  /** In which ring `start` has just made a place. */
  target: OperationRing;
  /** A step was handed to the runtime and has not ended: in the simulator it may take its time. */
  isUnderWay = false;
  readonly #ring = new OperationRing();
  readonly #runtime: Runtime;
  readonly #onward: Onward;
  readonly #counters: ShmCounters;
  readonly #doubted: () => void;
  readonly #stepped: () => void;
  readonly #thread: ThreadSteps;
  readonly #prefersRun: (() => boolean) | undefined;
  readonly #pump = (): void => this.#pumpNow();
  /** Calls that wait in the ring, by position. */
  readonly #calls = new Map<number, () => void>();
  #isPumpDue = false;
  #stepsLeft = 0;
  /** Of the first ones in the ring: those of the last step that nobody was told about. */
  #inStep = 0;
  /** Operations before this position go as messages. */
  #messagesEnd = 0;
  #hold: Timer | undefined;
  /** Fires when the event loop has come round since `#turnSince`. */
  #round: Timer | undefined;
  #turnSince = 0;

  constructor(parts: ShmQueueParts) {
    this.#runtime = parts.runtime;
    this.#onward = parts.onward;
    this.#counters = parts.counters;
    this.#doubted = parts.doubted;
    this.#stepped = parts.stepped;
    this.#thread = ThreadSteps.of(parts.runtime.memory);
    this.#prefersRun = parts.runtime.memory.prefersRun;
    this.target = this.#ring;
  }

  get isEmpty(): boolean {
    return this.#ring.head === this.#ring.tail;
  }

  /** Of what has not gone onward. */
  awaits(region: number): boolean {
    return this.#ring.awaits(region);
  }

  /** Whether a step may be made for something that is started now. */
  get mayStep(): boolean {
    if (this.#prefersRun !== undefined && this.#prefersRun()) return false;
    return this.isEmpty && !this.#thread.isBusy && this.#isSettled;
  }

  get #isSettled(): boolean {
    return this.#onward.isSettled || fabricFaults.shmBesideTcp;
  }

  // -------------------------------------------------------------------------------- starting

  /** The place of a new operation in `target`; -1: refused, and its sink is told soon. */
  start(type: number, sink: CompletionSink, token: number, deadline: number): number {
    const ring = this.#ring;
    if (ring.waiting >= QUEUE_MAX && !this.#makeRoom()) {
      this.#onward.refuse(sink, token, Status.Busy);
      return -1;
    }
    if (this.isEmpty && this.steps === undefined) {
      this.#counters.byMessage.notAttached++;
      const place = this.#onward.add(type, sink, token, deadline);
      this.target = this.#onward.ring;
      return place;
    }
    this.target = ring;
    const place = ring.push();
    ring.type[place] = type;
    ring.sink[place] = sink;
    ring.token[place] = token;
    ring.deadline[place] = deadline;
    this.#schedule();
    return place;
  }

  /** Has a call wait for its turn; `send` is called then. False: there is no room. */
  startCall(type: number, send: () => void): boolean {
    if (this.#ring.waiting >= QUEUE_MAX && !this.#makeRoom()) return false;
    const position = this.#ring.tail;
    const place = this.#ring.push();
    this.#ring.type[place] = type;
    this.#ring.sink[place] = UNHEARD;
    this.#ring.deadline[place] = Number.POSITIVE_INFINITY;
    this.#calls.set(position, send);
    this.#schedule();
    return true;
  }

  /** Hands everything on, unless a step stands in the way. */
  #makeRoom(): boolean {
    if (this.#inStep > 0) return false;
    while (!this.isEmpty) this.#sendFirst('outstanding');
    return true;
  }

  /** The transport or the attachment may have changed. */
  wake(): void {
    if (!this.isEmpty) this.#schedule();
  }

  #schedule(): void {
    if (this.#isPumpDue) return;
    this.#isPumpDue = true;
    this.#runtime.timers.soon(this.#pump);
  }

  // --------------------------------------------------------------------------------- pumping

  #pumpNow(): void {
    this.#isPumpDue = false;
    if (this.#inStep > 0 || this.isUnderWay) return;
    this.#stepsLeft = STEPS_PER_PUMP;
    while (!this.isEmpty && this.#goOn());
  }

  /** A step, or a message; false: nothing more now, and something will wake us. */
  #goOn(): boolean {
    const ring = this.#ring;
    const type = ring.type[ring.place(ring.head)] as number;
    const { steps } = this;
    if (steps === undefined) return this.#sendFirst('notAttached');
    if (ring.head < this.#messagesEnd || this.#onward.connection === 0) {
      return this.#sendFirst('outstanding');
    }
    if (type > MessageType.FetchAndAdd) return this.#passOn(type);
    if (!this.#isSettled) return this.#holdBack();
    if (this.#onward.isBehindMoved(ring, ring.place(ring.head))) return this.#giveFirstBack();
    if (this.#isTurnOver()) return false;
    // Another link of this thread is in a step, which is short; or others have their turn.
    if (this.#thread.isBusy || this.#stepsLeft-- === 0) {
      this.#schedule();
      return false;
    }
    const count = this.#nextCount();
    if (count === 0) return this.#expireFirst();
    return this.#step(steps, count);
  }

  /** What is no access of memory: a message, or a fence that has nothing to wait for. */
  #passOn(type: number): boolean {
    const { isEmpty, isFenceOwed } = this.#onward;
    const isDone = type === MessageType.Fence && this.#isSettled && isEmpty && !isFenceOwed;
    if (!isDone) return this.#sendFirst('outstanding');
    this.#tellFirst(Status.Ok, 0, 0);
    return true;
  }

  #holdBack(): false {
    if (this.#hold === undefined) {
      this.#counters.holds++;
      this.#hold = this.#runtime.timers.after(HOLD_MS, () => {
        this.#hold = undefined;
        if (!this.#isSettled) this.#messagesEnd = this.#ring.tail;
        this.wake();
      });
    }
    return false;
  }

  /**
   * Whether this has gone on for too long without a look at what arrives: callbacks that run soon
   * come before it, and those who are told start new operations.
   */
  #isTurnOver(): boolean {
    const now = this.#runtime.clock.now();
    if (this.#round !== undefined) return now - this.#turnSince > TURN_MS;
    this.#turnSince = now;
    this.#round = this.#runtime.timers.after(0, () => {
      this.#round = undefined;
      this.wake();
    });
    return false;
  }

  /** How many of the first operations make up the next step; 0: the first one's time is over. */
  #nextCount(): number {
    const ring = this.#ring;
    const now = this.#runtime.clock.now();
    const { isFenceOwed } = this.#onward;
    let bytes = 0;
    let position = ring.head;
    for (; position < ring.tail && position - ring.head < STEP_OPERATIONS_MAX; position++) {
      const place = ring.place(position);
      const isAccess = (ring.type[place] as number) <= MessageType.FetchAndAdd;
      if (!isAccess || (ring.deadline[place] as number) <= now) break;
      if (isFenceOwed && position > ring.head && this.#onward.isBehindMoved(ring, place)) break;
      bytes += ring.bytes[place] as number;
      if (bytes > STEP_BYTES_MAX && position > ring.head) break;
    }
    return position - ring.head;
  }

  #giveFirstBack(): true {
    const ring = this.#ring;
    const place = ring.place(ring.head);
    const token = ring.token[place] as number;
    ring.sink[place]?.moved?.(token, ring, place, 0, ring.bytes[place] as number);
    this.#tellFirst(Status.Moved, 0, 0);
    return true;
  }

  #expireFirst(): boolean {
    this.#tellFirst(Status.Unavailable, 0, 0);
    return true;
  }

  // ---------------------------------------------------------------------------------- a step

  /** False: it will end later. */
  #step(steps: OneSided, count: number): boolean {
    steps.several(this.#ring, this.#ring.head, count);
    this.#inStep = count;
    this.isUnderWay = true;
    this.#thread.isBusy = true;
    this.#runtime.memory.run(steps);
    return !this.isUnderWay;
  }

  /** The step of `several` has ended; called by what made it. */
  ended(steps: OneSided): void {
    this.#thread.isBusy = false;
    this.isUnderWay = false;
    const { done, elsewhere } = steps;
    this.#inStep = done;
    this.#counters.batches++;
    let areSure = true;
    for (let at = 0; at < done; at++) {
      if (steps.certainty[at] !== SURE) areSure = false;
      this.#settleFirst(steps, at);
    }
    if (elsewhere !== Elsewhere.None) this.#turnAwayFirst(elsewhere);
    if (!areSure || elsewhere !== Elsewhere.None) this.#doubted();
    this.#stepped();
    this.wake();
  }

  /** Ends the ring's first operation as the step did it. */
  #settleFirst(steps: OneSided, at: number): void {
    const ring = this.#ring;
    const place = ring.place(ring.head);
    this.#inStep--;
    if (steps.certainty[at] === SURE) {
      this.#counters.operationsInBatches++;
      const isAtomic = (ring.type[place] as number) > MessageType.Write;
      const low = isAtomic ? (steps.oldLow[at] as number) : 0;
      const high = isAtomic ? (steps.oldHigh[at] as number) : 0;
      this.#tellFirst(Status.Ok, low, high);
    } else if (changesBytes(ring.type[place] as number)) {
      this.#counters.outcomesUnknown++;
      this.#tellFirst(Status.OutcomeUnknown, 0, 0);
    } else if (this.#isReadOvertaken()) {
      this.#tellFirst(Status.Unavailable, 0, 0);
    } else {
      this.#sendFirst('unsure');
    }
  }

  /**
   * Whether a change that was started after the ring's first read, and done in the same step, would
   * show when that is repeated.
   */
  #isReadOvertaken(): boolean {
    const ring = this.#ring;
    const read = ring.place(ring.head);
    const start = ring.address[read] as number;
    const end = start + (ring.bytes[read] as number);
    for (let position = ring.head + 1; position <= ring.head + this.#inStep; position++) {
      const place = ring.place(position);
      const at = ring.address[place] as number;
      const isOverlap = at < end && start < at + (ring.bytes[place] as number);
      const isSameSpace = ring.window[place]?.space === ring.window[read]?.space;
      if (isOverlap && isSameSpace && changesBytes(ring.type[place] as number)) return true;
    }
    return false;
  }

  /** The ring's first operation was not done in the step. */
  #turnAwayFirst(why: Elsewhere): void {
    // A first touch happens once. What else turned it away will turn away others: they follow at
    // once, instead of each waiting for the answer to the one before it.
    if (why !== Elsewhere.NoFrame) this.#messagesEnd = this.#ring.tail;
    this.#sendFirst(REASON_ELSEWHERE[why]);
  }

  // ------------------------------------------------------------------------------ leaving it

  #sendFirst(reason: keyof ShmCounters['byMessage']): true {
    const ring = this.#ring;
    const position = ring.head;
    const from = ring.place(position);
    const type = ring.type[from] as number;
    const sink = ring.sink[from];
    this.#dropFirst();
    if (isCallType(type)) {
      const send = this.#calls.get(position);
      this.#calls.delete(position);
      send?.();
    } else if (sink !== undefined) {
      this.#counters.byMessage[reason]++;
      const token = ring.token[from] as number;
      const to = this.#onward.add(type, sink, token, ring.deadline[from] as number);
      if (to >= 0) ring.copyTo(from, this.#onward.ring, to);
    }
    ring.clear(from);
    return true;
  }

  #tellFirst(status: Status, low: number, high: number): void {
    const ring = this.#ring;
    const place = ring.place(ring.head);
    const sink = ring.sink[place];
    const token = ring.token[place] as number;
    const outcome: Outcome = outcomeOf(status);
    this.#dropFirst();
    ring.clear(place);
    sink?.completed(token, status, outcome, low, high);
  }

  #dropFirst(): void {
    this.#ring.head++;
    this.#ring.sent = this.#ring.head;
  }
}
