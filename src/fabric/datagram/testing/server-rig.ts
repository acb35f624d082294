/**
 * A serving process without a network: a socket that keeps what is sent, a clock that is set by
 * hand, and one array of bytes for its memory. Every datagram is made and read by declaration.
 */

import { assert } from '../../../base/assert.js';
import { crc32c } from '../../../base/crc32c.js';
import { Prng } from '../../../base/prng.js';
import {
  type Bytes,
  type DatagramBatch,
  type DatagramSocket,
  PEER_BYTES,
} from '../../../runtime/network.js';
import type { Runtime } from '../../../runtime/runtime.js';
import {
  checkDatagram,
  DATAGRAM_BYTES_MAX,
  DatagramHelloReply,
  DatagramHelloRequest,
  DatagramReplyHeader,
  partFlags,
  REPLY_HEADER_BYTES,
  replyAttempt,
  replyBytes,
  RequestWriter,
} from '../../../wire/datagram.js';
import { messageExtra, messageLength, messageSequence } from '../../../wire/frame.js';
import { messageStatus, messageType } from '../../../wire/frame.js';
import { MESSAGE_HEADER_BYTES } from '../../../wire/limits.js';
import { MessageFlag, MessageType } from '../../../wire/messages.js';
import { FetchAndAddRequest, WriteRequest } from '../../../wire/messages.js';
import type { Fields } from '../../../wire/struct.js';
import { bytesOf } from '../../../wire/testing/samples.js';
import { createDatagramServerCounters } from '../../counters.js';
import type { Stations } from '../../stations.js';
import { FakeMemory } from '../../testing/fake-memory.js';
import { DatagramServer } from '../server.js';

const CHECKSUM = { crc32c };

function place(bytes: number): Bytes {
  const buffer = new ArrayBuffer(bytes);
  return {
    bytes: new Uint8Array(buffer).fill(0xee),
    view: new DataView(buffer),
    words: new Int32Array(buffer),
  };
}

export class FakeSocket implements DatagramSocket {
  readonly address = 'udp://fake:1';
  readonly receiveBytes = 212_992;
  readonly unsent = 0;
  readonly dropped = 0;
  readonly sent: { readonly bytes: Uint8Array; readonly peer: number }[] = [];
  /** Is shown each when it is made. */
  committed: (bytes: Uint8Array) => void = () => {};
  /** One that is not flushed is not sent. */
  readonly #pending: { readonly bytes: Uint8Array; readonly peer: number }[] = [];
  /** Two, so that nothing may be written to one that stood here before. */
  readonly #outputs = [place(2 * DATAGRAM_BYTES_MAX), place(2 * DATAGRAM_BYTES_MAX)] as const;
  #turn = 0;
  #reserved = 0;

  get output(): Bytes {
    return this.#outputs[(this.#turn & 1) as 0 | 1];
  }

  reserve(bytes: number): number {
    assert(Number.isInteger(bytes) && bytes > 0 && bytes <= DATAGRAM_BYTES_MAX);
    this.#turn++;
    this.#reserved = bytes;
    return 64;
  }

