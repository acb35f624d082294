/**
 * Sends the parts of a link as datagrams until they are answered.
 *
 *   idle --bind--> greeting --hello answered--> open
 *                     ^  \--(another process)--> renewing --its stream is there--'
 *                     |__ silence, no good cookie, another incarnation __________|
 *
 * What was sent and is not answered is sent again: after a time-out, when three later datagrams
 * were answered, or when the node says that it came damaged. See docs/internals/datagrams.md.
 */

import { type Status } from '../../base/status.js';
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
  DATAGRAM_BYTES_SURE,
  DatagramHelloReply,
  DatagramHelloRequest,
  DatagramRefusal,
  type DatagramRules,
  headerWord,
  PART_HEADER_BYTES,
  PartFlag,
  partFlags,
  REPLY_HEADER_BYTES,
  ReplyWord,
  REQUEST_HEADER_BYTES,
  RequestWriter,
} from '../../wire/datagram.js';
import {
  messageLength,
  messageSequence,
  messageStatus,
  messageType,
  padded,
} from '../../wire/frame.js';
import { MESSAGE_HEADER_BYTES, SILENCE_MS, VERSION_MAX, VERSION_MIN } from '../../wire/limits.js';
import { CAPABILITIES, dataExtra, MessageType, ReadRequest } from '../../wire/messages.js';
import type { OperationRing } from '../operation-ring.js';
import { copyToStream, SHORT_COPY_BYTES_MAX } from '../short-copy.js';
import type { Transport } from '../transport.js';
import { CongestionWindow, ExpectedReplies } from './congestion.js';
import type { DatagramCounters } from './datagram-counters.js';
import { Delays } from './delays.js';
import { LIFE_MS, NodeWord } from './node-word.js';
import { Parts, PARTS_MAX, PUT_OFF, SENT } from './parts.js';

const TWO_32 = 2 ** 32;
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
const HELLO_MS_MIN = 10;
const HELLO_MS_MAX = 200;
const SILENT_MS_MIN = 100;
const SILENT_MS_MAX = 400;
const CLOCK_MS = 50;
/** After so long without a word both clocks may have come apart: the node is asked for its own. */
const CLOCK_KEPT_MS = 10_000;
const TARGET_BYTES = ReadRequest.fixedBytes;
const CUT_BYTES = 64;
/** Within a machine a datagram takes any size: a part may be 32 KiB then. */
const DATAGRAM_BYTES_WITHIN = 32 * 1024 + 88;
const WITHIN = /^udp:\/\/(127\.|\[::1\]|localhost:)/;

/** Whose operations the parts are of. */
export interface SenderUser {
  readonly target: OperationRing;
  placeOf(row: number): number;
  answered(row: number, status: Status, input: Bytes, at: number): void;
  neverExecuted(row: number): void;
  clockHeard(hasPassed: (deadline: number) => boolean): void;
  incarnationChanged(): void;
  /** More may be sent. */
  wake(): void;
}

export interface SenderParts {
  readonly runtime: Runtime;
  /** `udp://HOST:PORT` of the node. */
  readonly address: string;
  readonly client: number;
  /** The memory that is meant; 0: any. */
  readonly memoryId: number;
  readonly counters: DatagramCounters;
  /** To the same node. */
  readonly transport: Transport;
}

type State = 'idle' | 'binding' | 'greeting' | 'renewing' | 'open' | 'closed';

