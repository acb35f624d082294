/**
 * The operations of a `UdpLink` in the order in which they were started: cut into parts that go as
 * datagrams, or handed on to the transport as messages.
 *
 *   ring   head ... | under way, told, waiting, in any mixture | tail    (see operation-ring.ts)
 *                     sent: the first one that waits
 *
 * Two that conflict are never under way together; what waits for another does not hold up those
 * behind it that conflict with neither. Calls, fences and writes with promised frames wait for all
 * before them, and hold up all behind them. See docs/internals/datagrams.md.
 */

import { Status } from '../../base/status.js';
import type { Timer } from '../../runtime/clock.js';
import type { Bytes } from '../../runtime/network.js';
import type { Runtime } from '../../runtime/runtime.js';
import { QUEUE_MAX, SILENCE_MS } from '../../wire/limits.js';
import { MessageType } from '../../wire/messages.js';
import type { StreamDoubts } from '../fall-over/doubts.js';
import type { CompletionSink } from '../link.js';
import { DROPPED, OperationRing, SENT as STARTED, WAITING } from '../operation-ring.js';
import { fabricFaults } from '../planted.js';
import { copyFromStream, SHORT_COPY_BYTES_MAX } from '../short-copy.js';
import type { Transport } from '../transport.js';
import { changesBytes, outcomeOf, statusUnanswered } from '../verbs.js';
import { Conflicts } from './conflicts.js';
import { BARRED, FREE, PARTS_MAX, type Parts, SENT } from './parts.js';
import type { DatagramSender, SenderUser } from './sender.js';
import { UnderWay } from './under-way.js';

/** How often deadlines are looked at while anything waits. */
const TICK_MS = 20;
/** So many that wait for others may be passed. */
const PASSED_MAX = 64;
/** Parts begin and end at multiples of this, so that no aligned word is cut. */
const CUT_BYTES = 64;

/** Of a call only its own promise is told. */
const UNHEARD: CompletionSink = { completed: () => undefined };

/** A call that has its order among the operations. */
export interface WaitingCall {
  /** It is its turn. */
  readonly send: () => void;
  /** Its time was over before that. */
  readonly expired: () => void;
}

export interface UdpQueueParts {
  readonly runtime: Runtime;
  readonly transport: Transport;
  readonly sender: DatagramSender;
  /**
   * What the stream has under way, where operations may go beside that; without it nothing is sent
   * as a datagram while the stream has anything with an order.
   */
  readonly doubts?: StreamDoubts;
}

export class UdpQueue implements SenderUser {
  /** In which ring `start` has just made a place. */
  readonly target: OperationRing = new OperationRing();
  /** Everything that is begun from here on goes over the stream. */
  isByStream = false;
  readonly #doubts: StreamDoubts | undefined;
  readonly #runtime: Runtime;
  readonly #transport: Transport;
  readonly #sender: DatagramSender;
  readonly #parts: Parts;
  readonly #underWay = new UnderWay();
  readonly #conflicts = new Conflicts();
  readonly #passed = new Conflicts();
  readonly #passedPositions = new Float64Array(PASSED_MAX);
  /** Calls that wait in the ring, by position. */
  readonly #calls = new Map<number, WaitingCall>();
  readonly #pump = (): void => this.#pumpNow();
  #isPumpDue = false;
  /** So much is ready to be sent that no more operations were started. */
  #isHeldBack = false;
  #isClosed = false;
  /** Regions of which something came back as `Moved`, until the client's next fence. */
  readonly #away = new Set<number>();
  /** Operations that nobody has been told about. */
  #live = 0;
  #barred = 0;
  #earliestDeadline = Number.POSITIVE_INFINITY;
  #tick: Timer | undefined;

  constructor({ runtime, transport, sender, doubts }: UdpQueueParts) {
    this.#runtime = runtime;
    this.#transport = transport;
    this.#sender = sender;
    this.#doubts = doubts;
    this.#parts = sender.parts;
    sender.user = this;
  }

