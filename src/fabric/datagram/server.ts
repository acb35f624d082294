/**
 * The serving side of datagrams: checks each, executes its parts in place, and answers; see
 * docs/internals/datagrams.md, whose first table is `#execute`. Keeps nothing per client: what it
 * remembers is in one record, and what may not be executed now is given back (`AGAIN`).
 */

import { assert } from '../../base/assert.js';
import { Status } from '../../base/status.js';
import {
  type Bytes,
  type DatagramBatch,
  type DatagramHandler,
  type DatagramSocket,
  PEER_BYTES,
} from '../../runtime/network.js';
import type { Runtime } from '../../runtime/runtime.js';
import {
  BadDatagram,
  badDatagramName,
  checkDatagram,
  DATAGRAM_BYTES_MAX,
  DATAGRAM_BYTES_SURE,
  DATAGRAM_VERSION,
  DatagramHelloReply,
  DatagramHelloRequest,
  DatagramRefusal,
  type DatagramRules,
  DEADLINE_AHEAD_MS_MAX,
  headerWord,
  PART_HEADER_BYTES,
  partAttempt,
  partDeadline,
  PartFlag,
  partFlags,
  REPLY_HEADER_BYTES,
  replyExtra,
  ReplyWriter,
  REQUEST_HEADER_BYTES,
  requestCount,
  RequestFlag,
  RequestWord,
} from '../../wire/datagram.js';
import { messageExtra, messageLength, messageSequence, messageType } from '../../wire/frame.js';
import { padded } from '../../wire/frame.js';
import { MESSAGE_HEADER_BYTES } from '../../wire/limits.js';
import { CAPABILITIES, MessageType, reservationOf } from '../../wire/messages.js';
import type { DatagramServerCounters } from '../counters.js';
import { badDataBody, replyRoom } from '../data-form.js';
import { fabricFaults } from '../planted.js';
import { executeInTwoSteps, isInTwoSteps } from './planted-steps.js';
import { type DataHandler, type DataSession, DONE } from '../serve.js';
import { Station, Stations } from '../stations.js';
import { Cookies } from './cookie.js';
import { incarnationOf } from './incarnation.js';
import { ChangeRecord, deadlineOf, Verdict } from './record.js';

const TWO_32 = 2 ** 32;
/** Refusals and NACKs for one batch: they are hints, and cost as much as an answer. */
const REFUSALS_PER_BATCH_MAX = 64;

/** The answer to a ping, all but its header and that of its message, is as long as the ping. */
const PING_SHORTER_BYTES =
  REQUEST_HEADER_BYTES + PART_HEADER_BYTES - REPLY_HEADER_BYTES - MESSAGE_HEADER_BYTES;
/** In place of a status, of what was withdrawn. */
const WITHDRAWN = 0xffff;

/** The reply to a part must fit into one datagram. */
const REPLY_BODY_BYTES_MAX = DATAGRAM_BYTES_MAX - REPLY_HEADER_BYTES - MESSAGE_HEADER_BYTES;

export interface DatagramServing {
  readonly runtime: Runtime;
  readonly counters: DatagramServerCounters;
  /** What executes parts; undefined: this process lends no memory. */
  readonly data: () => DataHandler | undefined;
  /** The memory that is lent; 0: none. */
  readonly memoryId: number;
  /** What times the parts; without it nothing does. */
  readonly stations?: Stations;
  /** Random, of this process. */
  readonly instance: number;
  /** Rows of the record, a power of 2. */
  readonly recordRows?: number | undefined;
}

/** The part that is being executed, as its handler sees it; one object for all. */
class PartSession implements DataSession {
  readonly slot = -1;
  readonly mayWait = false;
  sinceMs = 0;
  client = 0;
  output: Bytes;
  replyAt = 0;
  /** What came of it. */
  isFinished = false;
  status: Status = Status.Ok;
  bytes = 0;
  low = 0;
  high = 0;

  constructor(output: Bytes) {
    this.output = output;
  }

  dismiss(): void {
    // It is given back, as whatever its handler does not end.
  }

  begin(output: Bytes, replyAt: number, sinceMs: number): void {
    this.output = output;
    this.sinceMs = sinceMs;
    this.replyAt = replyAt;
    this.isFinished = false;
    this.low = 0;
    this.high = 0;
  }

  finish(status: Status, bytes: number): void {
    assert(!this.isFinished, 'a part was finished twice');
    this.isFinished = true;
    this.status = status;
    this.bytes = bytes;
  }