export class DatagramSender implements DatagramHandler {
  readonly parts: Parts;
  user!: SenderUser;
  readonly #given: SenderParts;
  readonly #runtime: Runtime;
  readonly #counters: DatagramCounters;
  readonly #word = new NodeWord();
  readonly #delays = new Delays(TIMEOUT_MS_MAX);
  #replies = new ExpectedReplies(Number.POSITIVE_INFINITY);
  readonly #window: CongestionWindow;
  readonly #writer: RequestWriter;
  readonly #rules: DatagramRules;
  readonly #hasPassed = (deadline: number): boolean => this.#word.hasPassed(deadline);
  #state: State = 'idle';
  #socket: DatagramSocket | undefined;
  #peer: Uint8Array = new Uint8Array(0);
  /** The longest datagram that is made. */
  readonly #datagramBytes: number;
  #helloMs = HELLO_MS_MIN;
  #hello: Timer | undefined;
  #timer: Timer | undefined;
  #pace: Timer | undefined;
  #again: Timer | undefined;
  #putOff: number[] = [];
  #heardAt = 0;
  /** Why there is no socket, for people. */
  #failure = '';
  readonly #whenBegun: (() => void)[] = [];
  /** Since when an answer is due; -1: none is. */
  #dueSince = -1;
  #clockAskedAt = 0;
  /** The newest datagram that was answered. */
  #newest = -1;

