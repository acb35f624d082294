/**
 * A memory node that answers datagrams as the test says, one part at a time: what the client may
 * believe, and when it sends what, is seen here exactly.
 */

import { defined } from '../../../base/assert.js';
import { crc32c } from '../../../base/crc32c.js';
import { Status } from '../../../base/status.js';
import {
  type Address,
  type Bytes,
  type DatagramHandler,
  type DatagramSocket,
  PEER_BYTES,
} from '../../../runtime/network.js';
import type { Runtime } from '../../../runtime/runtime.js';
import {
  checkDatagram,
  type DatagramRefusal,
  DatagramHelloReply,
  DATAGRAM_BYTES_MAX,
  DATAGRAM_BYTES_SURE,
  headerWord,
  partAttempt,
  partDeadline,
  partFlags,
  PART_HEADER_BYTES,
  replyExtra,
  ReplyWriter,
  REQUEST_HEADER_BYTES,
  RequestFlag,
  RequestWord,
} from '../../../wire/datagram.js';
import { messageExtra, messageLength, messageSequence, messageType } from '../../../wire/frame.js';
import { MessageType } from '../../../wire/messages.js';
import type { FakeWorld } from '../../testing/fake-world.js';

const LATENCY_MS = 0.05;

/** One attempt of one part, as the node received it. */
export interface Attempt {
  readonly number: number;
  readonly incarnation: number;
  readonly id: number;
  readonly type: number;
  readonly window: number;
  readonly deadline: number;
  readonly attempt: number;
  readonly isWithdrawal: boolean;
  readonly address: number;
  readonly bytes: number;
  /** Operands and data behind the target. */
  readonly body: Uint8Array;
  readonly atMs: number;
}

export interface Answer {
  readonly status?: Status;
  /** Of `PartFlag`. */
  readonly flags?: number;
  readonly data?: Uint8Array;
}

/** Answers a part; undefined: not at all. */
export type Script = (attempt: Attempt) => Answer | undefined;

export class ScriptedNode {
  /** Every attempt that came. */
  readonly attempts: Attempt[] = [];
  hellos = 0;
  incarnation = 77;
  memoryId = 0;
  /** How long datagrams may be that it hears, and that are heard of it; longer ones vanish. */
  upBytes: number = DATAGRAM_BYTES_SURE;
  downBytes: number = DATAGRAM_BYTES_SURE;
  /** How long datagrams may be as it says itself. */
  takesBytes: number = DATAGRAM_BYTES_MAX;
  /** Of all that came. */
  longestBytes = 0;
  /** As a node answers whose cookie the client does not have. */
  pingAnswerBytesMax = Infinity;
  /** Neither hears nor says anything. */
  isDead = false;
  script: Script = () => ({});
  /** What the clock of the node is ahead of that of the world. */
  clockAheadMs = 5000;
  readonly #world: FakeWorld;
  #socket: ScriptedSocket | undefined;

  constructor(world: FakeWorld) {
    this.#world = world;
  }

  /** Where the client sends from, and to. */
  boundTo = '';
  get sentTo(): Address {
    return this.#socket?.sentTo ?? '';
  }

  /** The addresses of the node's name. */
  lookUp: () => Promise<readonly Address[]> = () => Promise.resolve(['udp://192.0.2.1:1']);

  /** The client's runtime. */
  runtime(): Runtime {
    const runtime = this.#world.runtime();
    const bind = (address: Address, handler: DatagramHandler): Promise<DatagramSocket> => {
      this.boundTo = address;
      this.#socket = new ScriptedSocket(handler, (bytes) => this.#arrives(bytes));
      return Promise.resolve(this.#socket);
    };
    const lookUp = (): Promise<readonly Address[]> => this.lookUp();
    return { ...runtime, network: { ...runtime.network, bind, lookUp } };
  }

  get clock(): number {
    return (Math.floor(this.#world.nowMs) + this.clockAheadMs) >>> 0;
  }

  /** Attempts of parts, hellos left out, that came since. */
  since(count: number): Attempt[] {
    return this.attempts.slice(count);
  }

  #arrives(bytes: Bytes): void {
    this.#world.after(LATENCY_MS, () => {
      const end = bytes.bytes.length;
      if (this.isDead || end > this.upBytes) return;
      this.longestBytes = Math.max(this.longestBytes, end);
      const count = checkDatagram(bytes, 0, end, { checksum: { crc32c }, isReply: false });
      if (count < 0) throw new Error('the client sends what is no datagram');
      if (messageType(bytes, REQUEST_HEADER_BYTES) === MessageType.Hello) this.#greet(bytes);
      else this.#parts(bytes, end);
    });
  }