  // -------------------------------------------------------------------------------- starting

  /** The place of a new operation in `target`; -1: refused, and its sink is told soon. */
  start(type: number, sink: CompletionSink, token: number, deadline: number): number {
    const ring = this.target;
    if (this.#isClosed || ring.waiting >= QUEUE_MAX || ring.isFull) {
      this.#transport.refuse(sink, token, this.#isClosed ? Status.Closed : Status.Busy);
      return -1;
    }
    const place = ring.push();
    ring.type[place] = type;
    ring.sink[place] = sink;
    ring.token[place] = token;
    ring.deadline[place] = deadline;
    this.#live++;
    if (deadline < this.#earliestDeadline) this.#earliestDeadline = deadline;
    this.#schedule();
    return place;
  }

  /** Whether nothing that was started before can still have an effect. */
  get isEmpty(): boolean {
    return !this.isHolding && this.#underWay.count === 0;
  }

  /** Whether there are operations that nobody was told about, or that wait. */
  get isHolding(): boolean {
    this.target.skipDropped();
    return this.target.head < this.target.tail;
  }

  awaits(region: number): boolean {
    return this.target.awaits(region);
  }

  /** Has a call wait for its turn. False: there is no room. */
  startCall(type: number, deadline: number, call: WaitingCall): boolean {
    const place = this.start(type, UNHEARD, 0, deadline);
    if (place < 0) return false;
    this.#calls.set(this.target.tail - 1, call);
    return true;
  }

  /** The transport, or what may be sent, may have changed. */
  wake(): void {
    if (this.#live > 0) this.#schedule();
  }

  #schedule(): void {
    if (this.#isPumpDue) return;
    this.#isPumpDue = true;
    this.#runtime.timers.soon(this.#pump);
  }

  #pumpNow(): void {
    this.#isPumpDue = false;
    if (this.#isClosed) return;
    // Those that only waited for others to be sent would else wait for an answer.
    do {
      this.#isHeldBack = false;
      this.#startOperations();
      this.#sender.flush();
    } while (this.#isHeldBack && this.#sender.wantsMore);
    if (this.#live > 0 || this.#barred > 0) this.#keepTicking();
  }

  // ----------------------------------------------------------------------------- what may start

  #startOperations(): void {
    const ring = this.target;
    ring.skipDropped();
    let passed = 0;
    for (let position = ring.sent; position < ring.tail; position++) {
      const place = ring.place(position);
      if (ring.state[place] !== WAITING) {
        if (position === ring.sent) ring.sent++;
        continue;
      }
      if (this.#isBarrier(place)) {
        if (passed > 0 || !this.#passBarrier(position, place)) break;
        continue;
      }
      if (!this.isByStream && !this.#mayBeDatagrams(place)) break;
      const refusal = this.#refusal(place);
      if (refusal !== Status.Ok) {
        this.#tell(position, refusal, 0, 0);
      } else if (this.#mayStart(place)) {
        if (this.#isAway(place)) this.#giveBackUnsent(position, place);
        else if (this.isByStream) this.#sendAsMessage(position, place, ring.type[place] as number);
        else this.#begin(position, place);
        if (position === ring.sent) ring.sent++;
      } else if (passed === PASSED_MAX) {
        break;
      } else {
        this.#pass(position, place, passed++);
      }
    }
    this.#forgetPassed(passed);
  }

  #mayBeDatagrams(place: number): boolean {
    return (this.#doubts !== undefined || this.#isStreamQuiet()) && this.#hasRoom(place);
  }

  /** Whether nothing that went over the stream can be executed any more. */
  #isStreamQuiet(): boolean {
    const transport = this.#transport;
    if (transport.isQuiet) return true;
    // A lost connection is made again for whoever waits for it, and that ends what was in doubt.
    if (transport.isIdle) {
      const deadline = this.#runtime.clock.now() + SILENCE_MS;
      transport.add(MessageType.Ping, UNHEARD, 0, deadline);
    }
    return false;
  }

  /** What has its order among all others: a call, a fence, or what goes as a message. */
  #isBarrier(place: number): boolean {
    const type = this.target.type[place] as number;
    if (type > MessageType.FetchAndAdd) return true;
    return type === MessageType.Write && (this.target.operands[place * 4] as number) !== 0;
  }

  /** False: it waits for those before it. */
  #passBarrier(position: number, place: number): boolean {
    const ring = this.target;
    if (this.#underWay.count > 0) return false;
    ring.skipDropped();
    const type = ring.type[place] as number;
    if (type === MessageType.Fence) this.endFence();
    const isHere = type === MessageType.Fence && !this.#transport.isFenceOwed;
    if (isHere && this.#isStreamQuiet()) {
      this.#tell(position, Status.Ok, 0, 0);
    } else if (type === MessageType.Write && this.#isAway(place)) {
      this.#giveBackUnsent(position, place);
    } else {
      this.#sendAsMessage(position, place, type);
    }
    ring.sent = Math.max(ring.sent, position + 1);
    return true;
  }

  #sendAsMessage(position: number, place: number, type: number): void {
    const ring = this.target;
    const sink = ring.sink[place];
    const token = ring.token[place] as number;
    const deadline = ring.deadline[place] as number;
    const from = this.#transport.ring.tail;
    this.#live--;
    ring.sink[place] = undefined;
    ring.state[place] = DROPPED;
    if (sink === UNHEARD) {
      const call = this.#calls.get(position);
      this.#calls.delete(position);
      call?.send();
    } else if (sink !== undefined) {
      const to = this.#transport.add(type, sink, token, deadline);
      if (to >= 0) ring.copyTo(place, this.#transport.ring, to);
    }
    ring.clear(place);
    if (!this.isByStream) this.#doubts?.enterFrom(from);
  }

  #hasRoom(place: number): boolean {
    const needed = Math.ceil((this.target.bytes[place] as number) / this.#sender.partBytes) + 1;
    if (!this.#underWay.hasRoom || this.#parts.count + needed > PARTS_MAX) return false;
    this.#isHeldBack = !this.#sender.wantsMore;
    return !this.#isHeldBack;
  }

  #mayStart(place: number): boolean {
    const ring = this.target;
    const space = ring.window[place]?.space ?? 0;
    const address = ring.address[place] as number;
    const bytes = ring.bytes[place] as number;
    const changes = changesBytes(ring.type[place] as number);
    const isFree = this.#conflicts.mayStart(space, address, bytes, changes);
    if (!isFree && !this.#isOvertaking()) return false;
    if (!this.isByStream && this.#doubts?.bars(space, address, bytes, changes) === true)
      return false;
    const isNext = this.#passed.mayStart(space, address, bytes, changes);
    return isNext || fabricFaults.waitingPassed;
  }

  /** Planted bugs. */
  #isOvertaking(): boolean {
    return this.isByStream ? fabricFaults.datagramsOvertaken : fabricFaults.conflictsIgnored;
  }

  #pass(position: number, place: number, count: number): void {
    const ring = this.target;
    this.#passedPositions[count] = position;
    const changes = changesBytes(ring.type[place] as number);
    const space = ring.window[place]?.space ?? 0;
    const bytes = ring.bytes[place] as number;
    this.#passed.enter(space, ring.address[place] as number, bytes, changes);
  }

  #forgetPassed(count: number): void {
    const ring = this.target;
    for (let i = 0; i < count; i++) {
      const place = ring.place(this.#passedPositions[i] as number);
      const changes = changesBytes(ring.type[place] as number);
      const space = ring.window[place]?.space ?? 0;
      const bytes = ring.bytes[place] as number;
      this.#passed.leave(space, ring.address[place] as number, bytes, changes);
    }
  }

  #begin(position: number, place: number): void {
    const ring = this.target;
    ring.state[place] = STARTED;
    const underWay = this.#underWay;
    const slot = underWay.take();
    const space = ring.window[place]?.space ?? 0;
    const address = ring.address[place] as number;
    const bytes = ring.bytes[place] as number;
    const changes = changesBytes(ring.type[place] as number);
    underWay.position[slot] = position;
    underWay.space[slot] = space;
    underWay.address[slot] = address;
    underWay.bytes[slot] = bytes;
    underWay.changes[slot] = changes ? 1 : 0;
    this.#conflicts.enter(space, address, bytes, changes);
    this.#cut(slot, 0, bytes);
  }

  #refusal(place: number): Status {
    const ring = this.target;
    if (ring.window[place] === undefined) return Status.Stale;
    if (ring.bytes[place] === 0) return Status.Invalid;
    const moves = (ring.type[place] as number) <= MessageType.Write;
    return moves && !ring.hasBuffer(place) ? Status.Invalid : Status.Ok;
  }

  /** Makes parts of `[from, end)` of the operation. */
  #cut(slot: number, from: number, end: number): void {
    const { partBytes } = this.#sender;
    const address = this.#underWay.address[slot] as number;
    for (let offset = from; offset < end; ) {
      const left = end - offset;
      const at = address + offset;
      const isLast = left <= partBytes;
      const bytes = isLast ? left : partBytes - (fabricFaults.partsCutWords ? 3 : at % CUT_BYTES);
      this.#addPart(slot, offset, bytes);
      offset += bytes;
    }
  }

  #addPart(slot: number, offset: number, bytes: number): void {
    const parts = this.#parts;
    const row = parts.take();
    parts.operation[row] = slot;
    parts.offset[row] = offset;
    parts.bytes[row] = bytes;
    this.#underWay.partsLeft[slot] = (this.#underWay.partsLeft[slot] as number) + 1;
    parts.makeReady(row);
  }

