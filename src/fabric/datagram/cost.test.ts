import { getHeapStatistics } from 'node:v8';
import { expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import {
  type Bytes,
  type DatagramBatch,
  type DatagramSocket,
  PEER_BYTES,
} from '../../runtime/network.js';
import type { Runtime } from '../../runtime/runtime.js';
import { replyCount, ReplyWord, RequestWriter } from '../../wire/datagram.js';
import { MessageType } from '../../wire/messages.js';
import { createDatagramServerCounters } from '../counters.js';
import { type DataHandler, type DataSession, DONE } from '../serve.js';
import { DatagramServer } from './server.js';

/** What a part costs the serving side, beside what the network and its memory cost. */

const PARTS = 16;
const DATAGRAMS = 8;
/** The memory of checksums is measured where they are made. */
const CHECKSUM = { crc32c: () => 7 };

function place(bytes: number): Bytes {
  const buffer = new ArrayBuffer(bytes);
  return {
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    words: new Int32Array(buffer),
  };
}

class PlainHandler implements DataHandler {
  executed = 0;

  execute(session: DataSession, _input: Bytes, _at: number, type: number): typeof DONE {
    this.executed++;
    if (type === MessageType.Read) session.finish(Status.Ok, 8);
    else if (type === MessageType.Write) session.finish(Status.Ok, 0);
    else session.finishValue(Status.Ok, 1, 2);
    return DONE;
  }

  closed(): void {}
  begunAnew(): void {}
  forgotten(): void {}
}

class CountingSocket implements DatagramSocket {
  readonly address = 'udp://nowhere:1';
  readonly output = place(65536 + 64);
  readonly receiveBytes = 212_992;
  readonly unsent = 0;
  readonly dropped = 0;
  answers = 0;
  reserve(): number {
    return 0;
  }
  commit(): void {
    this.answers += replyCount(this.output, 0);
  }
  flush(): void {}
  peerOf(): Uint8Array {
    return new Uint8Array(PEER_BYTES);
  }
  expect(): void {}
  close(): void {}
}

/** One sender, whose datagrams come in batches. */
class Load {
  readonly handler = new PlainHandler();
  readonly socket = new CountingSocket();
  nowMs = 5000;
  readonly #server: DatagramServer;
  readonly #input = place(65536);
  readonly #batch: DatagramBatch;
  readonly #writer = new RequestWriter(CHECKSUM, 123_456_789_012_345);
  readonly #starts = new Int32Array(DATAGRAMS);
  readonly #lengths = new Int32Array(DATAGRAMS);
  #id = 0;
  #number = 0;

  constructor() {
    const runtime: Partial<Runtime> = {
      clock: { now: () => this.nowMs, wall: () => 0 },
      entropy: { u32: () => 5, u53: () => 5, fraction: () => 0.5 },
      checksum: CHECKSUM,
    };
    this.#server = new DatagramServer({
      runtime: runtime as Runtime,
      counters: createDatagramServerCounters(),
      data: () => this.handler,
      memoryId: 1,
      instance: 5,
    });
    const peers = new Uint8Array(DATAGRAMS * PEER_BYTES);
    this.#batch = {
      input: this.#input,
      count: DATAGRAMS,
      starts: this.#starts,
      lengths: this.#lengths,
      ages: new Float64Array(DATAGRAMS),
      peers,
    };
    this.#greet();
  }

  #greet(): void {
    const hello: DatagramBatch = { ...this.#batch, count: 1 };
    const writer = this.#writer;
    writer.begin(this.#input, 0);
    this.#input.words.fill(0, 0, 40);
    const first = writer.bodyAt >> 2;
    this.#input.words[first] = 1 | (1 << 16);
    writer.append(MessageType.Hello, 1, 0, 0, 0, 40);
    this.#lengths[0] = writer.seal(1);
    this.#server.received(this.socket, hello);
    const { words } = this.socket.output;
    writer.incarnation = words[ReplyWord.INCARNATION] as number;
    writer.cookieLow = words[16] as number;
    writer.cookieHigh = words[17] as number;
    this.socket.answers = 0;
  }

  /** One batch of datagrams with parts of one type, each new. */
  batch(type: number): void {
    const writer = this.#writer;
    const { words } = this.#input;
    let at = 0;
    for (let i = 0; i < DATAGRAMS; i++) {
      writer.begin(this.#input, at);
      for (let part = 0; part < PARTS; part++) {
        const first = writer.bodyAt >> 2;
        words[first] = 64;
        words[first + 1] = 0;
        words[first + 2] = 8;
        words[first + 3] = 3;
        const bytes = type === MessageType.Read ? 16 : 24;
        writer.append(type, this.#id++, 7, this.nowMs + 500, 0, bytes);
      }
      this.#starts[i] = at;
      this.#lengths[i] = writer.seal(this.#number++);
      at += this.#lengths[i] ?? 0;
    }
    this.#server.received(this.socket, this.#batch);
  }
}

/** The smallest object there is has three words. */
const BYTES_MAX = 24;

const TYPES = [MessageType.Read, MessageType.Write, MessageType.FetchAndAdd];

test('a part costs no memory of its own', () => {
  const load = new Load();
  // So few that a round in which garbage is collected cannot seem to need little: it ends with less
  // on the heap than it began with.
  const batches = 100;
  const parts = batches * DATAGRAMS * PARTS;
  let least = Infinity;
  // Without objects it still is 1 to 15 bytes a part: large numbers are put on the heap where the
  // compiler did not inline a function, which differs from run to run. More comes from code that is
  // not yet compiled: so the best of many rounds.
  for (let round = 0; round < 400 && least >= BYTES_MAX; round++) {
    const before = getHeapStatistics().used_heap_size;
    for (let i = 0; i < batches; i++) {
      // 300,000 a second: buckets come and go, and the record is never full.
      load.nowMs += (DATAGRAMS * PARTS) / 300;
      load.batch(TYPES[i % 3] as number);
    }
    const grown = getHeapStatistics().used_heap_size - before;
    if (grown >= 0) least = Math.min(least, grown / parts);
  }
  expect(least).toBeLessThan(BYTES_MAX);
  expect(load.handler.executed).toBe(load.socket.answers);
  expect(load.handler.executed).toBeGreaterThanOrEqual(parts);
});
