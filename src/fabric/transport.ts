/**
 * Carries the operations of one link to its node and their ends back, over one connection at a
 * time, made again when it is lost.
 *
 *   idle --> connecting --hello--> (renewing windows) --> open
 *    ^            \__________________ lost ________________/
 *    |                                 v
 *    +-- nothing is waited for --- backing off --> connecting
 *
 * An open connection may be exchanged for one over another address of the same process (`moveTo`),
 * by the same hello, when nothing is unanswered. After a loss it is made again over the first.
 *
 * Operations stand in one ring, in the order in which they were started. They are gathered and
 * sent once per turn; replies come in the same order. What was sent over a lost connection is
 * settled by `reconcile.ts`.
 */

import { assert } from '../base/assert.js';
import { isStatus, type Outcome, Status } from '../base/status.js';
import type { Timer } from '../runtime/clock.js';
import type { Bytes } from '../runtime/network.js';
import type { Runtime } from '../runtime/runtime.js';
import {
  messageExtra,
  messageLength,
  messageSequence,
  messageStatus,
  messageType,
} from '../wire/frame.js';
import {
  IN_FLIGHT_MAX,
  MESSAGE_HEADER_BYTES,
  PING_MS,
  QUEUE_MAX,
  RECONNECT_MS_MAX,
  RECONNECT_MS_MIN,
  SILENCE_MS,
} from '../wire/limits.js';
import { type CallType, isAccess, isCallType, MessageType, Right } from '../wire/messages.js';
import { WINDOW_FOR_ALL } from '../wire/messages.js';
import { CallSink, type Remote } from './call-sink.js';
import {
  Connection,
  type ConnectionUser,
  type HelloAnswer,
  type Introduction,
} from './connection.js';
import type { FabricCounters } from './counters.js';
import type { CompletionSink, Window } from './link.js';
import { DROPPED, OperationRing, SENT, WAITING } from './operation-ring.js';
import { fabricFaults } from './planted.js';
import { incarnationOf } from './datagram/incarnation.js';
import { readsTooLate, reconcile, type Settled } from './reconcile.js';
import { copyFromStream, SHORT_COPY_BYTES_MAX } from './short-copy.js';
import {
  appendRequest,
  isUnordered,
  outcomeOf,
  requestBodyBytes,
  statusUnanswered,
} from './verbs.js';
import { WINDOW_GONE, WindowRenewal } from './window-renewal.js';

/** What all links of one endpoint share. */
export interface Asking {
  readonly runtime: Runtime;
  readonly counters: FabricCounters;
  readonly client: number;
  /** Where the numbers of each connection begin. */
  readonly firstSequence: number;
  /** Rises with every connection that this endpoint makes, to whomever. */
  nextConnection(): number;
}

/** How often deadlines and silence are looked at while anything is outstanding. */
const TICK_MS = 20;

/** From the loss of a connection that was moved to the next move; doubled if it held no longer. */
const MOVE_AGAIN_MS_MIN = 50;
const MOVE_AGAIN_MS_MAX = 10_000;
const MOVE_HELD_MS = 5_000;

type State = 'idle' | 'backing off' | 'connecting' | 'renewing' | 'open' | 'closed';

/** An operation that never came into the ring. */
interface Refusal {
  readonly sink: CompletionSink;
  readonly token: number;
  readonly status: Status;
}

/** A call that is sent as the last thing before the goodbye; nobody waits for its reply. */
export interface LastCall {
  readonly type: CallType;
  readonly body: Uint8Array;
}

/** Who goes another way to the same node, and must know how things stand on this one. */
export interface TransportWatcher {
  /** The state, or what is outstanding, may have changed. */
  changed(): void;
  /** The link is being closed, over a connection that is open. */
  lastCall(): LastCall | undefined;
}

/** Of a ping only the connection is of interest. */
const UNHEARD: CompletionSink = { completed: () => undefined };