  commit(bytes: number, peers: Uint8Array, peerAt: number): void {
    assert(bytes > 0 && bytes <= this.#reserved, 'more was sent than reserved');
    this.#reserved = 0;
    const made = this.output.bytes.slice(64, 64 + bytes);
    this.#pending.push({ bytes: made, peer: peers[peerAt] ?? 0 });
    this.committed(made);
  }

  flush(): void {
    this.sent.push(...this.#pending.splice(0));
  }

  peerOf(): Uint8Array {
    return new Uint8Array(PEER_BYTES);
  }

  expect(): void {}
  close(): void {}
}

export interface AskedPart {
  readonly type: number;
  readonly id: number;
  /** In the node's clock, which does not wrap here; half a second ahead when missing. */
  readonly deadline?: number;
  readonly attempt?: number;
  readonly extra?: number;
  readonly body?: Uint8Array;
  /** Then there is no body. */
  readonly isWithdrawal?: boolean;
}

export interface RepliedPart {
  readonly type: number;
  /** Without `REPLY`. */
  readonly flags: number;
  readonly status: number;
  readonly id: number;
  readonly attempt: number;
  /** What `extra` says of the data. */
  readonly told: number;
  readonly body: Uint8Array;
}

export interface Reply extends Fields<typeof DatagramReplyHeader> {
  readonly bytes: number;
  readonly peer: number;
  readonly parts: readonly RepliedPart[];
}

export function replyOf(bytes: Uint8Array, peer = 0): Reply {
  const input = place(bytes.length);
  input.bytes.set(bytes);
  const count = checkDatagram(input, 0, bytes.length, { checksum: CHECKSUM, isReply: true });
  assert(count >= 0, 'a server sent what is no reply');
  const header = DatagramReplyHeader.decode(input, 0, REPLY_HEADER_BYTES);
  assert(typeof header !== 'string');
  const parts: RepliedPart[] = [];
  for (let at = REPLY_HEADER_BYTES; at < bytes.length; at += messageLength(input, at)) {
    const extra = messageExtra(input, at);
    parts.push({
      type: messageType(input, at),
      flags: partFlags(input, at) ^ MessageFlag.REPLY,
      status: messageStatus(input, at),
      id: messageSequence(input, at),
      attempt: replyAttempt(extra),
      told: replyBytes(extra),
      body: bytes.slice(at + MESSAGE_HEADER_BYTES, at + messageLength(input, at)),
    });
  }
  return { ...header, bytes: bytes.length, peer, parts };
}

export interface RigOptions {
  readonly startMs?: number;
  readonly rows?: number;
  readonly seed?: number;
  readonly isWithoutMemory?: boolean;
  /** Of another process before. */
  readonly memory?: FakeMemory;
  readonly stations?: Stations;
}

export const WINDOW = 7;
export const EPOCH = 3;

export class ServerRig {
  nowMs: number;
  readonly memory: FakeMemory;
  readonly counters = createDatagramServerCounters();
  readonly socket = new FakeSocket();
  readonly server: DatagramServer;
  /** What stands in the headers of requests; `greet` fills in what a hello brings. */
  client = 0x12_3456_7890_abcd;
  /** How long datagrams have lain at the socket when they are shown. */
  ageMs = 0;
  link = 0x8765_4321;
  incarnation = 0;
  cookieLow = 0;
  cookieHigh = 0;
  /** Whose datagrams they are. */
  peer = 5;
  number = 0;
  memoryId = 0;
  #timers: { readonly atMs: number; readonly run: () => void }[] = [];

  constructor(options: RigOptions = {}) {
    this.nowMs = options.startMs ?? 5000;
    this.memory = options.memory ?? new FakeMemory(8192);
    const prng = new Prng(options.seed ?? 1);
    const runtime: Partial<Runtime> = {
      clock: { now: () => this.nowMs, wall: () => this.nowMs },
      timers: {
        after: (ms, run) => this.#after(ms, run),
        soon: (run) => void this.#after(0, run),
      },
      entropy: {
        u32: () => prng.u32(),
        u53: () => prng.u53() || 1,
        fraction: () => prng.fraction(),
      },
      checksum: CHECKSUM,
    };
    this.server = new DatagramServer({
      runtime: runtime as Runtime,
      counters: this.counters,
      data: () => (options.isWithoutMemory === true ? undefined : this.memory),
      memoryId: 99,
      ...(options.stations === undefined ? {} : { stations: options.stations }),
      instance: prng.u53(),
      ...(options.rows === undefined ? {} : { recordRows: options.rows }),
    });
  }

  #after(ms: number, run: () => void): { cancel(): void } {
    this.#timers.push({ atMs: this.nowMs + ms, run });
    return { cancel: () => undefined };
  }

  /** Lets time pass, and runs what is due then. */
  pass(ms: number): void {
    this.nowMs += ms;
    const due = this.#timers.filter(({ atMs }) => atMs <= this.nowMs);
    this.#timers = this.#timers.filter(({ atMs }) => atMs > this.nowMs);
    for (const { run } of due) run();
  }

  /** One batch of datagrams, each of the sender that `peers` names, else `peer`; the answers. */
  receive(datagrams: readonly Uint8Array[], peers: readonly number[] = []): Reply[] {
    this.#show(datagrams, peers);
    return this.socket.sent.splice(0).map(({ bytes, peer }) => replyOf(bytes, peer));
  }

  /** The same; the answers as they are. */
  receiveRaw(datagrams: readonly Uint8Array[]): Uint8Array[] {
    this.#show(datagrams, []);
    return this.socket.sent.splice(0).map(({ bytes }) => bytes);
  }

  #show(datagrams: readonly Uint8Array[], peers: readonly number[]): void {
    const starts = new Int32Array(datagrams.length + 2);
    const lengths = new Int32Array(datagrams.length + 2);
    let end = 8;
    for (const [i, { length }] of datagrams.entries()) {
      starts[i] = end;
      lengths[i] = length;
      end += (length + 7) & ~7;
    }
    const input = place(end + 64);
    const from = new Uint8Array(datagrams.length * PEER_BYTES);
    for (const [i, datagram] of datagrams.entries()) {
      input.bytes.set(datagram, starts[i]);
      from.fill(peers[i] ?? this.peer, i * PEER_BYTES, (i + 1) * PEER_BYTES);
    }
    const { length: count } = datagrams;
    const ages = new Float64Array(count).fill(this.ageMs);
    const batch: DatagramBatch = { input, count, starts, lengths, ages, peers: from };
    this.server.received(this.socket, batch);
  }