  // -------------------------------------------------------------------------- from the sender

  /** The place of the operation that a part is of. */
  placeOf(row: number): number {
    const slot = this.#parts.operation[row] as number;
    return this.target.place(this.#underWay.position[slot] as number);
  }

  changes(row: number): boolean {
    return this.#underWay.changes[this.#parts.operation[row] as number] === 1;
  }

  /** A part is sent. */
  leaves(row: number): void {
    this.#underWay.wasSent[this.#parts.operation[row] as number] = 1;
  }

  /**
   * The part has become too long, and no copy of it can have an effect: it is cut into shorter
   * ones. False: there is no room for them now.
   */
  cutAnew(row: number): boolean {
    const parts = this.#parts;
    const slot = parts.operation[row] as number;
    const offset = parts.offset[row] as number;
    const bytes = parts.bytes[row] as number;
    const needed = Math.ceil(bytes / this.#sender.partBytes) + 1;
    if (parts.count + needed > PARTS_MAX) return false;
    parts.free(row);
    this.#underWay.partsLeft[slot] = (this.#underWay.partsLeft[slot] as number) - 1;
    this.#cut(slot, offset, offset + bytes);
    return true;
  }

  /** The part was answered, from the record if it changes bytes. */
  answered(row: number, status: Status, input: Bytes, at: number): void {
    const parts = this.#parts;
    const slot = parts.operation[row] as number;
    if (parts.state[row] === BARRED) this.#barred--;
    else if (status === Status.Ok) status = this.#take(row, slot, input, at);
    else if (status === Status.Moved) this.#giveBack(row);
    parts.free(row);
    if (this.#underWay.partEnded(slot, status)) this.#ended(slot);
  }

  /** The node does not hold the region any more: the part is to be started anew elsewhere. */
  #giveBack(row: number): void {
    const place = this.placeOf(row);
    const parts = this.#parts;
    const [offset, bytes] = [parts.offset[row] as number, parts.bytes[row] as number];
    const ring = this.target;
    const sink = ring.sink[place];
    if (sink?.moved === undefined) return;
    this.#away.add(ring.regionOf(place));
    sink.moved(ring.token[place] as number, ring, place, offset, bytes);
  }

  /**
   * Whether something of its region came back, this way or over the stream. By now the node may
   * hold the region again, and would execute this one, which stands behind what came back.
   */
  #isAway(place: number): boolean {
    const { target } = this;
    return this.hasMoved(target, place) || this.#transport.isBehindMoved(target, place);
  }

  /** Whether something of the operation's region came back this way. */
  hasMoved(ring: OperationRing, place: number): boolean {
    return this.#away.size > 0 && this.#away.has(ring.regionOf(place));
  }

  /** Something has come back, and what stands behind it does so, too. */
  get isFenceOwed(): boolean {
    return this.#away.size > 0;
  }

  endFence(): void {
    this.#away.clear();
  }

  #giveBackUnsent(position: number, place: number): void {
    const ring = this.target;
    const token = ring.token[place] as number;
    ring.sink[place]?.moved?.(token, ring, place, 0, ring.bytes[place] as number);
    this.#tell(position, Status.Moved, 0, 0);
  }