export class Transport implements ConnectionUser, Remote {
  readonly address: string;
  readonly memoryId: number;
  lastLoss = '';
  readonly #asking: Asking;
  readonly #runtime: Runtime;
  readonly #counters: FabricCounters;
  readonly #onClose: () => void;
  readonly ring = new OperationRing();
  /** By space; renewed at a node that no longer knows them. */
  readonly windows = new Map<number, Window>();
  /** What all of them are opened with: of one's own, or those for all. */
  windowRights: number = Right.READ | Right.WRITE;
  readonly #pump = (): void => this.#pumpNow();
  #state: State = 'idle';
  #isPumpDue = false;
  #refused: Refusal[] = [];
  #connection: Connection | undefined;
  /** To another address of the same process, without a hello yet. */
  #candidate: Connection | undefined;
  /** The candidate has become the connection, and its hello is not answered yet. */
  #isMoving = false;
  /** Of a link that was closed meanwhile: the goodbye follows the answer. */
  #leaving: Connection | undefined;
  #lastCall: LastCall | undefined;
  /** Moves in a row that did not hold for long, and until when no other is tried. */
  #movesInVain = 0;
  #movedAt = 0;
  #moveAgainAt = 0;
  #moveLater: Timer | undefined;
  /** The first connection to the process at the other end, without loss since. */
  #reachedOver = 0;
  #renewal: WindowRenewal | undefined;
  #tick: Timer | undefined;
  #retry: Timer | undefined;
  #ping: Timer | undefined;
  /** Of those in the ring's positions: pings that were sent because nothing else was. */
  #pings = 0;
  /** Connections in a row that brought no reply; the wait before the next grows with it. */
  #failures = 0;
  /** Operations that nobody has been told about. */
  #live = 0;
  #inFlight = 0;
  #inFlightMax = IN_FLIGHT_MAX;
  #nextSequence = 1;
  #earliestDeadline = Number.POSITIVE_INFINITY;
  /** When something last arrived, or when waiting for it began. */
  #heardAt = 0;
  #isSilent = false;
  /** The last connection whose hello was answered: what the next hello asks about. */
  #previous = 0;
  #acknowledged = 0;
  #instance = 0;
  /** Of the file of the memory at the other end, as the last hello told it; 0: it is none. */
  opening = 0;
  /** The position behind the last operation with an order (see `verbs.ts`). */
  #orderedEnd = 0;
  /** Regions of which something came back, and the position behind all that stood there then. */
  readonly #away = new Map<number, number>();
  /** Regions of which something has come back since the last fence. */
  readonly #moved = new Set<number>();
  /** What a lost connection has sent may still be executed; a hello ends that. */
  #isInDoubt = false;
  /** Since when there has been no open connection although one is wanted; -1: there is one. */
  #brokenAt = -1;
  /** Connections that were open and were lost. */
  losses = 0;
  watcher: TransportWatcher | undefined;
  /** A connection was lost, or not made, that somebody waits for. */
  onLoss: (() => void) | undefined;

  /** `memoryId`: whose memory is meant, so that no other is reached at the address; 0: anybody. */
  constructor(asking: Asking, address: string, memoryId: number, onClose: () => void) {
    this.address = address;
    this.memoryId = memoryId;
    this.#asking = asking;
    this.#runtime = asking.runtime;
    this.#counters = asking.counters;
    this.#onClose = onClose;
  }

  /** Ends everything: what waits is told `Closed`, soon. */
  close(): void {
    if (this.#state === 'closed') return;
    const last = this.#connection;
    const isLeaving = this.#isMoving;
    if (this.#state === 'open' || isLeaving) this.#lastCall = this.watcher?.lastCall();
    if (this.#state === 'open' && last !== undefined) this.#sayGoodbye(last);
    this.#state = 'closed';
    this.#isMoving = false;
    this.#tick?.cancel();
    this.#retry?.cancel();
    this.#ping?.cancel();
    this.#moveLater?.cancel();
    this.#connection = undefined;
    if (isLeaving && last !== undefined) this.#leaveLater(last);
    else last?.close('the link was closed');
    this.#dropCandidate('the link was closed');
    this.#schedule();
    this.#onClose();
    this.watcher?.changed();
  }

  /** In the middle of a move: else the node would keep for us what nobody gives back. */
  #leaveLater(connection: Connection): void {
    this.#leaving = connection;
    this.#retry = this.#runtime.timers.after(SILENCE_MS, () => {
      connection.close('the link was closed');
    });
  }