  constructor(given: SenderParts) {
    const { runtime } = given;
    this.#given = given;
    this.#runtime = runtime;
    this.#counters = given.counters;
    this.#datagramBytes = WITHIN.test(given.address) ? DATAGRAM_BYTES_WITHIN : DATAGRAM_BYTES_SURE;
    this.parts = new Parts(runtime.entropy.u32());
    const gathered = Math.min(this.#datagramBytes, GATHER_BYTES_MAX);
    this.#window = new CongestionWindow({
      fraction: () => runtime.entropy.fraction(),
      datagramBytes: gathered + 2 * OVERHEAD_BYTES,
    });
    this.#writer = new RequestWriter(runtime.checksum, given.client);
    this.#writer.link = runtime.entropy.u32();
    this.#rules = { checksum: runtime.checksum, isReply: true };
  }

  /** The longest part. */
  get partBytes(): number {
    const room = this.#datagramBytes - REQUEST_HEADER_BYTES - PART_HEADER_BYTES - TARGET_BYTES;
    return room - (room % CUT_BYTES);
  }

  get wantsMore(): boolean {
    return this.parts.ready < READY_MAX;
  }

  // --------------------------------------------------------------------------------- greeting

  #begin(): void {
    this.#state = 'binding';
    const isV6 = this.#given.address.startsWith('udp://[');
    const any = isV6 ? 'udp://[::]:0' : 'udp://0.0.0.0:0';
    const { network } = this.#runtime;
    void network.bind(any, this).then(
      (socket) => this.#bound(socket),
      (error: unknown) => this.#cannotBegin(error),
    );
  }

  #cannotBegin(error: unknown): void {
    if (this.#state !== 'binding') return;
    this.#state = 'idle';
    this.#failure = error instanceof Error ? error.message : String(error);
    this.#runtime.log.write('warn', 'no datagrams can be sent', { reason: this.#failure });
    this.#hello = this.#runtime.timers.after(HELLO_MS_MAX, () => this.user.wake());
    this.#tellBegun();
  }

  #tellBegun(): void {
    for (const begun of this.#whenBegun.splice(0)) begun();
  }

  /**
   * Resolves when there is a socket, else with the reason why there can be none. That nobody
   * answers proves nothing: it is no reason.
   */
  async begun(): Promise<string | undefined> {
    if (this.#state === 'idle') this.#begin();
    if (this.#state === 'binding') {
      await new Promise<void>((resolve) => this.#whenBegun.push(resolve));
    }
    return this.#failure === '' ? undefined : `no datagrams can be sent: ${this.#failure}`;
  }

  #bound(socket: DatagramSocket): void {
    if (this.#state !== 'binding') {
      socket.close();
      return;
    }
    try {
      this.#peer = socket.peerOf(this.#given.address);
    } catch (error) {
      socket.close();
      this.#cannotBegin(error);
      return;
    }
    this.#socket = socket;
    this.#failure = '';
    this.#tellBegun();
    this.#replies = new ExpectedReplies(socket.receiveBytes * REPLIES_PART);
    this.#greet();
  }

  /** Asks who is there until somebody answers. */
  #greet(): void {
    this.#state = 'greeting';
    this.#helloMs = HELLO_MS_MIN;
    this.#sayHello();
  }

  #sayHello(): void {
    this.#hello?.cancel();
    if (this.#state !== 'greeting') return;
    this.#sendHello();
    const jitter = 0.75 + this.#runtime.entropy.fraction() / 2;
    this.#hello = this.#runtime.timers.after(this.#helloMs * jitter, () => this.#sayHello());
    this.#helloMs = Math.min(HELLO_MS_MAX, this.#helloMs * 2);
  }

  #sendHello(): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    const writer = this.#writer;
    const at = socket.reserve(this.#datagramBytes);
    writer.begin(socket.output, at);
    const hello = { versionMin: VERSION_MIN, versionMax: VERSION_MAX, capabilities: CAPABILITIES };
    DatagramHelloRequest.encode(socket.output, writer.bodyAt, hello);
    writer.append(MessageType.Hello, 0, 0, 0, 0, DatagramHelloRequest.fixedBytes);
    this.#seal(socket, this.#word.number(this.#runtime.clock.now()));
    socket.flush();
    this.#counters.hellos++;
  }

  #helloAnswered(input: Bytes, datagram: number, at: number, end: number): void {
    const number = headerWord(input, datagram, ReplyWord.NUMBER);
    if (this.#state !== 'greeting' || !this.#word.mayBelieve(number)) return;
    const answer = DatagramHelloReply.decode(input, at + MESSAGE_HEADER_BYTES, end);
    if (typeof answer === 'string') {
      this.#counters.dropped++;
      return;
    }
    const { memoryId } = this.#given;
    if (memoryId !== 0 && answer.memoryId !== memoryId) return;
    this.#hello?.cancel();
    const before = this.#word.incarnation;
    const incarnation = headerWord(input, datagram, ReplyWord.INCARNATION);
    if (incarnation !== before) this.#word.forgetClock();
    this.#word.adopt(incarnation, answer.cookieLow, answer.cookieHigh);
    this.#word.heardClock(headerWord(input, datagram, ReplyWord.CLOCK), this.#heardAt);
    this.#delays.heard();
    const writer = this.#writer;
    writer.incarnation = incarnation;
    writer.cookieLow = answer.cookieLow;
    writer.cookieHigh = answer.cookieHigh;
    if (before === 0 || before === incarnation) this.#open();
    else this.#renew();
  }

  #open(): void {
    this.#state = 'open';
    this.user.wake();
  }

  /** Windows are opened anew over the stream, once it is connected to the new process. */
  #renew(): void {
    this.#state = 'renewing';
    this.#counters.incarnations++;
    this.user.incarnationChanged();
    const answered = {
      completed: (_token: number, status: Status): void => {
        if (this.#state !== 'renewing') return;
        if (status === 0) this.#open();
        else this.#greet();
      },
    };
    const deadline = this.#runtime.clock.now() + SILENCE_MS;
    this.#given.transport.add(MessageType.Ping, answered, 0, deadline);
  }

  // ---------------------------------------------------------------------------------- sending

  /** Sends what is ready, as far as the window allows. */
  flush(): void {
    if (this.#state === 'idle' && this.parts.ready > 0) this.#begin();
    const socket = this.#socket;
    if (this.#state !== 'open' || socket === undefined) return;
    const now = this.#runtime.clock.now();
    if (this.parts.ready > 0 && now - this.#heardAt > CLOCK_KEPT_MS && this.#dueSince < 0) {
      this.#greet();
      return;
    }
    if (this.#sendReady(socket, now)) socket.flush();
    if (this.parts.oldestSent() < 0) return;
    if (this.#dueSince < 0) this.#dueSince = now;
    socket.expect(true);
    this.#armTimer(now);
  }

  #sendReady(socket: DatagramSocket, now: number): boolean {
    const { parts } = this;
    const writer = this.#writer;
    const limit = Math.min(this.#datagramBytes, GATHER_BYTES_MAX);
    let number = -1;
    let isSent = false;
    for (let row = parts.firstReady(); row >= 0; row = parts.firstReady()) {
      const body = this.#bodyBytes(row);
      if (number >= 0 && writer.bytesWith(body) > limit) {
        this.#seal(socket, number);
        number = -1;
      }
      const reply = this.#replyBytes(row, number < 0);
      const cost = this.#requestBytes(body, number < 0) + reply;
      if (!this.#window.mayTake(cost, now) || !this.#replies.mayTake(reply)) {
        this.#waitForWindow(now);
        break;
      }
      if (number < 0) {
        number = this.#word.number(now);
        const at = socket.reserve(this.#datagramBytes);
        writer.begin(socket.output, at);
        isSent = true;
      }
      if (parts.attempts[row] === 0) parts.deadline[row] = this.#word.deadline(now);
      this.#append(row, body, socket.output);
      parts.sent(row, number, now);
      parts.cost[row] = cost;
      parts.expected[row] = reply;
      this.#window.sent(cost, now);
      this.#replies.expected(reply);
      this.#counters.partsSent++;
    }
    if (number >= 0) this.#seal(socket, number);
    return isSent;
  }

  #seal(socket: DatagramSocket, number: number): void {
    socket.commit(this.#writer.seal(number), this.#peer, 0);
    this.#counters.datagramsSent++;
  }

  /** Of a datagram the first part pays for the headers. */
  #requestBytes(body: number, isFirst: boolean): number {
    return PART_HEADER_BYTES + padded(body) + (isFirst ? REQUEST_HEADER_BYTES + OVERHEAD_BYTES : 0);
  }

  #replyBytes(row: number, isFirst: boolean): number {
    const isRead = this.user.target.type[this.user.placeOf(row)] === MessageType.Read;
    const body = isRead ? padded(this.parts.bytes[row] as number) : 8;
    return MESSAGE_HEADER_BYTES + body + (isFirst ? REPLY_HEADER_BYTES + OVERHEAD_BYTES : 0);
  }

  #bodyBytes(row: number): number {
    const type = this.user.target.type[this.user.placeOf(row)];
    if (type === MessageType.Write) return TARGET_BYTES + (this.parts.bytes[row] as number);
    if (type === MessageType.CompareAndSwap) return TARGET_BYTES + 16;
    return type === MessageType.FetchAndAdd ? TARGET_BYTES + 8 : TARGET_BYTES;
  }

  #append(row: number, body: number, output: Bytes): void {
    const { parts } = this;
    const ring = this.user.target;
    const place = this.user.placeOf(row);
    const writer = this.#writer;
    const type = ring.type[place] as number;
    const window = ring.window[place];
    const at = writer.bodyAt;
    const word = at >> 2;
    const address = parts.address[row] as number;
    const bytes = parts.bytes[row] as number;
    output.words[word] = address;
    output.words[word + 1] = address / TWO_32;
    output.words[word + 2] = bytes;
    output.words[word + 3] = window?.epoch ?? 0;
    const buffer = ring.buffer[place];
    if (type === MessageType.Write && buffer !== undefined) {
      const start = (ring.start[place] as number) + (parts.offset[row] as number);
      const to = at + TARGET_BYTES;
      if (bytes <= SHORT_COPY_BYTES_MAX) copyToStream(output, to, buffer, start, bytes);
      else this.#runtime.memory.copy(output.bytes, to, buffer, start, bytes);
    } else if (body > TARGET_BYTES) {
      output.words[word + 4] = ring.operands[place * 4] as number;
      output.words[word + 5] = ring.operands[place * 4 + 1] as number;
      if (type === MessageType.CompareAndSwap) {
        output.words[word + 6] = ring.operands[place * 4 + 2] as number;
        output.words[word + 7] = ring.operands[place * 4 + 3] as number;
      }
    }
    const extra = dataExtra(window?.id ?? 0, 0);
    const attempt = parts.attempts[row] as number;
    writer.append(
      type,
      parts.id[row] as number,
      extra,
      parts.deadline[row] as number,
      attempt,
      body,
    );
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
    if (this.#state !== 'open') return;
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
    this.#greet();
    return true;
  }

  /** An attempt is given up. */
  #lose(row: number, now: number): void {
    const { parts } = this;
    this.#window.lost(parts.cost[row] as number, now, parts.sentAt[row] as number);
    this.#noLongerExpected(row);
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

  /** Everything that was last sent in that datagram is sent again at once. */
  #loseDatagram(number: number, now: number): void {
    const { parts } = this;
    for (let row = 0; row < PARTS_MAX; row++) {
      if (parts.state[row] === SENT && parts.number[row] === number) this.#lose(row, now);
    }
  }

  /** Something is barred: the node's clock is asked for, now and then. */
  askClock(now: number): void {
    if (this.#socket === undefined || now - this.#clockAskedAt < CLOCK_MS) return;
    this.#clockAskedAt = now;
    if (this.#state === 'open' && now - this.#heardAt > CLOCK_MS) this.#greet();
  }

  // --------------------------------------------------------------------------------- receiving

  received(_socket: DatagramSocket, batch: DatagramBatch): void {
    if (this.#state === 'closed') return;
    const now = this.#runtime.clock.now();
    const { input, starts, lengths } = batch;
    for (let i = 0; i < batch.count; i++) {
      const start = starts[i] as number;
      this.#datagram(input, start, start + (lengths[i] as number), now);
    }
    this.#counters.datagramsReceived += batch.count;
    if (this.#state !== 'open') return;
    this.user.clockHeard(this.#hasPassed);
    this.#loseOvertaken(now);
    if (this.parts.oldestSent() < 0) {
      this.#dueSince = -1;
      this.#socket?.expect(false);
    }
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
      this.#refused(input, start, number, now);
      return;
    }
    const type = messageType(input, start + REPLY_HEADER_BYTES);
    if (type === MessageType.Hello) {
      this.#heardAt = now;
      this.#helloAnswered(input, start, start + REPLY_HEADER_BYTES, end);
      return;
    }
    if (headerWord(input, start, ReplyWord.INCARNATION) !== this.#word.incarnation) {
      this.#counters.dropped++;
      return;
    }
    this.#heard(input, start, number, now);
    this.#repliesIn(input, start + REPLY_HEADER_BYTES, end, now);
  }

  #heard(input: Bytes, start: number, number: number, now: number): void {
    this.#heardAt = now;
    this.#delays.heard();
    this.#word.heardClock(headerWord(input, start, ReplyWord.CLOCK), now);
    const sentAt = this.#word.sentAt(number);
    if (sentAt === undefined || sentAt > now) return;
    if (((number - this.#newest) | 0) > 0 || this.#newest < 0) this.#newest = number;
    if (!this.#word.answered(number)) return;
    const residenceMs = headerWord(input, start, ReplyWord.RESIDENCE) / 1000;
    this.#delays.sample(now - sentAt);
    this.#window.delay(now - sentAt, residenceMs, now);
  }

  #repliesIn(input: Bytes, from: number, end: number, now: number): void {
    for (let at = from; at < end; at += messageLength(input, at)) {
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

  #refused(input: Bytes, start: number, number: number, now: number): void {
    const reason = headerWord(input, start, ReplyWord.RESIDENCE);
    if (reason === DatagramRefusal.CHECKSUM) {
      this.#counters.damaged++;
      if (this.#word.sentAt(number) !== undefined) this.#loseDatagram(number, now);
      return;
    }
    if (!this.#word.mayBelieve(number)) return;
    this.#counters.cookiesRefused++;
    if (this.#state === 'open') this.#greet();
  }

  close(): void {
    this.#state = 'closed';
    this.#tellBegun();
    this.#hello?.cancel();
    this.#timer?.cancel();
    this.#pace?.cancel();
    this.#again?.cancel();
    this.#socket?.close();
  }
}
