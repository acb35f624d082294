/**
 * Sends the parts of a link as datagrams until they are answered. Who is at the other end says
 * `greeting.ts`: nothing is sent before it is known, or when it is in doubt.
 *
 * What was sent and is not answered is sent again: after a time-out, when three later datagrams
 * were answered, or when the node says that it came damaged. See docs/internals/datagrams.md.
 */

import { assert } from '../../base/assert.js';
import type { Status } from '../../base/status.js';
import type { Timer } from '../../runtime/clock.js';
import type {
  Bytes,
  DatagramBatch,
  DatagramHandler,
  DatagramSocket,
} from '../../runtime/network.js';
import type { Runtime } from '../../runtime/runtime.js';
import {
  badDatagramName,
  checkDatagram,
  DatagramRefusal,
  type DatagramRules,
  headerWord,
  PART_HEADER_BYTES,
  PartFlag,
  partFlags,
  REPLY_HEADER_BYTES,
  ReplyWord,
  REQUEST_HEADER_BYTES,
  type RequestWriter,
} from '../../wire/datagram.js';
import {
  messageLength,
  messageSequence,
  messageStatus,
  messageType,
  padded,
} from '../../wire/frame.js';
import { MESSAGE_HEADER_BYTES } from '../../wire/limits.js';
import { dataExtra, MessageType, ReadRequest } from '../../wire/messages.js';
import type { OperationRing } from '../operation-ring.js';
import { putAccess, requestBodyBytes } from '../verbs.js';
import { CongestionWindow, ExpectedReplies } from './congestion.js';
import type { DatagramCounters, DatagramLinkState } from './datagram-counters.js';
import { Delays } from './delays.js';
import { Greeting, type GreetingParts, type GreetingUser } from './greeting.js';
import { LIFE_MS, type NodeWord } from './node-word.js';
import { fabricFaults } from '../planted.js';
import { isLong, PathPings } from './path-pings.js';
import { Parts, PUT_OFF, SENT } from './parts.js';

/** Headers of IP and UDP, and what a system spends on a datagram. */
const OVERHEAD_BYTES = 64;
/** More is not gathered into one datagram: the other side works on it while the next is made. */
const GATHER_BYTES_MAX = 16 * 1024;
/** Ready parts beyond this wait in the queue of operations. */
const READY_MAX = 256;
/** So many later datagrams were answered: this one is lost, or its answer. */
const OVERTAKEN = 3;
const AGAIN_MS = 1;
/** So that a change has several attempts before its deadline. */
const TIMEOUT_MS_MAX = LIFE_MS / 4;
/** Of what the system keeps for us: it counts its own bookkeeping too. */
const REPLIES_PART = 1 / 4;
const SILENT_MS_MIN = 100;
const SILENT_MS_MAX = 400;
const CLOCK_MS = 50;
/** After so long without a word both clocks may have come apart: the node is asked for its own. */
const CLOCK_KEPT_MS = 10_000;
const TARGET_BYTES = ReadRequest.fixedBytes;
const CUT_BYTES = 64;

/** Whose operations the parts are of. */
export interface SenderUser {
  readonly target: OperationRing;
  placeOf(row: number): number;
  /** The part goes into a datagram now. */
  leaves(row: number): void;
  changes(row: number): boolean;
  cutAnew(row: number): boolean;
  answered(row: number, status: Status, input: Bytes, at: number): void;
  neverExecuted(row: number): void;
  clockHeard(hasPassed: (deadline: number) => boolean): void;
  incarnationChanged(): void;
  /** More may be sent. */
  wake(): void;
}

export class DatagramSender implements DatagramHandler, GreetingUser {
  readonly parts: Parts;
  user!: SenderUser;
  readonly #runtime: Runtime;
  readonly #counters: DatagramCounters;
  readonly #greeting: Greeting;
  readonly #word: NodeWord;
  readonly #delays = new Delays(TIMEOUT_MS_MAX);
  #replies = new ExpectedReplies(Number.POSITIVE_INFINITY);
  readonly #window: CongestionWindow;
  readonly #writer: RequestWriter;
  readonly #rules: DatagramRules;
  readonly #hasPassed = (deadline: number): boolean => this.#word.hasPassed(deadline);
  readonly #pings: PathPings;
  #timer: Timer | undefined;
  #pace: Timer | undefined;
  #again: Timer | undefined;
  #putOff: number[] = [];
  #heardAt = 0;
  /** Since when an answer is due; -1: none is. */
  #dueSince = -1;
  #clockAskedAt = 0;
  /** How long the datagram that is looked at lay here: not the network's delay. */
  #ageMs = 0;
  /** The newest datagram that was answered. */
  #newest = -1;