  #leave(connection: Connection): void {
    this.#nextSequence = (this.#asking.firstSequence + 1) >>> 0;
    this.#sayGoodbye(connection);
    connection.close('the link was closed');
  }

  #sayGoodbye(connection: Connection): void {
    const { writer } = connection;
    const last = this.#lastCall;
    if (writer !== undefined && last !== undefined && writer.room(last.body.length)) {
      this.#runtime.memory.copy(writer.output.bytes, writer.bodyAt, last.body, 0, last.body.length);
      writer.append(last.type, 0, this.#nextSequence, 0, last.body.length);
      this.#nextSequence = (this.#nextSequence + 1) >>> 0;
    }
    if (writer?.room(0) !== true) return;
    writer.append(MessageType.Goodbye, 0, this.#nextSequence, 0, 0);
    connection.flush();
  }

  // ------------------------------------------------------------------------- another way

  /**
   * Number of the connection over which the process was reached that is connected at the moment; 0:
   * none is. A move to another of its addresses does not change it.
   */
  get connection(): number {
    return this.#state === 'open' || this.#isMoving ? this.#reachedOver : 0;
  }

  /** The address over which everything goes at the moment; '': none. */
  get way(): string {
    return this.#state === 'open' ? (this.#connection?.address ?? '') : '';
  }

  /**
   * The process of the open connection can also be reached at `address`, in a better way: goes on
   * there as soon as nothing is unanswered. Where that fails everything stays as it is.
   */
  moveTo(address: string): void {
    if (this.#state !== 'open' || this.#candidate !== undefined || this.way === address) return;
    const waitMs = this.#moveAgainAt - this.#runtime.clock.now();
    if (waitMs > 0) {
      this.#moveLater?.cancel();
      this.#moveLater = this.#runtime.timers.after(waitMs, () => this.moveTo(address));
      return;
    }
    this.#candidate = new Connection(this.#runtime, this.#counters, this);
    this.#candidate.reach(address);
  }

  /**
   * Says goodbye, so that the node keeps nothing of this client, and lets the connection go; what
   * is started later makes another. False: something is under way, or there is no connection.
   */
  letGo(): boolean {
    const connection = this.#connection;
    const isFree = this.isEmpty && this.#live === 0 && this.#refused.length === 0;
    const isOpen = this.#state === 'open' && this.#candidate === undefined;
    if (connection === undefined || !isOpen) return false;
    if (!isFree && !fabricFaults.streamClosedInCall) return false;
    const areForAll = (this.windowRights & WINDOW_FOR_ALL) !== 0;
    assert(areForAll || this.windows.size === 0, 'its windows would go with the client');
    this.#sayGoodbye(connection);
    this.#ping?.cancel();
    this.#connection = undefined;
    this.#state = 'idle';
    // Nothing is left there that the next hello could ask about.
    this.#previous = 0;
    this.#acknowledged = 0;
    this.#counters.connectionsLetGo++;
    connection.close('it was not needed for a while');
    if (!isFree) this.#takeForUnsent();
    return true;
  }

  /** Of a planted bug: what was sent is sent again, whatever became of it. */
  #takeForUnsent(): void {
    const { ring } = this;
    for (let position = ring.head; position < ring.sent; position++) {
      const place = ring.place(position);
      if (ring.state[place] === SENT) ring.state[place] = WAITING;
    }
    ring.sent = ring.head;
    this.#inFlight = 0;
    this.#schedule();
  }

  /** Operations and calls that were ever started here. */
  get uses(): number {
    return this.ring.tail - this.#pings;
  }

  get isClosed(): boolean {
    return this.#state === 'closed';
  }

  /** Nothing is unanswered, or waits to be sent. */
  get isEmpty(): boolean {
    return this.ring.head === this.ring.tail;
  }

  /** Nobody waits for a connection. */
  get isIdle(): boolean {
    return this.#state === 'idle';
  }

  /** What datagrams call the process that was reached last; 0: none was. */
  get incarnation(): number {
    return this.#instance === 0 ? 0 : incarnationOf(this.#instance);
  }

  /** For how long an answer, or a connection, has been waited for in vain, in milliseconds. */
  overdueMs(now: number): number {
    if (this.#state === 'open') return this.#inFlight === 0 ? 0 : now - this.#heardAt;
    return this.#brokenAt < 0 ? 0 : now - this.#brokenAt;
  }

  /**
   * Somebody else carries on what stands at `position`, which nobody has been told about: its sink
   * is forgotten here. What was sent keeps its place until its reply, or a hello, ends it.
   */
  release(position: number): void {
    const { ring } = this;
    const place = ring.place(position);
    if (ring.state[place] === WAITING) ring.state[place] = DROPPED;
    ring.sink[place] = undefined;
    ring.buffer[place] = undefined;
    this.#live--;
  }

  /**
   * Whether nothing of this client that has an order can be executed at the node from here on: the
   * hello of the open connection has ended all earlier ones, and all that was sent over this one
   * was answered. Replies come in order; so what was told at its deadline is waited for too.
   */
  get isSettled(): boolean {
    return this.#state === 'open' && this.ring.head >= this.#orderedEnd;
  }

  /**
   * The same without asking for a connection: nothing with an order is unanswered, and no lost
   * connection has left anything that may still be executed.
   */
  get isQuiet(): boolean {
    return !this.#isInDoubt && this.ring.head >= this.#orderedEnd;
  }

  // -------------------------------------------------------------------------------- starting

  /**
   * The place of a new operation in `ring`, for the caller to fill in; -1: refused, and its sink
   * is told soon.
   */
  add(type: number, sink: CompletionSink, token: number, deadline: number): number {
    const ring = this.ring;
    if (this.#state === 'closed' || ring.waiting >= QUEUE_MAX || ring.isFull) {
      this.refuse(sink, token, this.#state === 'closed' ? Status.Closed : Status.Busy);
      return -1;
    }
    const place = ring.push();
    if (!isUnordered(type)) this.#orderedEnd = ring.tail;
    if (type === MessageType.Fence) this.#moved.clear();
    ring.type[place] = type;
    ring.sink[place] = sink;
    ring.token[place] = token;
    ring.deadline[place] = deadline;
    if (deadline < this.#earliestDeadline) this.#earliestDeadline = deadline;
    this.#live++;
    this.#schedule();
    return place;
  }

  /** Ends an operation that was never started; its sink is told soon. */
  refuse(sink: CompletionSink, token: number, status: Status): void {
    this.#refused.push({ sink, token, status });
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isPumpDue) return;
    this.#isPumpDue = true;
    this.#runtime.timers.soon(this.#pump);
  }

  /** Once per turn: tells refusals, and sends what waits, as far as it may. */
  #pumpNow(): void {
    this.#isPumpDue = false;
    if (this.#refused.length > 0) this.#tellRefused();
    if (this.#state === 'closed') this.#endAll();
    else if (this.#state === 'open') this.#send();
    else if (this.#state === 'idle' && this.#live > 0) this.#connect();
    if (this.#live > 0) this.#keepTicking();
    this.watcher?.changed();
  }

  #send(): void {
    const connection = this.#connection;
    const writer = connection?.writer;
    if (connection === undefined || writer === undefined) return;
    if (this.#candidate?.isReached === true) {
      // Nothing more goes the old way. The node answers in order: what is held back loses little.
      if (this.#inFlight === 0) this.#move(this.#candidate);
      return;
    }
    const ring = this.ring;
    const { memory } = this.#runtime;
    const wasQuiet = this.#inFlight === 0;
    const first = this.#nextSequence;
    while (ring.sent < ring.tail && this.#inFlight < this.#inFlightMax) {
      const place = ring.place(ring.sent);
      if (ring.state[place] === DROPPED) {
        ring.sent++;
        continue;
      }
      const refusal = this.#isAway(place) ? Status.Moved : refusalOf(ring, place);
      if (refusal !== Status.Ok) {
        ring.state[place] = DROPPED;
        this.#tell(place, refusal, 0, 0);
        continue;
      }
      if (!writer.room(requestBodyBytes(ring, place))) break;
      appendRequest(writer, ring, place, this.#nextSequence, memory);
      ring.sequence[place] = this.#nextSequence;
      ring.state[place] = SENT;
      this.#nextSequence = (this.#nextSequence + 1) >>> 0;
      this.#inFlight++;
      ring.sent++;
    }
    ring.skipDropped();
    this.#counters.operationsSent += (this.#nextSequence - first) | 0;
    if (wasQuiet && this.#inFlight > 0) this.#heardAt = this.#runtime.clock.now();
    connection.flush();
    if (this.#inFlight > 0) connection.expect(true);
  }

  /**
   * Whether the operation that is to be sent stands behind one that came back. By now the node may
   * hold the region again, and would execute it before that one is started anew.
   */
  #isAway(place: number): boolean {
    const { ring } = this;
    if (this.#away.size === 0 || !isAccess(ring.type[place] as number)) return false;
    const end = this.#away.get(ring.regionOf(place)) ?? 0;
    return ring.sent < end;
  }

  #noteMoved(place: number): void {
    const { ring } = this;
    for (const [region, end] of this.#away) if (end <= ring.head) this.#away.delete(region);
    this.#away.set(ring.regionOf(place), ring.tail);
    this.#moved.add(ring.regionOf(place));
  }

  /**
   * The node has told of something that its region has moved, and tells it of all that follows
   * until a fence: for the client what stands behind it is started anew with it.
   */
  get isFenceOwed(): boolean {
    return this.#moved.size > 0;
  }

  /**
   * Whether the operation, which waits for another way, stands behind one that came back over this
   * one. To do it before a fence may be to do it before the other one, which is started anew.
   */
  isBehindMoved(ring: OperationRing, place: number): boolean {
    if (this.#moved.size === 0 || !isAccess(ring.type[place] as number)) return false;
    return ring.sink[place]?.moved !== undefined && this.#moved.has(ring.regionOf(place));
  }

  /**
   * Of a region that another node holds: what cannot have had an effect here comes back. A read
   * that stands before a write which may have been executed here would show that elsewhere.
   */
  giveBack(region: number): void {
    const { ring } = this;
    const late = readsTooLate(ring);
    for (let position = ring.head; position < ring.tail; position++) {
      const place = ring.place(position);
      const type = ring.type[place] as number;
      if (ring.sink[place] === undefined || !isAccess(type)) continue;
      const isWaiting = ring.state[place] === WAITING;
      if (ring.regionOf(place) !== region || !(isWaiting || type === MessageType.Read)) continue;
      if (isWaiting) ring.state[place] = DROPPED;
      this.#tell(place, late.has(position) ? Status.Unavailable : Status.Moved, 0, 0);
    }
    ring.skipDropped();
  }

  // -------------------------------------------------------------------------------- telling

  /** Ends the operation in `place` for its sink; a sent one may still wait for its reply. */
  #tell(place: number, status: Status, low: number, high: number): void {
    const ring = this.ring;
    const sink = ring.sink[place];
    if (sink === undefined) return;
    const token = ring.token[place] as number;
    const { tail } = ring;
    if (status === Status.Moved) sink.moved?.(token, ring, place, 0, ring.bytes[place] as number);
    assert(ring.tail === tail, 'the place may be another one now');
    ring.sink[place] = undefined;
    ring.buffer[place] = undefined;
    this.#live--;
    const outcome: Outcome = outcomeOf(status);
    if (outcome === 'unknown') this.#counters.outcomesUnknown++;
    sink.completed(token, status, outcome, low, high);
  }

  #tellRefused(): void {
    const refused = this.#refused;
    this.#refused = [];
    for (const { sink, token, status } of refused) {
      sink.completed(token, status, 'notApplied', 0, 0);
    }
  }

  /** After `close`: everything ends. */
  #endAll(): void {
    const ring = this.ring;
    while (ring.head < ring.tail) {
      const place = ring.place(ring.head);
      const isUnknown =
        ring.state[place] === SENT &&
        statusUnanswered(ring.type[place] as number) === Status.OutcomeUnknown;
      ring.head++;
      ring.sent = Math.max(ring.sent, ring.head);
      this.#tell(place, isUnknown ? Status.OutcomeUnknown : Status.Closed, 0, 0);
      ring.clear(place);
    }
  }

  // -------------------------------------------------------------------------------- replies

  replied(connection: Connection, input: Bytes, at: number): boolean {
    if (this.#renewal !== undefined) return this.#renewed(connection, input, at);
    const ring = this.ring;
    ring.skipDropped();
    const place = ring.place(ring.head);
    const isDue = ring.head < ring.sent && ring.state[place] === SENT;
    if (!isDue || ring.sequence[place] !== messageSequence(input, at)) {
      return connection.malformed('sequence');
    }
    if (ring.type[place] !== messageType(input, at)) return connection.malformed('message');
    const status = messageStatus(input, at);
    if (!isStatus(status)) return connection.malformed('message');
    const sink = ring.sink[place];
    const isCall = sink instanceof CallSink;
    if (!isCall && !isReplyForm(ring, place, status, input, at))
      return connection.malformed('body');
    this.#failures = 0;
    this.#acknowledged = ring.sequence[place];
    this.#inFlight--;
    const bodyAt = at + MESSAGE_HEADER_BYTES;
    ring.head++;
    if (sink === undefined) {
      ring.clear(place);
    } else if (isCall) {
      this.#live--;
      ring.clear(place);
      if (!sink.answered(status, input, bodyAt, at + messageLength(input, at))) {
        return connection.malformed('body');
      }
    } else {
      this.#answer(place, status, input, at);
    }
    return true;
  }

  /** Tells the sink of a data operation what its reply says. */
  #answer(place: number, status: Status, input: Bytes, at: number): void {
    const ring = this.ring;
    const type = ring.type[place] as number;
    const bodyAt = at + MESSAGE_HEADER_BYTES;
    const buffer = ring.buffer[place];
    let low = 0;
    let high = 0;
    if (status === Status.Ok) {
      if (type === MessageType.Read && !ring.hasBuffer(place)) {
        this.#tell(place, Status.Invalid, 0, 0);
        return;
      }
      if (type === MessageType.Read && buffer !== undefined) {
        const bytes = ring.bytes[place] as number;
        const start = ring.start[place] as number;
        if (bytes <= SHORT_COPY_BYTES_MAX) copyFromStream(buffer, start, input, bodyAt, bytes);
        else this.#runtime.memory.copy(buffer, start, input.bytes, bodyAt, bytes);
      } else if (type === MessageType.Reserve) {
        low = messageExtra(input, at);
      } else if (type === MessageType.CompareAndSwap || type === MessageType.FetchAndAdd) {
        low = (input.words[bodyAt >> 2] as number) >>> 0;
        high = (input.words[(bodyAt >> 2) + 1] as number) >>> 0;
      }
    }
    if (status === Status.Moved) this.#noteMoved(place);
    ring.window[place] = undefined;
    this.#tell(place, status, low, high);
  }

  batchDone(connection: Connection, isGettingOn: boolean): void {
    if (connection !== this.#connection) return;
    if (isGettingOn) this.#heardAt = this.#runtime.clock.now();
    if (this.#inFlight === 0 && this.#renewal === undefined) connection.expect(false);
    if (this.ring.waiting > 0 || this.#candidate !== undefined) this.#schedule();
    this.watcher?.changed();
  }

  drained(connection: Connection): void {
    if (connection === this.#connection) this.#schedule();
  }

  // ------------------------------------------------------------------------------ connecting

  #connect(): void {
    this.#state = 'connecting';
    this.#heardAt = this.#runtime.clock.now();
    if (this.#brokenAt < 0) this.#brokenAt = this.#heardAt;
    const connection = new Connection(this.#runtime, this.#counters, this);
    this.#connection = connection;
    connection.reach(this.address);
    this.#keepTicking();
  }

  reached(connection: Connection): void {
    if (connection === this.#candidate) this.#schedule();
    else if (connection === this.#connection) connection.greet(this.#introduction());
  }

  #introduction(): Introduction {
    return {
      client: this.#asking.client,
      connection: this.#asking.nextConnection(),
      previous: this.#previous,
      acknowledged: this.#acknowledged,
      instance: this.#previous === 0 ? 0 : this.#instance,
      memoryId: this.memoryId,
      sequence: this.#asking.firstSequence,
    };
  }

  /** Like after a loss: the node's own order of connections decides, and nothing is in doubt. */
  #move(candidate: Connection): void {
    const last = this.#connection;
    this.#candidate = undefined;
    this.#connection = candidate;
    this.#isMoving = true;
    this.#movedAt = this.#runtime.clock.now();
    this.#state = 'connecting';
    this.#heardAt = this.#runtime.clock.now();
    last?.close('goes on over another address');
    candidate.greet(this.#introduction());
    this.#keepTicking();
  }

  /** After the loss of a connection that was moved: it may be the way that is at fault. */
  #pauseMoves(): void {
    const now = this.#runtime.clock.now();
    if (now - this.#movedAt > MOVE_HELD_MS) this.#movesInVain = 0;
    const pauseMs = Math.min(MOVE_AGAIN_MS_MAX, MOVE_AGAIN_MS_MIN * 2 ** this.#movesInVain);
    this.#movesInVain++;
    this.#moveAgainAt = now + pauseMs;
  }

  #dropCandidate(reason: string): void {
    const candidate = this.#candidate;
    this.#candidate = undefined;
    candidate?.close(reason);
  }

  greeted(connection: Connection, answer: HelloAnswer): void {
    if (connection === this.#leaving) {
      this.#leave(connection);
      return;
    }
    this.#counters.connectionsMade++;
    this.lastLoss = '';
    const isKnown = answer.recordKnown === 1;
    const isReturn = this.#previous !== 0;
    const isSame = this.#isMoving && answer.instance === this.#instance;
    if (!isSame) this.#reachedOver = connection.number;
    if (this.#isMoving) this.#counters.connectionsMoved++;
    this.#isMoving = false;
    this.#isInDoubt = false;
    const isOther = this.#instance !== 0 && answer.instance !== this.#instance;
    const areWindowsOld = isOther || (isReturn && !isKnown);
    const settled = reconcile(this.ring, { ...answer, isKnown });
    this.#inFlight = 0;
    this.#inFlightMax = Math.min(IN_FLIGHT_MAX, Math.max(1, answer.inFlightMax));
    this.#previous = connection.number;
    // The hello itself was the first request of this connection.
    this.#acknowledged = this.#asking.firstSequence;
    this.#nextSequence = (this.#acknowledged + 1) >>> 0;
    this.#instance = answer.instance;
    this.opening = answer.opening;
    if (areWindowsOld && this.windows.size > 0 && !fabricFaults.windowsNotRenewed) {
      this.#state = 'renewing';
      this.#renewal = new WindowRenewal(
        [...this.windows.values()],
        this.#nextSequence,
        this.windowRights,
      );
      this.#sendRenewals(connection);
    } else {
      this.#open();
    }
    this.#pingIn(PING_MS);
    this.#counters.operationsResent += this.#countResent();
    this.#tellSettled(settled);
    this.#schedule();
  }

  #open(): void {
    this.#state = 'open';
    this.#brokenAt = -1;
  }

  #countResent(): number {
    const ring = this.ring;
    let count = 0;
    for (let position = ring.head; position < ring.tail; position++) {
      const place = ring.place(position);
      if (ring.state[place] === WAITING && ring.sequence[place] !== 0) count++;
    }
    return count;
  }

  #tellSettled(settled: readonly Settled[]): void {
    const ring = this.ring;
    for (const { position, status, result } of settled) {
      if (this.#isClosed()) return;
      const place = ring.place(position);
      const sink = ring.sink[place];
      if (result === undefined || !isStatus(result.status)) {
        this.#tell(place, status, 0, 0);
        continue;
      }
      this.#counters.operationsRecovered++;
      if (!(sink instanceof CallSink)) {
        if (result.status === Status.Moved) this.#noteMoved(place);
        this.#tell(place, result.status, result.low, result.high);
      } else if (result.bodyKept === 0) {
        this.#tell(place, Status.OutcomeUnknown, 0, 0);
      } else {
        this.#live--;
        ring.clear(place);
        sink.recovered(result.status, result.body);
      }
    }
    ring.skipDropped();
  }

  #sendRenewals(connection: Connection): void {
    const { writer } = connection;
    if (writer === undefined || this.#renewal === undefined) return;
    this.#nextSequence = this.#renewal.send(writer);
    connection.flush();
    connection.expect(true);
  }

  #renewed(connection: Connection, input: Bytes, at: number): boolean {
    const renewal = this.#renewal;
    if (renewal === undefined) return false;
    if (!renewal.take(input, at)) return connection.malformed('message');
    this.#acknowledged = messageSequence(input, at);
    this.#counters.windowsRenewed++;
    if (renewal.isDone) {
      this.#renewal = undefined;
      this.#open();
      this.#schedule();
    } else {
      this.#sendRenewals(connection);
    }
    return true;
  }

  /** Who was moved asks at the first address again. */
  rejected(connection: Connection): void {
    if (connection === this.#connection && !this.#isMoving) this.#endWaiting(Status.Unsupported);
  }

  lost(connection: Connection, reason: string): void {
    if (connection === this.#candidate) {
      this.#candidate = undefined;
      this.#counters.movesFailed++;
      this.#runtime.log.write('debug', 'not moved', {
        code: 'CONNECTION_NOT_MOVED',
        remote: connection.address,
        reason,
      });
      this.#schedule();
      return;
    }
    if (connection === this.#leaving) {
      this.#leaving = undefined;
      this.#retry?.cancel();
    }
    if (connection !== this.#connection) return;
    const wasMade = this.#state === 'open' || this.#state === 'renewing' || this.#isMoving;
    if (wasMade) this.#counters.connectionsLost++;
    else this.#counters.connectsFailed++;
    if (wasMade) this.losses++;
    this.#connection = undefined;
    this.#isMoving = false;
    if (this.#inFlight > 0) this.#isInDoubt = true;
    this.#dropCandidate(reason);
    if (connection.address !== this.address) this.#pauseMoves();
    this.#renewal = undefined;
    this.#ping?.cancel();
    this.lastLoss = reason;
    if (this.#live === 0) {
      this.#rest();
    } else {
      if (this.#brokenAt < 0) this.#brokenAt = this.#runtime.clock.now();
      this.#backOff(reason);
      this.onLoss?.();
    }
    this.watcher?.changed();
  }

  #backOff(reason: string): void {
    this.#state = 'backing off';
    const ceiling = Math.min(RECONNECT_MS_MAX, RECONNECT_MS_MIN * 2 ** this.#failures);
    this.#failures++;
    const delay = ceiling * (0.5 + this.#runtime.entropy.fraction() / 2);
    this.#runtime.log.write('debug', 'connection lost', {
      code: 'CONNECTION_LOST',
      remote: this.address,
      reason,
    });
    this.#retry = this.#runtime.timers.after(delay, () => {
      if (this.#state === 'backing off') this.#connect();
    });
  }

  #pingIn(ms: number): void {
    this.#ping?.cancel();
    this.#ping = this.#runtime.timers.after(ms, () => this.#pingIfQuiet());
  }

  /** Without anything to do both sides would never learn that the other one is gone. */
  #pingIfQuiet(): void {
    const now = this.#runtime.clock.now();
    const quietMs = now - this.#heardAt;
    if (quietMs < PING_MS) {
      // At least 1: what is left may be too little to change a sum.
      this.#pingIn(Math.max(1, PING_MS - quietMs));
      return;
    }
    this.#pingIn(PING_MS);
    if (this.#live > 0 || this.#inFlight > 0) return;
    this.#counters.pingsSent++;
    this.#pings++;
    this.add(MessageType.Ping, UNHEARD, 0, now + SILENCE_MS);
  }

  // ------------------------------------------------------------------------------- deadlines

  #keepTicking(): void {
    if (this.#tick !== undefined || this.#state === 'closed') return;
    this.#tick = this.#runtime.timers.after(TICK_MS, () => {
      this.#tick = undefined;
      this.#onTick();
    });
  }

  #onTick(): void {
    const now = this.#runtime.clock.now();
    if (now >= this.#earliestDeadline) this.#expire(now);
    if (this.#isClosed()) return;
    const isWaiting =
      this.#inFlight > 0 || this.#state === 'renewing' || this.#state === 'connecting';
    // After a pause of this process the answer may lie in the input: it is looked at first.
    const wasSilent = this.#isSilent;
    this.#isSilent = isWaiting && now - this.#heardAt > SILENCE_MS;
    if (wasSilent && this.#isSilent) {
      this.#isSilent = false;
      this.#counters.silences++;
      this.#connection?.close('nothing was answered for too long');
    }
    if (this.#live > 0 || isWaiting) this.#keepTicking();
    this.watcher?.changed();
  }

  /** As a method, because a sink that was told may have closed the link. */
  #isClosed(): boolean {
    return this.#state === 'closed';
  }

  #expire(now: number): void {
    const ring = this.ring;
    this.#earliestDeadline = Number.POSITIVE_INFINITY;
    for (let position = ring.head; position < ring.tail; position++) {
      if (this.#isClosed()) return;
      const place = ring.place(position);
      if (ring.sink[place] === undefined) continue;
      const deadline = ring.deadline[place] as number;
      if (deadline > now) {
        if (deadline < this.#earliestDeadline) this.#earliestDeadline = deadline;
        continue;
      }
      this.#counters.deadlinesPassed++;
      if (ring.state[place] === SENT) {
        this.#tell(place, statusUnanswered(ring.type[place] as number), 0, 0);
      } else {
        ring.state[place] = DROPPED;
        this.#tell(place, Status.Unavailable, 0, 0);
      }
    }
    ring.skipDropped();
    if (this.#live === 0 && this.#state === 'backing off') {
      this.#retry?.cancel();
      this.#rest();
    }
  }

  /** Ends what waits and was never sent; a sent one stays until its outcome is known. */
  #endWaiting(status: Status): void {
    const ring = this.ring;
    for (let position = ring.sent; position < ring.tail; position++) {
      const place = ring.place(position);
      ring.state[place] = DROPPED;
      this.#tell(place, status, 0, 0);
    }
    ring.skipDropped();
  }

  /**
   * With no connection and nobody waiting, what is in the ring has been told. Where it may still be
   * executed it stays there, for those who must know what it is about, until a hello ends it.
   */
  #rest(): void {
    const { ring } = this;
    this.#state = 'idle';
    this.#brokenAt = -1;
    this.#inFlight = 0;
    if (this.#isInDoubt) return;
    for (let position = ring.head; position < ring.tail; position++) {
      ring.clear(ring.place(position));
    }
    ring.head = ring.tail;
    ring.sent = ring.tail;
  }
}

/** Why an operation cannot be sent; `Ok`: it can. */
function refusalOf(ring: OperationRing, place: number): Status {
  if (ring.window[place]?.id === WINDOW_GONE) return Status.Stale;
  const moves = (ring.type[place] as number) <= MessageType.Write;
  return moves && !ring.hasBuffer(place) ? Status.Invalid : Status.Ok;
}

/** Whether the reply to a data operation is as long as its status and type say. */
function isReplyForm(
  ring: OperationRing,
  place: number,
  status: number,
  input: Bytes,
  at: number,
): boolean {
  const body = messageLength(input, at) - MESSAGE_HEADER_BYTES;
  const type = ring.type[place] as number;
  // Of a call whose deadline passed nobody is left to look at the body.
  if (isCallType(type)) return true;
  if (status !== Status.Ok) return body === 0;
  if (type === MessageType.Read) {
    const bytes = ring.bytes[place] as number;
    return messageExtra(input, at) === bytes && body === ((bytes + 7) & ~7);
  }
  const isAtomic = type === MessageType.CompareAndSwap || type === MessageType.FetchAndAdd;
  return body === (isAtomic ? 8 : 0);
}