  #greet(bytes: Bytes): void {
    this.hellos++;
    const { writer, reply } = this.#begin(bytes);
    DatagramHelloReply.encode(reply, writer.bodyAt, {
      version: 1,
      capabilities: 0,
      memoryId: this.memoryId,
      cookieLow: 11,
      cookieHigh: 12,
      receiveBytes: 2 ** 20,
      datagramBytesMax: this.takesBytes,
    });
    writer.append(MessageType.Hello, 0, 0, 0, 0, DatagramHelloReply.fixedBytes);
    this.#deliver(reply, writer.seal(this.clock, 0));
  }

  #parts(bytes: Bytes, end: number): void {
    const { writer, reply } = this.#begin(bytes);
    for (let at = REQUEST_HEADER_BYTES; at < end; at += messageLength(bytes, at)) {
      if (messageType(bytes, at) === MessageType.Ping) {
        this.#ping(bytes, at, writer);
        continue;
      }
      const attempt = attemptAt(bytes, at, this.#world.nowMs);
      this.attempts.push(attempt);
      if (headerWord(bytes, 0, RequestWord.COOKIE_LOW) !== 11) throw new Error('no cookie');
      const answer = this.script(attempt);
      if (answer === undefined) continue;
      // As a node does: no reply is longer than its request, but for that to one long read.
      const isFull = writer.bytesWith(attempt.bytes) > Math.max(end, DATAGRAM_BYTES_SURE);
      if (isFull && writer.count > 0) {
        this.#deliver(reply, writer.seal(this.clock, 0));
        writer.begin(reply, 0);
      }
      append(writer, reply, attempt, answer);
    }
    if (writer.count > 0) this.#deliver(reply, writer.seal(this.clock, 0));
  }

  #ping(request: Bytes, at: number, writer: ReplyWriter): void {
    const asked = messageLength(request, at) - PART_HEADER_BYTES;
    const bytes = Math.min(asked, this.pingAnswerBytesMax);
    const { Ping } = MessageType;
    writer.append(Ping, 0, Status.Ok, messageSequence(request, at), replyExtra(bytes, 0), bytes);
  }

  #begin(request: Bytes): { writer: ReplyWriter; reply: Bytes } {
    const writer = this.#writer();
    writer.link = headerWord(request, 0, RequestWord.LINK);
    writer.number = headerWord(request, 0, RequestWord.NUMBER);
    this.#link = writer.link;
    const reply = viewsOf(DATAGRAM_BYTES_MAX);
    writer.begin(reply, 0);
    return { writer, reply };
  }

  #link = 0;

  #writer(): ReplyWriter {
    const writer = new ReplyWriter({ crc32c });
    writer.incarnation = this.incarnation;
    writer.link = this.#link;
    return writer;
  }

  /** An answer to that attempt, now, whatever else was answered. */
  answer(attempt: Attempt, answer: Answer, incarnation = this.incarnation): void {
    const writer = this.#writer();
    writer.number = attempt.number;
    writer.incarnation = incarnation;
    const reply = viewsOf(DATAGRAM_BYTES_MAX);
    writer.begin(reply, 0);
    append(writer, reply, attempt, answer);
    this.#deliver(reply, writer.seal(this.clock, 0));
  }

  refuse(number: number, reason: DatagramRefusal): void {
    const writer = this.#writer();
    writer.number = number;
    const reply = viewsOf(64);
    writer.begin(reply, 0);
    this.#deliver(reply, writer.refuse(this.clock, reason));
  }

  #deliver(reply: Bytes, length: number): void {
    if (length > this.downBytes) return;
    const bytes = viewsOf(length);
    bytes.bytes.set(reply.bytes.subarray(0, length));
    this.#world.after(LATENCY_MS, () => {
      if (!this.isDead) this.#socket?.deliver(bytes);
    });
  }
}