  finishValue(status: Status, low: number, high: number): void {
    this.finish(status, 0);
    this.low = low;
    this.high = high;
  }

  resume(): void {
    assert(false, 'a part does not wait');
  }
}

export class DatagramServer implements DatagramHandler {
  /** Of this process; never 0. Changes under another one are not executed here. */
  readonly incarnation: number;
  readonly #serving: DatagramServing;
  readonly #counters: DatagramServerCounters;
  readonly #stations: Stations;
  readonly #cookies: Cookies;
  readonly #record: ChangeRecord;
  readonly #rules: DatagramRules;
  readonly #writer: ReplyWriter;
  readonly #session: PartSession;
  /** When the batch arrived. */
  #arrivedMs = 0;
  #refusals = 0;

  // Of the datagram that is being answered.
  /**
   * The clock, in whole ms, by which its parts are judged and which its replies say. It is read
   * once: what is judged later is judged by a clock that is not before any that was said.
   */
  #nowMs = 0;
  #socket!: DatagramSocket;
  #peers: Uint8Array = new Uint8Array(0);
  #peerAt = 0;
  /** How long it had lain here before the batch was shown. */
  #ageMs = 0;
  #clientLow = 0;
  #clientHigh = 0;
  #link = 0;
  #number = 0;
  /** A reply that gets longer is continued in another datagram. */
  #replyBytesMax = 0;
  #isOpen = false;

