/**
 * The serving side of one connection: checks frames, executes messages in order, one at a time,
 * and answers a whole batch in one frame.
 *
 *   NEW --hello--> GREETING --admitted--> OPEN --> ENDED
 *
 * While it is blocked (output full, a data message waits, a call runs, others have their turn) the
 * stream is paused and the message it stands at stays unconsumed in the input; it goes on where it
 * was.
 */

import { assert } from '../base/assert.js';
import { Status } from '../base/status.js';
import type { Timer } from '../runtime/clock.js';
import type { Bytes, Stream, StreamHandler } from '../runtime/network.js';
import {
  checkFrame,
  FrameWriter,
  type FrameRules,
  HELLO_VERSION,
  malformedName,
  messageExtra,
  messageLength,
  messageSequence,
  messageStatus,
  messageType,
} from '../wire/frame.js';
import {
  FRAME_HEADER_BYTES,
  HELLO_WITHIN_MS,
  MESSAGE_HEADER_BYTES,
  SESSION_SILENCE_MS,
  WORKING_MS,
} from '../wire/limits.js';
import { CALLS, HelloRequest, isCallType, isDataType, MessageType } from '../wire/messages.js';
import { type CallType, type Refused, type Reply } from '../wire/messages.js';
import { encodeReply } from './call-codec.js';
import type { ClientTable, Greeting, Hello } from './clients.js';
import type { FabricCounters, MalformedKind } from './counters.js';
import { badDataForm, replyRoom } from './data-form.js';
import { answerHello, commonVersion } from './hello.js';
import { fabricFaults, unheardSession } from './planted.js';
import type { ResultRecord } from './record.js';
import { type CallHandler, type DataHandler, type DataSession, DONE } from './serve.js';
import { Station, type Stations } from './stations.js';
import type { WaitCause } from './waits.js';
import type { Runtime } from '../runtime/runtime.js';

/** What all sessions of one endpoint share. */
export interface Serving {
  readonly runtime: Runtime;
  readonly counters: FabricCounters;
  readonly clients: ClientTable;
  readonly calls: Map<CallType, CallHandler<CallType>>;
  data: DataHandler | undefined;
  /** Random, of this process; and the memory node's incarnation, which it may set. */
  readonly instance: number;
  incarnation: number;
  /** Of the file that the memory is; 0: it is none. */
  readonly opening: number;
  /** The memory that is lent; 0: none. */
  readonly memoryId: number;
  readonly sessions: Set<Session>;
  readonly stations: Stations;
}

/** How often sessions are looked at: seldom, so that an idle process stays idle. */
export const LOOK_MS = 10_000;

/** So long one batch may go on with messages that can each take milliseconds. */
const TURN_MS = 5;

/** What one takes beside its buffers, roughly. */
const SESSION_BYTES = 1024;

type State = 'new' | 'greeting' | 'open' | 'ended';
/** Why nothing more is executed at the moment. */
type Blocked = 'no' | 'room' | 'wait' | 'call' | 'hello' | 'turn' | 'end';

/** As which waits are shown; the others are not the request's. */
const WAITS_FOR: Readonly<Partial<Record<Blocked, WaitCause>>> = {
  wait: 'memory',
  call: 'call',
  room: 'reader',
};

/** A reply that is not made in place; it waits here for room. */
interface MadeReply {
  readonly type: number;
  readonly status: number;
  readonly sequence: number;
  readonly body: Uint8Array;
}

export class Session implements StreamHandler, DataSession, Greeting {
  slot = -1;
  client = 0;
  sinceMs = Infinity;
  replyAt = 0;
  readonly mayWait = true;
  hello!: Hello;
  readonly #serving: Serving;
  readonly #stream: Stream;
  readonly #writer: FrameWriter;
  readonly #rules: FrameRules;
  readonly #helloTimer: Timer;
  #state: State = 'new';
  #blocked: Blocked = 'no';
  #record: ResultRecord | undefined;
  #executed = 0;
  /** Of the message that is being executed. */
  #type = 0;
  #blockedAtMs = 0;
  #isFinished = false;
  #isDismissed = false;
  /** When the first message of this batch that can take long was done; -1: none was. */
  #longSince = -1;
  /** The frame that the input begins with: its length (0: not checked yet), and what is done. */
  #frameBytes = 0;
  #frameDone = 0;
  #working: Timer | undefined;
  /** How often it was looked at since something came. */
  #silentLooks = 0;
  #isCallRunning = false;
  #made: MadeReply | undefined;
  /** Close once the reply that stands in `#made` is sent. */
  #lastReason = '';