function attemptAt(bytes: Bytes, at: number, atMs: number): Attempt {
  const target = at + PART_HEADER_BYTES;
  const end = at + messageLength(bytes, at);
  const isWithdrawal = partFlags(bytes, at) === RequestFlag.WITHDRAW;
  return {
    number: headerWord(bytes, 0, RequestWord.NUMBER),
    incarnation: headerWord(bytes, 0, RequestWord.INCARNATION),
    id: messageSequence(bytes, at),
    type: messageType(bytes, at),
    window: messageExtra(bytes, at),
    deadline: partDeadline(bytes, at),
    attempt: partAttempt(bytes, at),
    isWithdrawal,
    address: isWithdrawal ? -1 : Number(bytes.view.getBigUint64(target, true)),
    bytes: isWithdrawal ? 0 : bytes.view.getUint32(target + 8, true),
    body: bytes.bytes.slice(target + 16, end),
    atMs,
  };
}

function append(writer: ReplyWriter, reply: Bytes, attempt: Attempt, answer: Answer): void {
  const { status = Status.Ok, flags = 0 } = answer;
  const isRead = attempt.type === MessageType.Read;
  const isAtomic = attempt.type > MessageType.Write && attempt.type < MessageType.Reserve;
  const isDone = status === Status.Ok && flags === 0;
  const length = !isDone ? 0 : isRead ? attempt.bytes : isAtomic ? 8 : 0;
  const data = answer.data ?? new Uint8Array(length);
  reply.bytes.set(data.subarray(0, length), writer.bodyAt);
  const extra = (isRead ? length : 0) | (attempt.attempt << 24);
  writer.append(attempt.type, flags, status, attempt.id, extra, length);
}

function viewsOf(bytes: number): Bytes {
  const buffer = new ArrayBuffer((bytes + 7) & ~7);
  return {
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    words: new Int32Array(buffer),
  };
}

class ScriptedSocket implements DatagramSocket {
  readonly address = 'udp://client:1';
  readonly output = viewsOf(DATAGRAM_BYTES_MAX);
  readonly receiveBytes = 4 * 2 ** 20;
  readonly unsent = 0;
  readonly dropped = 0;
  readonly #handler: DatagramHandler;
  readonly #sent: (bytes: Bytes) => void;
  #isOpen = true;

  constructor(handler: DatagramHandler, sent: (bytes: Bytes) => void) {
    this.#handler = handler;
    this.#sent = sent;
  }

  reserve(): number {
    return 0;
  }

  commit(bytes: number): void {
    const copy = viewsOf(bytes);
    copy.bytes.set(this.output.bytes.subarray(0, bytes));
    this.output.bytes.fill(0xdd);
    if (this.#isOpen) this.#sent(copy);
  }

  flush(): void {}

  sentTo = '';

  peerOf(address: Address): Uint8Array {
    this.sentTo = address;
    return new Uint8Array(PEER_BYTES);
  }

  expect(): void {}

  deliver(input: Bytes): void {
    if (!this.#isOpen) return;
    const starts = Int32Array.of(0);
    const lengths = Int32Array.of(input.bytes.length);
    const ages = Float64Array.of(0);
    const batch = { input, count: 1, starts, lengths, ages, peers: new Uint8Array(PEER_BYTES) };
    this.#handler.received(this, batch);
  }

  close(): void {
    this.#isOpen = false;
  }
}

/** The only one there is. */
export function only<T>(list: readonly T[]): T {
  if (list.length !== 1) throw new Error(`${list.length} where one was expected`);
  return defined(list[0]);
}