  constructor(given: GreetingParts) {
    const { runtime } = given;
    this.#runtime = runtime;
    this.#counters = given.counters;
    this.parts = new Parts(runtime.entropy.u32());
    this.#greeting = new Greeting(given, this);
    this.#pings = new PathPings(this.#greeting, given.counters, () => {
      this.#window.resize(this.#gatherBytes + 2 * OVERHEAD_BYTES);
    });
    this.#window = new CongestionWindow({
      fraction: () => runtime.entropy.fraction(),
      datagramBytes: this.#gatherBytes + 2 * OVERHEAD_BYTES,
    });
    this.#word = this.#greeting.word;
    this.#writer = this.#greeting.writer;
    this.#rules = { checksum: runtime.checksum, isReply: true };
  }

  /** The longest datagram that is made. */
  get datagramBytes(): number {
    return this.#pings.size.bytes;
  }

  get #gatherBytes(): number {
    return Math.min(this.#pings.size.bytes, GATHER_BYTES_MAX);
  }

  /** The longest part. */
  get partBytes(): number {
    const room = this.#pings.size.bytes - REQUEST_HEADER_BYTES - PART_HEADER_BYTES - TARGET_BYTES;
    return room - (room % CUT_BYTES);
  }

  get wantsMore(): boolean {
    return this.parts.ready < READY_MAX;
  }

  get state(): DatagramLinkState {
    const { window, underWay, datagramBytes, bestMs, targetMs } = this.#window;
    return {
      windowBytes: Math.round(window),
      underWayBytes: underWay,
      datagramBytes,
      isBelowOneDatagram: window < datagramBytes,
      expectedReplyBytes: this.#replies.bytes,
      expectedReplyBytesMax: this.#replies.bytesMax,
      pathBytes: this.#pings.size.bytes,
      bestDelayMs: Number.isFinite(bestMs) ? bestMs : undefined,
      targetDelayMs: Number.isFinite(targetMs) ? targetMs : undefined,
      meanDelayMs: this.#delays.smoothed,
      timeoutMs: this.#delays.timeoutMs,
      incarnation: this.#word.incarnation,
    };
  }

  /** As `Greeting.begun`. */
  begun(): Promise<string | undefined> {
    return this.#greeting.begun();
  }

  /** Asks now whether datagrams get through; `isOpen` says so when that was answered. */
  ask(): void {
    this.#greeting.ask();
  }

  get isOpen(): boolean {
    return this.#greeting.isOpen;
  }

  /** Nothing is sent until there are parts again, or `ask` is called. */
  rest(): void {
    this.#greeting.rest();
  }

  /** From the greeting: replies may fill a part of what the system keeps for the new socket. */
  bound(socket: DatagramSocket): void {
    this.#replies = new ExpectedReplies(socket.receiveBytes * REPLIES_PART);
  }

  /** From the greeting. */
  limited(datagramBytesMax: number): void {
    this.#pings.limit(datagramBytesMax);
  }

  /** From the greeting: parts may be sent. */
  opened(): void {
    this.user.wake();
  }

  /** From the greeting. */
  incarnationChanged(): void {
    this.user.incarnationChanged();
  }

  // ---------------------------------------------------------------------------------- sending

  /** Sends what is ready, as far as the window allows. */
  flush(): void {
    if (this.parts.ready > 0) this.#greeting.begin();
    const { socket } = this.#greeting;
    if (!this.#greeting.isOpen || socket === undefined) return;
    const now = this.#runtime.clock.now();
    if (this.parts.ready > 0 && now - this.#heardAt > CLOCK_KEPT_MS && this.#dueSince < 0) {
      this.#greeting.again();
      return;
    }
    const { unsent } = socket;
    if (this.#sendReady(socket, now)) socket.flush();
    if (socket.unsent > unsent) this.#pings.size.lost(socket.unsent - unsent);
    this.#pings.send(socket, now, this.#delays.timeoutMs, this.#heardAt);
    if (!this.#isAnswerDue(socket)) return;
    if (this.#dueSince < 0) this.#dueSince = now;
    socket.expect(true);
    this.#armTimer(now);
  }

  #isAnswerDue(socket: DatagramSocket): boolean {
    if (this.parts.oldestSent() >= 0) return true;
    this.#dueSince = -1;
    socket.expect(false);
    return false;
  }

  #sendReady(socket: DatagramSocket, now: number): boolean {
    const { parts } = this;
    const ring = this.user.target;
    const writer = this.#writer;
    const { partBytes } = this;
    const limit = this.#gatherBytes;
    let number = -1;
    let isSent = false;
    for (let row = parts.firstReady(); row >= 0; row = parts.firstReady()) {
      const isTooLong = (parts.bytes[row] as number) > partBytes;
      if (isTooLong && this.#mayCutAnew(row)) {
        if (this.user.cutAnew(row)) continue;
        break;
      }
      const place = this.user.placeOf(row);
      const body = isTooLong ? 0 : requestBodyBytes(ring, place, parts.bytes[row]);
      if (number >= 0 && writer.bytesWith(body) > limit) {
        this.#greeting.seal(number);
        number = -1;
      }
      const reply = this.#replyBytes(row, ring.type[place] === MessageType.Read, number < 0);
      const cost = this.#requestBytes(body, number < 0) + reply;
      const isWindowOpen = number < 0 ? this.#window.mayTake(cost, now) : this.#window.mayAdd(cost);
      if (!isWindowOpen || !this.#replies.mayTake(reply)) {
        this.#waitForWindow(now);
        break;
      }
      if (number < 0) this.#window.sent(cost, now);
      else this.#window.added(cost);
      if (number < 0) {
        number = this.#word.number(now);
        const at = socket.reserve(this.#pings.size.bytes);
        writer.begin(socket.output, at);
        isSent = true;
        if (this.#window.window < this.#window.datagramBytes) this.#counters.datagramsPaced++;
      }
      if (parts.attempts[row] === 0) parts.deadline[row] = this.#word.deadline(now);
      this.user.leaves(row);
      if (isTooLong) this.#withdraw(row, place);
      else this.#append(row, place, body, socket.output);
      parts.isLong[row] = isLong(Math.max(writer.bytes, reply)) ? 1 : 0;
      parts.sent(row, number, now);
      assert(parts.cost[row] === 0, 'an attempt before still counts as under way');
      parts.cost[row] = cost;
      parts.expected[row] = reply;
      this.#replies.expected(reply);
      this.#counters.partsSent++;
    }
    if (number >= 0) this.#greeting.seal(number);
    return isSent;
  }

  /** Of a datagram the first part pays for the headers. */
  #requestBytes(body: number, isFirst: boolean): number {
    return PART_HEADER_BYTES + body + (isFirst ? REQUEST_HEADER_BYTES + OVERHEAD_BYTES : 0);
  }

  #replyBytes(row: number, isRead: boolean, isFirst: boolean): number {
    const body = isRead ? padded(this.parts.bytes[row] as number) : 8;
    return MESSAGE_HEADER_BYTES + body + (isFirst ? REPLY_HEADER_BYTES + OVERHEAD_BYTES : 0);
  }

  #append(row: number, place: number, body: number, output: Bytes): void {
    const { parts } = this;
    const ring = this.user.target;
    const offset = parts.offset[row] as number;
    const bytes = parts.bytes[row] as number;
    const type = ring.type[place] as number;
    const writer = this.#writer;
    putAccess(output, writer.bodyAt, ring, place, offset, bytes, this.#runtime.memory);
    const id = parts.id[row] as number;
    const extra = dataExtra(ring.window[place]?.id as number, 0);
    const deadline = parts.deadline[row] as number;
    // Behind the data of a write the padding is to be cleared.
    const length = type === MessageType.Write ? TARGET_BYTES + bytes : body;
    writer.append(type, id, extra, deadline, parts.attempts[row] as number, length);
  }

  /** What was sent of a change may still arrive, and must not when another part does its work. */
  #mayCutAnew(row: number): boolean {
    const isSentChange = (this.parts.attempts[row] as number) > 0 && this.user.changes(row);
    return !isSentChange || fabricFaults.changeCutAnew;
  }

  /** The path has become too short for the part: the node shall say what came of it, or never. */
  #withdraw(row: number, place: number): void {
    const { parts } = this;
    const ring = this.user.target;
    const id = parts.id[row] as number;
    const extra = dataExtra(ring.window[place]?.id as number, 0);
    const deadline = parts.deadline[row] as number;
    const attempt = parts.attempts[row] as number;
    this.#counters.withdrawals++;
    this.#writer.appendWithdrawal(ring.type[place] as number, id, extra, deadline, attempt);
  }

  #waitForWindow(now: number): void {
    const ms = this.#window.waitMs(now);
    if (!Number.isFinite(ms)) return;
    this.#pace?.cancel();
    this.#pace = this.#runtime.timers.after(ms, () => this.flush());
  }

  // -------------------------------------------------------------------------------- time-outs

  #armTimer(now: number): void {
    if (this.#timer !== undefined) return;
    const row = this.parts.oldestSent();
    if (row < 0) return;
    const dueMs = (this.parts.sentAt[row] as number) + this.#delays.timeoutMs - now;
    this.#timer = this.#runtime.timers.after(Math.max(0.5, dueMs), () => {
      this.#timer = undefined;
      this.#onTimer();
    });
  }

  #onTimer(): void {
    if (!this.#greeting.isOpen) return;
    const now = this.#runtime.clock.now();
    const { parts } = this;
    const timeoutMs = this.#delays.timeoutMs;
    let lost = 0;
    for (let row = parts.oldestSent(); row >= 0; row = parts.oldestSent()) {
      const sentAt = parts.sentAt[row] as number;
      if (now - sentAt < timeoutMs) break;
      if (lost === 0 && this.#isSilent(now)) return;
      lost++;
      this.#lose(row, now);
    }
    this.#counters.timedOut += lost;
    if (lost > 0 && now - this.#heardAt > timeoutMs) this.#delays.silent();
    this.flush();
    this.#armTimer(now);
  }

  /** Nothing at all was heard for long: from here on hellos are sent until one is answered. */
  #isSilent(now: number): boolean {
    const limit = Math.min(SILENT_MS_MAX, Math.max(SILENT_MS_MIN, 3 * this.#delays.timeoutMs));
    if (now - Math.max(this.#heardAt, this.#dueSince) < limit) return false;
    this.#dueSince = -1;
    this.#counters.silences++;
    this.#greeting.again();
    return true;
  }

  /** An attempt is given up. */
  #lose(row: number, now: number): void {
    const { parts } = this;
    this.#window.lost(parts.cost[row] as number, now, parts.sentAt[row] as number);
    this.#noLongerExpected(row);
    if (parts.isLong[row] === 1) this.#pings.size.lost(1);
    parts.makeReady(row);
  }

  /** The user gives the part up: what was sent of it is no longer waited for. */
  givenUp(row: number): void {
    const cost = this.parts.cost[row] as number;
    if (cost > 0) this.#window.dropped(cost, this.#runtime.clock.now());
    this.#noLongerExpected(row);
  }

  #noLongerExpected(row: number): void {
    const { parts } = this;
    this.#replies.ended(parts.expected[row] as number);
    parts.cost[row] = 0;
    parts.expected[row] = 0;
  }

  /** Later ones were answered, and it is not. */
  #loseOvertaken(now: number): void {
    const { parts } = this;
    const ageMs = 1.125 * this.#delays.smoothed;
    for (let row = parts.oldestSent(); row >= 0; row = parts.oldestSent()) {
      const behind = (this.#newest - (parts.number[row] as number)) | 0;
      if (behind < OVERTAKEN || now - (parts.sentAt[row] as number) < ageMs) return;
      this.#counters.overtaken++;
      this.#lose(row, now);
    }
  }

  /**
   * Everything that was last sent in that datagram is sent again at once. It has come damaged: that
   * it came at all says nothing of queues.
   */
  #loseDatagram(number: number): void {
    const { parts } = this;
    for (let row = 0; row < parts.rows; row++) {
      if (parts.state[row] !== SENT || parts.number[row] !== number) continue;
      this.givenUp(row);
      parts.makeReady(row);
    }
  }

  /** Something is barred: the node's clock is asked for, now and then. */
  askClock(now: number): void {
    if (now - this.#clockAskedAt < CLOCK_MS) return;
    this.#clockAskedAt = now;
    if (this.#greeting.isOpen && now - this.#heardAt > CLOCK_MS) this.#greeting.again();
  }

  // --------------------------------------------------------------------------------- receiving

  received(_socket: DatagramSocket, batch: DatagramBatch): void {
    const now = this.#runtime.clock.now();
    const { input, starts, lengths, ages } = batch;
    for (let i = 0; i < batch.count; i++) {
      const start = starts[i] as number;
      this.#ageMs = ages[i] as number;
      this.#datagram(input, start, start + (lengths[i] as number), now);
    }
    this.#counters.datagramsReceived += batch.count;
    if (!this.#greeting.isOpen) return;
    this.user.clockHeard(this.#hasPassed);
    this.#loseOvertaken(now);
    this.user.wake();
    this.flush();
  }

  #datagram(input: Bytes, start: number, end: number, now: number): void {
    const count = checkDatagram(input, start, end, this.#rules);
    if (count < 0) {
      this.#counters[badDatagramName(count) === 'checksum' ? 'damaged' : 'dropped']++;
      return;
    }
    if (headerWord(input, start, ReplyWord.LINK) !== this.#writer.link) {
      this.#counters.dropped++;
      return;
    }
    const number = headerWord(input, start, ReplyWord.NUMBER);
    if (count === 0) {
      this.#refused(input, start, number);
      return;
    }
    const type = messageType(input, start + REPLY_HEADER_BYTES);
    if (type === MessageType.Hello) {
      this.#heardAt = now;
      this.#delays.heard();
      if (!this.#greeting.answered(input, start, end, now)) this.#counters.dropped++;
      return;
    }
    if (headerWord(input, start, ReplyWord.INCARNATION) !== this.#word.incarnation) {
      this.#counters.dropped++;
      return;
    }
    this.#heard(input, start, number, now);
    this.#repliesIn(input, start + REPLY_HEADER_BYTES, end, number, now);
  }

  #heard(input: Bytes, start: number, number: number, now: number): void {
    this.#heardAt = now;
    this.#delays.heard();
    this.#word.heardClock(headerWord(input, start, ReplyWord.CLOCK), now);
    const sentAt = this.#word.sentAt(number);
    if (sentAt === undefined || sentAt > now) return;
    if (((number - this.#newest) | 0) > 0 || this.#newest < 0) this.#newest = number;
    if (!this.#word.answered(number)) return;
    const residenceMs = headerWord(input, start, ReplyWord.RESIDENCE) / 1000 + this.#ageMs;
    this.#delays.sample(now - sentAt);
    const clock = headerWord(input, start, ReplyWord.CLOCK);
    this.#window.delay(now - sentAt, residenceMs, now, clock);
  }

  #repliesIn(input: Bytes, from: number, end: number, number: number, now: number): void {
    for (let at = from; at < end; at += messageLength(input, at)) {
      if (messageType(input, at) === MessageType.Ping) {
        const bytes = messageLength(input, at) - MESSAGE_HEADER_BYTES;
        if (!this.#pings.answered(number, bytes, now)) this.#cookieRefused();
        continue;
      }
      const row = this.parts.rowOf(messageSequence(input, at));
      if (row >= 0) this.#reply(row, input, at, now);
    }
  }

  #reply(row: number, input: Bytes, at: number, now: number): void {
    const flags = partFlags(input, at);
    const { parts } = this;
    if ((flags & PartFlag.LATE) !== 0) {
      this.#counters.late++;
      return;
    }
    const cost = parts.cost[row] as number;
    if (cost > 0) this.#window.ended(cost, now);
    this.#noLongerExpected(row);
    if ((flags & PartFlag.AGAIN) !== 0) {
      this.#counters.again++;
      if (parts.state[row] === SENT) this.#sendLater(row);
    } else if ((flags & PartFlag.NEVER) !== 0) {
      this.#counters.never++;
      this.user.neverExecuted(row);
    } else {
      this.#counters.partsAnswered++;
      this.user.answered(row, messageStatus(input, at) as Status, input, at + MESSAGE_HEADER_BYTES);
    }
  }

  #sendLater(row: number): void {
    this.parts.putOff(row);
    this.#putOff.push(this.parts.id[row] as number);
    this.#again ??= this.#runtime.timers.after(AGAIN_MS, () => {
      this.#again = undefined;
      const ids = this.#putOff;
      this.#putOff = [];
      for (const id of ids) {
        const again = this.parts.rowOf(id);
        if (again >= 0 && this.parts.state[again] === PUT_OFF) this.parts.makeReady(again);
      }
      this.flush();
    });
  }

  #refused(input: Bytes, start: number, number: number): void {
    const reason = headerWord(input, start, ReplyWord.RESIDENCE);
    if (reason === DatagramRefusal.CHECKSUM) {
      this.#counters.damaged++;
      if (this.#word.sentAt(number) !== undefined) this.#loseDatagram(number);
      return;
    }
    if (!this.#word.mayBelieve(number)) return;
    this.#cookieRefused();
  }

  #cookieRefused(): void {
    this.#counters.cookiesRefused++;
    if (this.#greeting.isOpen) this.#greeting.again();
  }

  close(): void {
    this.#greeting.close();
    this.#timer?.cancel();
    this.#pace?.cancel();
    this.#again?.cancel();
  }
}