  constructor(serving: Serving, stream: Stream) {
    this.#serving = serving;
    this.#stream = stream;
    this.#writer = new FrameWriter(stream, serving.runtime.checksum, true);
    this.#rules = {
      checksum: serving.runtime.checksum,
      version: HELLO_VERSION,
      flags: 0,
      acceptsWrongChecksum: () => fabricFaults.checksumNotVerified,
    };
    this.#helloTimer = serving.runtime.timers.after(HELLO_WITHIN_MS, () => this.#checkHelloCame());
  }

  get output(): Bytes {
    return this.#stream.output;
  }

  /** Of memory, with the stream's output and without its input. */
  get stateBytes(): number {
    return SESSION_BYTES + this.output.bytes.byteLength;
  }

  // ----------------------------------------------------------------------------------- input

  received(stream: Stream, input: Bytes, start: number, end: number): number {
    const { stations } = this.#serving;
    stations.begin();
    const consumed = this.#take(stream, input, start, end);
    if (stations.isOn) stations.end();
    return consumed;
  }

  #take(stream: Stream, input: Bytes, start: number, end: number): number {
    let at = start;
    this.#silentLooks = 0;
    this.#longSince = -1;
    if (this.#made !== undefined) this.#sendMade();
    while (this.#blocked === 'no' && this.#state !== 'ended') {
      if (this.#frameBytes === 0 && !this.#openFrame(input, at, end)) break;
      this.#executeFrame(input, at);
      // While blocked it stays in the input, so that `resume` has something to show.
      if (this.#frameDone < this.#frameBytes || this.#isBlocked()) break;
      at += this.#frameBytes;
      this.#frameBytes = 0;
    }
    if (this.#isOver()) return at - start;
    this.#flush();
    if (this.#lastReason !== '' && this.#made === undefined) this.#close(this.#lastReason);
    else if (this.#blocked !== 'no') stream.pause();
    return at - start;
  }

  #flush(): void {
    const { stations } = this.#serving;
    if (!stations.isOn) return this.#writer.flush();
    this.#writer.seal();
    stations.lap(Station.REPLY);
    this.#writer.flush();
    stations.lap(Station.SEND);
  }

  /** As a method, because a handler that was called may have ended this session. */
  #isOver(): boolean {
    return this.#state === 'ended';
  }

  #isBlocked(): boolean {
    return this.#blocked !== 'no';
  }

  /** Checks the frame at `at`; false when it is not all there, or wrong. */
  #openFrame(input: Bytes, at: number, end: number): boolean {
    const length = checkFrame(input, at, end, this.#rules);
    if (length === 0) return false;
    if (length < 0) {
      this.#malformed(malformedName(length) as MalformedKind);
      return false;
    }
    this.#serving.counters.framesReceived++;
    this.#frameBytes = length;
    this.#frameDone = FRAME_HEADER_BYTES;
    return true;
  }

  /** Executes from `#frameDone` on, until the frame's end or until it is blocked. */
  #executeFrame(input: Bytes, frame: number): void {
    const end = frame + this.#frameBytes;
    let at = frame + this.#frameDone;
    const first = this.#executed;
    while (at < end && this.#executeMessage(input, at)) {
      at += messageLength(input, at);
      if (this.#isBlocked()) break;
    }
    this.#frameDone = at - frame;
    this.#serving.counters.messagesExecuted += (this.#executed - first) | 0;
  }

  /** True when the message is done with, or has been taken over; false: again, or never. */
  #executeMessage(input: Bytes, at: number): boolean {
    const type = messageType(input, at);
    if (messageStatus(input, at) !== 0) return this.#malformed('message');
    // Wherever the client begins to count.
    if (this.#state !== 'open') return this.#greet(input, at, type);
    const sequence = messageSequence(input, at);
    if (sequence !== (this.#executed + 1) >>> 0) return this.#malformed('sequence');
    if (isDataType(type)) return this.#executeData(input, at, type);
    if (type === MessageType.Goodbye) return this.#sayGoodbye();
    return this.#executeCall(input, at, type);
  }

  // ------------------------------------------------------------------------------------ data

  #executeData(input: Bytes, at: number, type: number): boolean {
    const data = this.#serving.data;
    if (data === undefined) return this.#answerWithoutMemory(type);
    if (badDataForm(input, at, type)) return this.#malformed('body');
    if (!this.#writer.room(replyRoom(input, at + MESSAGE_HEADER_BYTES, type)))
      return this.#blockOn('room');
    this.#type = type;
    this.#isFinished = false;
    this.replyAt = this.#writer.bodyAt;
    const { stations } = this.#serving;
    if (stations.isOn) stations.lap(Station.CHECK);
    const window = messageExtra(input, at);
    if (type === MessageType.Write && fabricFaults.acknowledgedBeforeApplied) {
      return this.#acknowledgeUnapplied(data, input, at, window);
    }
    const progress = data.execute(this, input, at + MESSAGE_HEADER_BYTES, type, window);
    if (progress !== DONE) return this.#isDismissed ? this.#endEarly() : this.#blockOn('wait');
    assert(this.#isFinished, 'a data message is done and has no reply');
    if (stations.isOn) this.#countRequest(type);
    if (type === MessageType.Reserve) this.#letOthersWork();
    return true;
  }

  #countRequest(type: number): void {
    const { stations } = this.#serving;
    stations.lap(Station.REPLY);
    stations.count(type);
  }

  #answerWithoutMemory(type: number): boolean {
    if (type !== MessageType.Ping) return this.#refuse(type, 'this process lends no memory');
    if (!this.#writer.room(0)) return this.#blockOn('room');
    this.#writer.append(type, Status.Ok, this.#advance(), 0, 0);
    return true;
  }

  finish(status: Status, bytes: number): void {
    const sequence = this.#next();
    const type = this.#type;
    this.#writer.append(type, status, sequence, bytes, bytes);
    if (type > MessageType.Read && type < MessageType.Fence) {
      this.#record?.note(sequence, type, status, 0, 0);
    }
  }

  finishValue(status: Status, low: number, high: number): void {
    const sequence = this.#next();
    const type = this.#type;
    const isAtomic = type !== MessageType.Reserve;
    const hasBody = isAtomic && status === Status.Ok;
    if (hasBody) {
      const word = this.replyAt >> 2;
      this.output.words[word] = low;
      this.output.words[word + 1] = high;
    }
    this.#writer.append(type, status, sequence, isAtomic ? 0 : low, hasBody ? 8 : 0);
    this.#record?.note(sequence, type, status, low, high);
  }

  /** The sequence of the message that is being finished, which counts as executed from here on. */
  #next(): number {
    assert(!this.#isFinished, 'a data message was finished twice');
    this.#isFinished = true;
    return this.#advance();
  }

  #advance(): number {
    const sequence = (this.#executed + 1) >>> 0;
    this.#executed = sequence;
    if (this.#record !== undefined) this.#record.executed = sequence;
    return sequence;
  }

  dismiss(): void {
    this.#isDismissed = true;
  }

  /** What was executed is answered first. */
  #endEarly(): false {
    this.#serving.counters.sessionsDismissed++;
    this.#lastReason = 'what it sends may be from before a region was elsewhere';
    return this.#blockOn('end');
  }

  resume(): void {
    if (this.#blocked !== 'wait' || this.#state !== 'open') return;
    this.#unblock();
  }

  /** A planted bug: the reply goes out, the write happens later, or never. */
  #acknowledgeUnapplied(data: DataHandler, input: Bytes, at: number, window: number): boolean {
    const body = new Uint8Array(input.bytes.subarray(at, at + messageLength(input, at)));
    const late: Bytes = {
      bytes: body,
      view: new DataView(body.buffer),
      words: new Int32Array(body.buffer),
    };
    const unheard = unheardSession(this, this.output);
    this.#serving.runtime.timers.after(1, () => {
      data.execute(unheard, late, MESSAGE_HEADER_BYTES, MessageType.Write, window);
    });
    this.finish(Status.Ok, 0);
    return true;
  }

  // ----------------------------------------------------------------------------------- calls

  #executeCall(input: Bytes, at: number, type: number): boolean {
    const handler = isCallType(type) ? this.#serving.calls.get(type) : undefined;
    if (handler === undefined || !isCallType(type)) {
      return this.#refuse(type, 'this process does not serve that call');
    }
    this.#serving.stations.drop();
    const end = at + messageLength(input, at);
    const request = CALLS[type].request.decode(input, at + MESSAGE_HEADER_BYTES, end);
    if (typeof request === 'string') return this.#malformed('body', request);
    const answer = handler(request as never, this);
    if (this.#isDismissed) return this.#endEarly();
    if (answer instanceof Promise) {
      this.#isCallRunning = true;
      this.#type = type;
      this.#blockOn('call');
      // A rejection is a bug and is left to end the process.
      void answer.then((reply) => this.#called(type, reply));
    } else {
      this.#makeReply(type, answer);
      this.#sendMade();
      this.#letOthersWork();
    }
    return true;
  }

  #called(type: CallType, reply: Reply<CallType>): void {
    this.#isCallRunning = false;
    this.#serving.counters.messagesExecuted++;
    this.#makeReply(type, reply);
    if (this.#state === 'ended') this.#serving.clients.left(this);
    else this.#unblock();
  }

  #refuse(type: number, reason: string): boolean {
    const refused: Refused = { status: Status.Unsupported, reason };
    this.#makeReply(type, refused);
    this.#sendMade();
    return true;
  }

  /** The call is executed: remembers its result, and has its reply stand ready. */
  #makeReply(type: number, reply: Reply<CallType>): void {
    const encoded = isDataType(type) ? { status: reply.status, body: NOTHING } : undefined;
    const { status, body } = encoded ?? encodeReply(type, reply);
    const sequence = this.#advance();
    if (!isCallType(type) || !CALLS[type].repeatable) {
      this.#record?.noteCall(sequence, type, status, body);
    }
    this.#made = { type, status, sequence, body };
  }

  /** Appends the reply that stands ready; blocks while there is no room for it. */
  #sendMade(): void {
    const made = this.#made;
    if (made === undefined || this.#state === 'ended') return;
    if (!this.#writer.room(made.body.length)) {
      this.#blockOn('room');
      return;
    }
    this.#writer.output.bytes.set(made.body, this.#writer.bodyAt);
    this.#writer.append(made.type, made.status, made.sequence, 0, made.body.length);
    this.#made = undefined;
    if (made.type !== MessageType.Hello) return;
    // The agreed version begins behind the reply that says which one it is.
    this.#writer.seal();
    this.#writer.version = this.#rules.version;
  }

  // ----------------------------------------------------------------------------------- hello

  #greet(input: Bytes, at: number, type: number): boolean {
    if (this.#state !== 'new' || type !== MessageType.Hello) return this.#malformed('hello');
    const end = at + messageLength(input, at);
    const hello = HelloRequest.decode(input, at + MESSAGE_HEADER_BYTES, end);
    if (typeof hello === 'string') return this.#malformed('hello', hello);
    this.#helloTimer.cancel();
    this.hello = hello;
    this.#executed = messageSequence(input, at);
    if (commonVersion(hello) === 0) {
      this.#refuseHello(Status.Unsupported, 'no version of the protocol in common');
      return true;
    }
    if (hello.memoryId !== 0 && hello.memoryId !== this.#serving.memoryId) {
      this.#refuseHello(Status.NotFound, 'the memory that was meant is not here');
      return true;
    }
    this.#state = 'greeting';
    this.#blocked = 'hello';
    const status = this.#serving.clients.greet(this);
    if (status === Status.Ok) this.#sayWorkingLater();
    if (status === Status.Busy) this.#refuseHello(status, 'too many clients');
    else if (status !== Status.Ok) this.#refuseHello(status, 'a newer connection is known');
    this.#sendMade();
    return !this.#isOver();
  }

  admitted(slot: number, record: ResultRecord, previous: ResultRecord | undefined): void {
    this.slot = slot;
    this.client = this.hello.client;
    this.sinceMs = this.#serving.runtime.clock.now();
    this.#record = record;
    record.executed = this.#executed;
    this.#state = 'open';
    const version = commonVersion(this.hello);
    const { body, missed } = answerHello(this.hello, version, previous, this.#serving);
    this.#serving.counters.resultsReplayed += missed;
    this.#made = { type: MessageType.Hello, status: Status.Ok, sequence: this.#executed, body };
    this.#rules.version = version;
    this.#unblock();
  }

  #refuseHello(status: Status, reason: string): void {
    assert(status !== Status.Ok);
    this.#serving.counters.hellosRefused++;
    this.#blocked = 'hello';
    const { body } = encodeReply(MessageType.Hello, { status, reason });
    this.#made = { type: MessageType.Hello, status, sequence: this.#executed, body };
    this.#lastReason = reason;
    this.#sendMade();
  }

  #checkHelloCame(): void {
    if (this.#state !== 'new') return;
    this.#serving.counters.helloLate++;
    this.#close('no hello came in time');
  }

  #sayGoodbye(): boolean {
    this.#close('goodbye');
    this.#serving.clients.goodbye(this.client);
    return false;
  }

  // ----------------------------------------------------------------------- blocking, ending

  /** What is waited for here: not for the client, and so the client must not take it for lost. */
  #isWorking(): boolean {
    const isGreeting = this.#blocked === 'hello' && this.#state === 'greeting';
    return this.#blocked === 'call' || this.#blocked === 'wait' || isGreeting;
  }

  /** At most one timer, whatever is waited for by the time that it is due. */
  #sayWorkingLater(): void {
    if (!this.#isWorking()) return;
    this.#working ??= this.#serving.runtime.timers.after(WORKING_MS, () => {
      this.#working = undefined;
      if (!this.#isWorking() || this.#isOver()) return;
      // The greeting itself counts as executed already.
      const sequence = (this.#executed + (this.#blocked === 'hello' ? 0 : 1)) >>> 0;
      if (this.#writer.room(0)) this.#writer.append(MessageType.Working, 0, sequence, 0, 0);
      this.#writer.flush();
      this.#sayWorkingLater();
    });
  }

  #blockOn(what: Blocked): false {
    this.#blocked = what;
    this.#blockedAtMs = this.#serving.runtime.clock.now();
    this.#sayWorkingLater();
    if (what === 'room') this.#serving.counters.outputFull++;
    return false;
  }

  /** After what works on a whole region: many of them in one batch would hold up everybody. */
  #letOthersWork(): void {
    const { clock, timers } = this.#serving.runtime;
    const now = clock.now();
    if (this.#longSince < 0) this.#longSince = now;
    if (this.#blocked !== 'no' || now - this.#longSince < TURN_MS) return;
    this.#blockOn('turn');
    timers.after(0, () => {
      if (this.#blocked === 'turn' && !this.#isOver()) this.#unblock();
    });
  }

  /** Goes on with the input, soon: never from within the call that unblocked it. */
  #unblock(): void {
    const cause = WAITS_FOR[this.#blocked];
    if (cause !== undefined) {
      const { waits } = this.#serving.stations;
      waits.note(cause, this.#blockedAtMs, this.#type, this.client);
    }
    this.#blocked = 'no';
    this.#stream.resume();
  }

  drained(): void {
    if (this.#blocked === 'room' && this.#state !== 'ended') this.#unblock();
  }

  closed(_stream: Stream, _reason: string): void {
    this.#finishEnd();
  }

  end(reason: string): void {
    this.#close(reason);
  }

  /** Called every `LOOK_MS`: ends a session whose client is gone without a word. */
  look(): void {
    // A message that waits here holds back what follows, so nothing more is expected.
    if (this.#blocked !== 'no' && this.#blocked !== 'room') this.#silentLooks = 0;
    else this.#silentLooks += 1;
    if (this.#silentLooks <= SESSION_SILENCE_MS / LOOK_MS) return;
    this.#serving.counters.sessionsSilent++;
    this.#close('nothing was heard for too long');
  }

  #malformed(kind: MalformedKind, detail = ''): false {
    this.#serving.counters.malformed[kind]++;
    const reason = detail === '' ? `malformed: ${kind}` : `malformed: ${detail}`;
    this.#serving.runtime.log.write('debug', 'connection refused', {
      code: 'CONNECTION_REFUSED',
      remote: this.#stream.remote,
      reason,
    });
    this.#close(reason);
    return false;
  }

  #close(reason: string): void {
    if (this.#state === 'ended') return;
    this.#stream.close(reason);
    this.#finishEnd();
  }

  #finishEnd(): void {
    if (this.#state === 'ended') return;
    const wasOpen = this.#state === 'open';
    const wasKnown = wasOpen || this.#state === 'greeting';
    this.#state = 'ended';
    this.#helloTimer.cancel();
    this.#working?.cancel();
    this.#serving.sessions.delete(this);
    this.#serving.counters.sessionsClosed++;
    if (wasOpen) this.#serving.data?.closed(this);
    if (wasKnown && !this.#isCallRunning) this.#serving.clients.left(this);
  }
}

const NOTHING = new Uint8Array(0);