  /** The reply's data; `Invalid` where the buffer has become too short for it. */
  #take(row: number, slot: number, input: Bytes, at: number): Status {
    const ring = this.target;
    const place = this.placeOf(row);
    const type = ring.type[place] as number;
    if (type === MessageType.Read) {
      const buffer = ring.buffer[place];
      if (buffer === undefined || !ring.hasBuffer(place)) return Status.Invalid;
      const bytes = this.#parts.bytes[row] as number;
      const start = (ring.start[place] as number) + this.#offsetOf(row, slot, bytes);
      if (bytes <= SHORT_COPY_BYTES_MAX) copyFromStream(buffer, start, input, at, bytes);
      else this.#runtime.memory.copy(buffer, start, input.bytes, at, bytes);
    } else if (type !== MessageType.Write) {
      this.#underWay.low[slot] = input.words[at >> 2] as number;
      this.#underWay.high[slot] = input.words[(at >> 2) + 1] as number;
    }
    return Status.Ok;
  }

  /** Where in the operation's range the bytes of a part go. */
  #offsetOf(row: number, slot: number, bytes: number): number {
    if (!fabricFaults.partsAsTheyCome) return this.#parts.offset[row] as number;
    const offset = this.#underWay.low[slot] as number;
    this.#underWay.low[slot] = offset + bytes;
    return offset;
  }

  /** It was not executed and will not be: it is begun anew, or nobody waits for it any more. */
  neverExecuted(row: number): void {
    const parts = this.#parts;
    const slot = parts.operation[row] as number;
    if (parts.state[row] === BARRED || fabricFaults.neverTakenAsDone) {
      if (parts.state[row] === BARRED) this.#barred--;
      parts.free(row);
      if (this.#underWay.partEnded(slot, Status.Ok)) this.#ended(slot);
      return;
    }
    const offset = parts.offset[row] as number;
    const bytes = parts.bytes[row] as number;
    parts.free(row);
    this.#underWay.partsLeft[slot] = (this.#underWay.partsLeft[slot] as number) - 1;
    this.#addPart(slot, offset, bytes);
  }

  /** The node has said a later clock: what is past it bars nothing any more. */
  clockHeard(hasPassed: (deadline: number) => boolean): void {
    if (this.#barred === 0) return;
    const parts = this.#parts;
    for (let row = 0; row < parts.rows && this.#barred > 0; row++) {
      if (parts.state[row] === BARRED && hasPassed(parts.deadline[row] as number)) {
        this.#unbar(row);
      }
    }
  }

  #unbar(row: number): void {
    const slot = this.#parts.operation[row] as number;
    this.#barred--;
    this.#parts.free(row);
    if (this.#underWay.partEnded(slot, Status.OutcomeUnknown)) this.#ended(slot);
  }

  /** What was sent to the process before is executed by nobody any more. */
  incarnationChanged(): void {
    const parts = this.#parts;
    for (let row = 0; row < parts.rows; row++) {
      const state = parts.state[row] as number;
      if (state === FREE || (parts.attempts[row] as number) === 0) continue;
      if (state === BARRED) {
        this.#unbar(row);
      } else if (!this.changes(row) || fabricFaults.changeSentAnew) {
        if (state !== SENT) continue;
        // Else its first attempt would fill the window for ever.
        this.#sender.givenUp(row);
        parts.makeReady(row);
      } else {
        const slot = parts.operation[row] as number;
        this.#sender.givenUp(row);
        parts.free(row);
        if (this.#underWay.partEnded(slot, Status.OutcomeUnknown)) this.#ended(slot);
      }
    }
  }

  /** Nothing of the operation can be executed any more. */
  #ended(slot: number): void {
    const underWay = this.#underWay;
    const changes = underWay.changes[slot] === 1;
    const address = underWay.address[slot] as number;
    const bytes = underWay.bytes[slot] as number;
    this.#conflicts.leave(underWay.space[slot] as number, address, bytes, changes);
    const position = underWay.position[slot] as number;
    const status = underWay.status(slot);
    underWay.free(slot);
    if (position >= 0) {
      const low = underWay.low[slot] as number;
      this.#tell(position, status, low, underWay.high[slot] as number);
    }
    this.#schedule();
  }

  // ---------------------------------------------------------------------------------- telling

  #tell(position: number, status: Status, low: number, high: number): void {
    const ring = this.target;
    const place = ring.place(position);
    const sink = ring.sink[place];
    const token = ring.token[place] as number;
    ring.state[place] = DROPPED;
    ring.clear(place);
    if (sink === undefined) return;
    this.#live--;
    const isKnown = status === Status.Ok;
    sink.completed(token, status, outcomeOf(status), isKnown ? low : 0, isKnown ? high : 0);
  }

  #keepTicking(): void {
    this.#tick ??= this.#runtime.timers.after(TICK_MS, () => {
      this.#tick = undefined;
      if (this.#isClosed) return;
      const now = this.#runtime.clock.now();
      if (now >= this.#earliestDeadline) this.#expire(now);
      if (this.#barred > 0) this.#sender.askClock(now);
      this.#schedule();
    });
  }

  #expire(now: number): void {
    const ring = this.target;
    this.#earliestDeadline = Number.POSITIVE_INFINITY;
    let expired = 0;
    for (let position = ring.head; position < ring.tail; position++) {
      const place = ring.place(position);
      if (ring.sink[place] === undefined) continue;
      const deadline = ring.deadline[place] as number;
      if (deadline > now) this.#earliestDeadline = Math.min(this.#earliestDeadline, deadline);
      else if (ring.state[place] === WAITING) this.#expireWaiting(position);
      else expired++;
    }
    if (expired > 0) this.#expireUnderWay(now);
    ring.skipDropped();
  }

  /** Nothing of it was sent. */
  #expireWaiting(position: number): void {
    const call = this.#calls.get(position);
    this.#calls.delete(position);
    this.#tell(position, Status.Unavailable, 0, 0);
    call?.expired();
  }

  /** Reads end; changes bar others until the node's clock has passed their deadlines. */
  #expireUnderWay(now: number): void {
    const ring = this.target;
    const parts = this.#parts;
    const underWay = this.#underWay;
    underWay.isMarked.fill(0);
    for (let row = 0; row < parts.rows; row++) {
      const state = parts.state[row] as number;
      if (state === FREE || state === BARRED) continue;
      const slot = parts.operation[row] as number;
      const position = underWay.position[slot] as number;
      if (underWay.isMarked[slot] === 0) {
        if ((ring.deadline[ring.place(position)] as number) > now) continue;
        underWay.isMarked[slot] = 1;
      }
      this.#expirePart(row, slot);
    }
    for (let slot = 0; slot < underWay.slots; slot++) {
      if (underWay.isMarked[slot] === 1) this.#expireOperation(slot);
    }
  }

  #expirePart(row: number, slot: number): void {
    const parts = this.#parts;
    const wasSent = (parts.attempts[row] as number) > 0;
    this.#sender.givenUp(row);
    const mayBeDone = wasSent && this.#underWay.changes[slot] === 1;
    if (mayBeDone && !fabricFaults.changeNotBarred) {
      parts.bar(row);
      this.#barred++;
      return;
    }
    parts.free(row);
    this.#underWay.partsLeft[slot] = (this.#underWay.partsLeft[slot] as number) - 1;
  }

  #expireOperation(slot: number): void {
    const underWay = this.#underWay;
    const position = underWay.position[slot] as number;
    underWay.position[slot] = -1;
    const place = this.target.place(position);
    const isInDoubt = (underWay.partsLeft[slot] as number) > 0 || underWay.mayBeDone[slot] === 1;
    const isChange = underWay.changes[slot] === 1;
    const status =
      isChange && !isInDoubt
        ? Status.Unavailable
        : statusUnanswered(this.target.type[place] as number);
    this.#tell(position, status, 0, 0);
    if (underWay.partsLeft[slot] === 0) this.#ended(slot);
  }

  // --------------------------------------------------------------------------- another way

  /** What can have had no effect waits again, to go over the stream. Says how many those are. */
  takeBack(): number {
    let count = 0;
    const parts = this.#parts;
    const { isMarked: isWanted, slots } = this.#underWay;
    isWanted.fill(0);
    for (let row = 0; row < parts.rows; row++) {
      const state = parts.state[row] as number;
      const slot = parts.operation[row] as number;
      if (state !== FREE && state !== BARRED && !this.#mayHaveEffect(slot)) isWanted[slot] = 1;
    }
    for (let row = 0; row < parts.rows; row++) {
      const slot = parts.operation[row] as number;
      if (parts.state[row] === FREE || isWanted[slot] === 0) continue;
      this.#sender.givenUp(row);
      parts.free(row);
    }
    for (let slot = 0; slot < slots; slot++) {
      if (isWanted[slot] === 0) continue;
      this.#waitAgain(slot);
      count++;
    }
    this.#schedule();
    return count;
  }

  #mayHaveEffect(slot: number): boolean {
    const underWay = this.#underWay;
    return underWay.changes[slot] === 1 && underWay.wasSent[slot] === 1;
  }

  #waitAgain(slot: number): void {
    const ring = this.target;
    const underWay = this.#underWay;
    const position = underWay.position[slot] as number;
    const changes = underWay.changes[slot] === 1;
    const address = underWay.address[slot] as number;
    const bytes = underWay.bytes[slot] as number;
    this.#conflicts.leave(underWay.space[slot] as number, address, bytes, changes);
    underWay.free(slot);
    ring.state[ring.place(position)] = WAITING;
    ring.sent = Math.min(ring.sent, position);
  }

  // ---------------------------------------------------------------------------------- closing

  /** What was sent and may have an effect ends as unknown, everything else as closed. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#tick?.cancel();
    // The transport is closed by then, and says so.
    for (const { send } of this.#calls.values()) this.#runtime.timers.soon(send);
    this.#calls.clear();
    this.#runtime.timers.soon(() => this.#closeAll());
  }

  #closeAll(): void {
    const ring = this.target;
    const mayBeDone = new Set<number>();
    const parts = this.#parts;
    const underWay = this.#underWay;
    for (let row = 0; row < parts.rows; row++) {
      if (parts.state[row] === FREE || !this.changes(row)) continue;
      const slot = parts.operation[row] as number;
      const wasSent = (parts.attempts[row] as number) > 0;
      if (wasSent || underWay.mayBeDone[slot] === 1)
        mayBeDone.add(underWay.position[slot] as number);
    }
    for (let position = ring.head; position < ring.tail; position++) {
      if (ring.sink[ring.place(position)] === undefined) continue;
      const status = mayBeDone.has(position) ? Status.OutcomeUnknown : Status.Closed;
      this.#tell(position, status, 0, 0);
    }
    ring.head = ring.tail;
    ring.sent = ring.tail;
  }
}