  constructor(serving: DatagramServing) {
    const { entropy, checksum } = serving.runtime;
    this.#serving = serving;
    this.#counters = serving.counters;
    this.#stations = serving.stations ?? new Stations(serving.runtime.clock);
    this.incarnation = incarnationOf(serving.instance);
    this.#cookies = new Cookies(entropy, PEER_BYTES);
    this.#record = new ChangeRecord({ seed: entropy.u32(), rows: serving.recordRows });
    this.#counters.recordRowsMax = this.#record.capacity;
    this.#rules = {
      checksum,
      isReply: false,
      acceptsWrongChecksum: () => fabricFaults.checksumNotVerified,
    };
    this.#writer = new ReplyWriter(checksum);
    this.#writer.incarnation = this.incarnation;
    const none = new ArrayBuffer(8);
    this.#session = new PartSession({
      bytes: new Uint8Array(none),
      view: new DataView(none),
      words: new Int32Array(none),
    });
  }

  received(socket: DatagramSocket, batch: DatagramBatch): void {
    const { input, count, starts, lengths } = batch;
    const stations = this.#stations;
    this.#arrivedMs = this.#serving.runtime.clock.now();
    stations.begin();
    this.#refusals = 0;
    this.#socket = socket;
    this.#peers = batch.peers;
    const { ages } = batch;
    for (let i = 0; i < count; i++) {
      this.#peerAt = i * PEER_BYTES;
      this.#ageMs = ages[i] as number;
      const start = starts[i] as number;
      this.#take(input, start, start + (lengths[i] as number));
    }
    socket.flush();
    if (stations.isOn) this.#endLook();
    this.#counters.recordRows = this.#record.rows;
    this.#counters.recordBytes = this.#record.bytes;
  }

  #endLook(): void {
    this.#stations.lap(Station.SEND);
    this.#stations.end();
  }

  #take(input: Bytes, start: number, end: number): void {
    this.#counters.datagramsReceived++;
    this.#nowMs = Math.floor(this.#serving.runtime.clock.now());
    const count = checkDatagram(input, start, end, this.#rules);
    if (count < 0) {
      this.#counters.malformed[badDatagramName(count)]++;
      if (count === BadDatagram.CHECKSUM) this.#nack(input, start);
      return;
    }
    this.#begin(input, start, end - start);
    const isGood = this.#cookies.isGood(
      this.#arrivedMs,
      this.#peers,
      this.#peerAt,
      this.#clientLow,
      this.#clientHigh,
      headerWord(input, start, RequestWord.COOKIE_LOW),
      headerWord(input, start, RequestWord.COOKIE_HIGH),
    );
    const isKnown = isGood || fabricFaults.cookiesNotChecked;
    const isMeant =
      headerWord(input, start, RequestWord.INCARNATION) === this.incarnation ||
      fabricFaults.incarnationNotCompared;
    const isRefused = this.#answerParts(input, start, isKnown, isKnown && isMeant);
    this.#seal();
    if (!isRefused) return;
    if (isKnown) this.#counters.incarnationsRefused++;
    else this.#counters.cookiesRefused++;
    this.#refuse(isKnown ? DatagramRefusal.INCARNATION : DatagramRefusal.COOKIE);
  }

  #begin(input: Bytes, start: number, bytes: number): void {
    this.#clientLow = headerWord(input, start, RequestWord.CLIENT_LOW);
    this.#clientHigh = headerWord(input, start, RequestWord.CLIENT_HIGH);
    this.#link = headerWord(input, start, RequestWord.LINK);
    this.#number = headerWord(input, start, RequestWord.NUMBER);
    this.#session.client = this.#clientHigh * TWO_32 + this.#clientLow;
    this.#writer.link = this.#link;
    this.#writer.number = this.#number;
    // A path that was probed by pings carries answers of their length, and no longer ones.
    this.#replyBytesMax = Math.max(bytes - PING_SHORTER_BYTES, DATAGRAM_BYTES_SURE);
  }

  /** True when there was something that `mayExecute` would have been needed for. */
  #answerParts(input: Bytes, start: number, isKnown: boolean, mayExecute: boolean): boolean {
    let at = start + REQUEST_HEADER_BYTES;
    let isRefused = false;
    let hellos = 0;
    for (let left = requestCount(input, start); left > 0; left--) {
      const type = messageType(input, at);
      if (type === MessageType.Ping) this.#ping(input, at, isKnown);
      // One cookie is enough, and each costs a hash.
      else if (type === MessageType.Hello) hellos += hellos === 0 ? this.#hello(input, at) : 0;
      else if (mayExecute) this.#execute(input, at, type);
      else isRefused = true;
      at += messageLength(input, at);
    }
    return isRefused;
  }

  // ------------------------------------------------------------------------------------ parts

  /** The order of the checks is that of the table. */
  #execute(input: Bytes, at: number, type: number): void {
    const isChange = type !== MessageType.Read;
    const isWithdrawal = partFlags(input, at) === RequestFlag.WITHDRAW;
    if (isWithdrawal ? !isChange || !isDataType(type) : isBadPart(input, at, type)) {
      this.#counters.malformed.body++;
      return;
    }
    if (this.#stations.isOn) this.#stations.lap(Station.CHECK);
    const now = this.#nowMs;
    const deadline = deadlineOf(partDeadline(input, at), now);
    if (isChange) {
      const row = this.#find(input, at, deadline);
      if (row >= 0 && !isExecutedAgain(input, at))
        return this.#answerFromRecord(input, at, type, row);
      if (this.#stations.isOn) this.#stations.lap(Station.RECORD);
    }
    if (deadline - now > DEADLINE_AHEAD_MS_MAX) {
      this.#counters.malformed.deadline++;
      return this.#giveBack(input, at, type, Status.Invalid);
    }
    if (deadline <= now && !(isChange && fabricFaults.lateChangeExecuted)) {
      return this.#judge(
        input,
        at,
        type,
        isChange ? this.#record.verdict(deadline) : Verdict.NEVER,
      );
    }
    if (isChange && !this.#record.makeRoom(now)) {
      return this.#giveBack(input, at, type, Status.Busy);
    }
    if (isWithdrawal) return this.#withdraw(input, at, type, deadline, now);
    if (!this.#run(input, at, type)) return this.#giveBack(input, at, type, Status.Busy);
    const stations = this.#stations;
    if (isChange && deadline > now) {
      const { status, low, high } = this.#session;
      this.#enter(input, at, deadline, now, status, low, high);
      if (stations.isOn) stations.lap(Station.RECORD);
    }
    this.#answer(input, at, type);
    if (stations.isOn) stations.count(type);
  }

  /** Copies of it that come from now on meet the record. */
  #withdraw(input: Bytes, at: number, type: number, deadline: number, now: number): void {
    this.#counters.withdrawn++;
    if (deadline > now && !fabricFaults.withdrawalNotRecorded) {
      this.#enter(input, at, deadline, now, WITHDRAWN, 0, 0);
    }
    this.#judge(input, at, type, Verdict.NEVER);
  }

  /** By what a part is remembered, beside its client, link and deadline. */
  #idOf(input: Bytes, at: number): number {
    return fabricFaults.recordedByDatagram ? this.#number : messageSequence(input, at);
  }

  #find(input: Bytes, at: number, deadline: number): number {
    const id = this.#idOf(input, at);
    return this.#record.find(this.#clientLow, this.#clientHigh, this.#link, id, deadline);
  }

  #enter(
    input: Bytes,
    at: number,
    deadline: number,
    now: number,
    status: number,
    low: number,
    high: number,
  ): void {
    const id = this.#idOf(input, at);
    const record = this.#record;
    const row = record.enter(this.#clientLow, this.#clientHigh, this.#link, id, deadline, now);
    assert(row >= 0, 'a change was executed that the record has no room for');
    record.setResult(row, status, low, high);
  }

  /** Executes the part; its result is in the session. False: not now, and nothing was changed. */
  #run(input: Bytes, at: number, type: number): boolean {
    const body = at + PART_HEADER_BYTES;
    const data = this.#serving.data();
    this.#makeRoom(replyRoom(input, body, type));
    const session = this.#session;
    // What was sent earlier is not executed any more.
    const sinceMs = this.#nowMs - DEADLINE_AHEAD_MS_MAX;
    session.begin(this.#socket.output, this.#writer.bodyAt, sinceMs);
    if (data === undefined) {
      session.finish(Status.Unsupported, 0);
      return true;
    }
    const extra = messageExtra(input, at);
    const progress = isInTwoSteps(type)
      ? executeInTwoSteps(this.#serving.runtime, data, session, input, body, type, extra)
      : data.execute(session, input, body, type, extra);
    if (progress !== DONE) return false;
    assert(session.isFinished, 'a part is done and has no result');
    this.#counters.partsExecuted++;
    return true;
  }

  #answer(input: Bytes, at: number, type: number): void {
    const { status, bytes, low, high } = this.#session;
    if (type === MessageType.Read) this.#append(input, at, type, 0, status, bytes, bytes);
    else this.#appendResult(input, at, type, status, low, high);
  }

  #answerFromRecord(input: Bytes, at: number, type: number, row: number): void {
    const record = this.#record;
    const status = record.status(row);
    if (status === WITHDRAWN) return this.#judge(input, at, type, Verdict.NEVER);
    this.#counters.partsRecorded++;
    this.#makeRoom(DatagramHelloReply.fixedBytes);
    this.#appendResult(input, at, type, status as Status, record.low(row), record.high(row));
  }

  /** What a change has come to: of an atomic that was executed, with the old word. */
  #appendResult(
    input: Bytes,
    at: number,
    type: number,
    status: Status,
    low: number,
    high: number,
  ): void {
    const hasBody = type !== MessageType.Write && status === Status.Ok;
    if (hasBody) {
      const word = this.#writer.bodyAt >> 2;
      this.#socket.output.words[word] = low;
      this.#socket.output.words[word + 1] = high;
    }
    this.#append(input, at, type, 0, status, 0, hasBody ? 8 : 0);
  }

  /** Nothing was done, nothing is remembered. */
  #giveBack(input: Bytes, at: number, type: number, status: Status): void {
    this.#counters.again++;
    this.#makeRoom(0);
    this.#append(input, at, type, PartFlag.AGAIN, status, 0, 0);
  }

  #judge(input: Bytes, at: number, type: number, verdict: Verdict): void {
    this.#makeRoom(0);
    if (verdict === Verdict.NEVER) {
      this.#counters.never++;
      this.#append(input, at, type, PartFlag.NEVER, Status.Timeout, 0, 0);
    } else {
      this.#counters.late++;
      this.#append(input, at, type, PartFlag.LATE, Status.OutcomeUnknown, 0, 0);
    }
  }

  /** Asks for an answer of its own length, which whoever has no cookie does not get. */
  #ping(input: Bytes, at: number, isKnown: boolean): void {
    const asked = messageLength(input, at) - PART_HEADER_BYTES;
    const bytes = isKnown ? asked : 0;
    const stations = this.#stations;
    if (stations.isOn) stations.lap(Station.CHECK);
    this.#counters.pings++;
    this.#makeRoom(bytes);
    const from = this.#writer.bodyAt;
    this.#socket.output.bytes.fill(0, from, from + bytes);
    this.#append(input, at, MessageType.Ping, 0, Status.Ok, bytes, bytes);
    if (stations.isOn) stations.count(MessageType.Ping);
  }

  /** Returns how many hellos were answered. */
  #hello(input: Bytes, at: number): number {
    const body = at + PART_HEADER_BYTES;
    const hello = DatagramHelloRequest.decode(input, body, at + messageLength(input, at));
    if (typeof hello === 'string') {
      this.#counters.malformed.body++;
      return 0;
    }
    this.#counters.hellos++;
    this.#makeRoom(DatagramHelloReply.fixedBytes);
    if (hello.versionMin > DATAGRAM_VERSION || hello.versionMax < DATAGRAM_VERSION) {
      this.#append(input, at, MessageType.Hello, 0, Status.Unsupported, 0, 0);
      return 1;
    }
    const cookies = this.#cookies;
    cookies.make(this.#arrivedMs, this.#peers, this.#peerAt, this.#clientLow, this.#clientHigh);
    DatagramHelloReply.encode(this.#socket.output, this.#writer.bodyAt, {
      version: DATAGRAM_VERSION,
      capabilities: hello.capabilities & CAPABILITIES,
      memoryId: this.#serving.memoryId,
      cookieLow: cookies.low >>> 0,
      cookieHigh: cookies.high >>> 0,
      receiveBytes: this.#socket.receiveBytes >>> 0,
      datagramBytesMax: DATAGRAM_BYTES_MAX,
    });
    const bytes = DatagramHelloReply.fixedBytes;
    this.#append(input, at, MessageType.Hello, 0, Status.Ok, 0, bytes);
    return 1;
  }

  // ---------------------------------------------------------------------------------- replies

  /** Makes sure that a reply with a body of `bytes` can be appended. */
  #makeRoom(bytes: number): void {
    const writer = this.#writer;
    if (this.#isOpen) {
      if (writer.bytesWith(bytes) <= this.#replyBytesMax) return;
      this.#seal();
    }
    const alone = REPLY_HEADER_BYTES + MESSAGE_HEADER_BYTES + padded(bytes);
    const start = this.#socket.reserve(Math.max(this.#replyBytesMax, alone));
    writer.begin(this.#socket.output, start);
    this.#isOpen = true;
  }

  /** Appends the reply to the part at `at`; `told` is what its `extra` says of its data. */
  #append(
    input: Bytes,
    at: number,
    type: number,
    flags: number,
    status: Status,
    told: number,
    bytes: number,
  ): void {
    const extra = replyExtra(told, partAttempt(input, at));
    this.#writer.append(type, flags, status, messageSequence(input, at), extra, bytes);
  }

  /** Sends the open datagram, if there is a reply in it. */
  #seal(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    if (this.#writer.count === 0) return;
    const { clock } = this.#serving.runtime;
    const residence = Math.round((clock.now() - this.#arrivedMs + this.#ageMs) * 1000);
    this.#commit(this.#writer.seal(this.#nowMs, residence));
    if (this.#stations.isOn) this.#stations.lap(Station.REPLY);
  }

  /** It cannot be told who has sent it; but what stands there was probably not damaged. */
  #nack(input: Bytes, start: number): void {
    this.#writer.link = headerWord(input, start, RequestWord.LINK);
    this.#writer.number = headerWord(input, start, RequestWord.NUMBER);
    if (this.#refuse(DatagramRefusal.CHECKSUM)) this.#counters.nacks++;
  }

  /** False when there were too many in this batch. */
  #refuse(reason: DatagramRefusal): boolean {
    if (this.#refusals >= REFUSALS_PER_BATCH_MAX) {
      this.#counters.refusalsHeldBack++;
      return false;
    }
    this.#refusals++;
    const start = this.#socket.reserve(REPLY_HEADER_BYTES);
    this.#writer.begin(this.#socket.output, start);
    this.#commit(this.#writer.refuse(this.#nowMs, reason));
    return true;
  }

  #commit(bytes: number): void {
    this.#socket.commit(bytes, this.#peers, this.#peerAt);
    this.#counters.datagramsSent++;
  }
}

function isDataType(type: number): boolean {
  return type >= MessageType.Read && type <= MessageType.FetchAndAdd;
}

/** Whether it makes no sense, or its reply would not fit into a datagram. */
function isBadPart(input: Bytes, at: number, type: number): boolean {
  const body = at + PART_HEADER_BYTES;
  return (
    !isDataType(type) ||
    reservationOf(messageExtra(input, at)) !== 0 ||
    badDataBody(input, body, messageLength(input, at) - PART_HEADER_BYTES, type) ||
    replyRoom(input, body, type) > REPLY_BODY_BYTES_MAX
  );
}

/** Planted bugs: a part that is in the record. */
function isExecutedAgain(input: Bytes, at: number): boolean {
  const isRetry = partAttempt(input, at) > 0;
  if (isRetry ? fabricFaults.retryExecutedAgain : fabricFaults.originalExecutedAgain) return true;
  return fabricFaults.changesNotRecorded;
}