  /** A datagram with these parts. */
  request(...parts: readonly AskedPart[]): Uint8Array {
    const writer = new RequestWriter(CHECKSUM, this.client);
    writer.link = this.link;
    writer.incarnation = this.incarnation;
    writer.cookieLow = this.cookieLow;
    writer.cookieHigh = this.cookieHigh;
    const output = place(DATAGRAM_BYTES_MAX + 64);
    writer.begin(output, 8);
    for (const part of parts) {
      const { body = new Uint8Array(0), deadline = this.nowMs + 500, attempt = 0 } = part;
      if (part.isWithdrawal === true) {
        const extra = part.extra ?? WINDOW;
        writer.appendWithdrawal(part.type, part.id, extra, deadline, attempt);
        continue;
      }
      output.bytes.set(body, writer.bodyAt);
      writer.append(part.type, part.id, part.extra ?? WINDOW, deadline, attempt, body.length);
    }
    return output.bytes.slice(8, 8 + writer.seal(++this.number));
  }

  ask(...parts: readonly AskedPart[]): Reply[] {
    return this.receive([this.request(...parts)]);
  }

  /** The answer to one part. */
  one(part: AskedPart): RepliedPart {
    const [reply, ...others] = this.ask(part);
    const [answer, ...more] = reply?.parts ?? [];
    assert(answer !== undefined && others.length === 0 && more.length === 0, 'not one answer');
    return answer;
  }

  greet(): this {
    this.learn(this.ask(helloPart(1))[0]);
    return this;
  }

  /** Learns cookie, incarnation and memory from the answer to a hello. */
  learn(reply: Reply | undefined): void {
    const body = reply?.parts[0]?.body;
    assert(reply !== undefined && body !== undefined, 'no hello came');
    const view = new DataView(body.buffer);
    const hello = DatagramHelloReply.decode({ bytes: body, view }, 0, body.length);
    assert(typeof hello !== 'string');
    this.incarnation = reply.incarnation;
    this.cookieLow = hello.cookieLow;
    this.cookieHigh = hello.cookieHigh;
    this.memoryId = hello.memoryId;
  }
}

export function helloPart(id: number, versionMin = 1, versionMax = 1): AskedPart {
  const body = bytesOf(DatagramHelloRequest, { versionMin, versionMax, capabilities: 0 });
  return { type: MessageType.Hello, id, body };
}

const target = (address: number, bytes: number) => ({ address, bytes, epoch: EPOCH });

/** That the part is withdrawn. */
export function withdrawal({ type, id, deadline }: AskedPart): AskedPart {
  return { type, id, isWithdrawal: true, ...(deadline === undefined ? {} : { deadline }) };
}

export function readPart(id: number, address: number, bytes: number): AskedPart {
  return { type: MessageType.Read, id, body: bytesOf(WriteRequest, target(address, bytes)) };
}

export function writePart(id: number, address: number, data: readonly number[]): AskedPart {
  const head = bytesOf(WriteRequest, target(address, data.length));
  return { type: MessageType.Write, id, body: Uint8Array.from([...head, ...data]) };
}

export function addPart(id: number, address: number, low: number): AskedPart {
  const value = { ...target(address, 8), delta: { low, high: 0 } };
  return { type: MessageType.FetchAndAdd, id, body: bytesOf(FetchAndAddRequest, value) };
}
