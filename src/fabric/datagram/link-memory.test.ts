// What a link of a client takes, and what an operation costs it, beside what the network takes.
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { KiB } from '../../base/units.js';
import {
  type Bytes,
  DATAGRAM_BATCH_MAX,
  type DatagramHandler,
  type DatagramSocket,
  PEER_BYTES,
} from '../../runtime/network.js';
import type { Runtime } from '../../runtime/runtime.js';
import { MessageType } from '../../wire/messages.js';
import { createDatagramServerCounters } from '../counters.js';
import { createEndpoint, type Endpoint } from '../endpoint.js';
import type { CompletionSink, Window } from '../link.js';
import { type DataHandler, type DataSession, DONE } from '../serve.js';
import { DatagramServer } from './server.js';
import { UdpLink } from './udp-link.js';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Of objects, and of buffers beside them. */
function usedBytes(): number {
  for (let i = 0; i < 3; i++) collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** The memory of checksums is measured where they are made. */
const CHECKSUM = { crc32c: () => 7 };
const SLOT_BYTES = 64 * KiB;
const DATA = new Uint8Array(64);

function place(bytes: number): Bytes {
  const buffer = new ArrayBuffer(bytes);
  return {
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    words: new Int32Array(buffer),
  };
}

class PlainHandler implements DataHandler {
  execute(session: DataSession, input: Bytes, at: number, type: number): typeof DONE {
    if (type === MessageType.Read) session.finish(Status.Ok, input.words[(at >> 2) + 2] as number);
    else if (type === MessageType.Write) session.finish(Status.Ok, 0);
    else session.finishValue(Status.Ok, 1, 2);
    return DONE;
  }
  closed(): void {}
  begunAnew(): void {}
  forgotten(): void {}
}

/** Both ends of a network without a wire: what is committed is at the other end at once. */
class Ends {
  readonly output = place(SLOT_BYTES);
  readonly address = 'udp://127.0.0.1:1';
  readonly receiveBytes = 4 * 1024 * KiB;
  readonly unsent = 0;
  readonly dropped = 0;
  readonly #batch = {
    starts: Int32Array.of(0),
    lengths: Int32Array.of(0),
    ages: Float64Array.of(0),
    peers: PEER,
  };
  readonly #batchHere = { ...this.#batch, input: this.output, count: 1 };
  /** What came from the other end, until somebody takes it. */
  #replies = batchOfReplies();
  #taken = batchOfReplies();
  readonly #server: DatagramServer;
  readonly #back: DatagramSocket;

  constructor(runtime: Runtime) {
    const handler = new PlainHandler();
    const counters = createDatagramServerCounters();
    this.#server = new DatagramServer({
      runtime,
      counters,
      data: () => handler,
      memoryId: 1,
      instance: 5,
    });
    const back = { ...plain, ...this.#backEnd(), output: this.#replies.input };
    this.#back = Object.defineProperty(back, 'output', { get: () => this.#replies.input });
  }

  #backEnd() {
    return {
      reserve: () => this.#replies.count * SLOT_BYTES,
      commit: (bytes: number) => {
        const replies = this.#replies;
        replies.starts[replies.count] = replies.count * SLOT_BYTES;
        replies.lengths[replies.count++] = bytes;
      },
    };
  }

  get isAnswered(): boolean {
    return this.#replies.count > 0;
  }

  /** Hands over what came; what is sent meanwhile is answered in the next batch. */
  deliver(handler: DatagramHandler): void {
    const replies = this.#replies;
    this.#replies = this.#taken;
    this.#taken = replies;
    handler.received(this, replies);
    replies.count = 0;
  }

  reserve(): number {
    return 0;
  }
  commit(bytes: number): void {
    this.#batch.lengths[0] = bytes;
    this.#server.received(this.#back, this.#batchHere);
  }
  flush(): void {}
  peerOf(): Uint8Array {
    return PEER;
  }
  expect(): void {}
  close(): void {}
}

function batchOfReplies() {
  return {
    input: place(DATAGRAM_BATCH_MAX * SLOT_BYTES),
    count: 0,
    starts: new Int32Array(DATAGRAM_BATCH_MAX),
    lengths: new Int32Array(DATAGRAM_BATCH_MAX),
    ages: new Float64Array(DATAGRAM_BATCH_MAX),
    peers: new Uint8Array(DATAGRAM_BATCH_MAX * PEER_BYTES),
  };
}

const PEER = new Uint8Array(PEER_BYTES);
const plain = {
  address: 'udp://127.0.0.1:2',
  receiveBytes: 4 * 1024 * KiB,
  unsent: 0,
  dropped: 0,
  flush: () => undefined,
  peerOf: () => PEER,
  expect: () => undefined,
  close: () => undefined,
};

/** Counts what was told well. */
class CountingSink implements CompletionSink {
  done = 0;
  completed(_token: number, status: Status): void {
    if (status !== Status.Ok) throw new Error(`it ended with status ${status}`);
    this.done++;
  }
}

/** Links of one process to one node. */
class Load {
  readonly sink = new CountingSink();
  readonly window: Window = { space: 5, id: 1, epoch: 9 };
  nowMs = 5000;
  readonly ends: Ends;
  readonly #endpoint: Endpoint;
  readonly #runtime: Runtime;
  #soon: (() => void)[] = [];
  #handler: DatagramHandler | undefined;
  #links = 0;

  constructor() {
    const runtime: Partial<Runtime> = {
      clock: { now: () => this.nowMs, wall: () => 0 },
      timers: {
        after: () => ({ cancel: () => undefined }),
        soon: (run) => void this.#soon.push(run),
      },
      entropy: { u32: () => 5, u53: () => 5, fraction: () => 0.5 },
      checksum: CHECKSUM,
      log: { write: () => undefined },
      memory: {
        copy: (to: Uint8Array, at: number, from: Uint8Array, start: number, bytes: number) =>
          to.set(from.subarray(start, start + bytes), at),
      } as Runtime['memory'],
      network: {
        lookUp: (address: string) => Promise.resolve([address]),
        bind: (_address: string, handler: DatagramHandler) => {
          this.#handler = handler;
          return Promise.resolve(this.ends);
        },
      } as unknown as Runtime['network'],
    };
    this.#runtime = runtime as Runtime;
    this.ends = new Ends(this.#runtime);
    this.#endpoint = createEndpoint(this.#runtime);
  }

  /** A link that has done a little. */
  async link(): Promise<{ udp: UdpLink; handler: DatagramHandler }> {
    const port = ++this.#links;
    const link = this.#endpoint.link(`tcp://127.0.0.1:${port}`);
    const address = `udp://127.0.0.1:${port}`;
    const udp = UdpLink.open({ runtime: this.#runtime, link, address });
    const into = new Uint8Array(64);
    await udp.begun();
    const handler = this.#handler as DatagramHandler;
    this.turn(handler);
    this.start(udp, 0, into);
    this.start(udp, 1, into);
    this.start(udp, 2, into);
    this.turn(handler);
    return { udp, handler };
  }

  start(udp: UdpLink, i: number, into: Uint8Array): void {
    const { window, sink } = this;
    const deadline = this.nowMs + 1000;
    const at = 64 * i;
    if (i % 3 === 0) udp.read(window, at, into, 0, 64, sink, i, deadline);
    else if (i % 3 === 1) udp.write(window, at, DATA, 0, 64, sink, i, deadline);
    else udp.fetchAndAdd(window, at, 1, 0, sink, i, deadline);
  }

  /** Everything that can happen without time. */
  turn(handler: DatagramHandler): void {
    while (this.#soon.length > 0 || this.ends.isAnswered) {
      const running = this.#soon;
      this.#soon = [];
      for (const run of running) run();
      if (this.ends.isAnswered) this.ends.deliver(handler);
    }
  }
}

/** Sockets, streams and their buffers are the network's. */
const LINK_BYTES_MAX = 32 * KiB;

test('a link that has little to do takes little memory', async () => {
  const load = new Load();
  const links = [await load.link()];
  const count = 200;
  const before = usedBytes();
  for (let i = 0; i < count; i++) links.push(await load.link());
  const each = (usedBytes() - before) / count;
  expect(each).toBeLessThan(LINK_BYTES_MAX);
  // Less would mean that they have not been made.
  expect(each).toBeGreaterThan(KiB);
  expect(load.sink.done).toBe(3 * links.length);
});

/** As much as a large number takes, and what is not per operation. */
const OPERATION_BYTES_MAX = 48;

test('an operation of a link costs no memory of its own', async () => {
  const load = new Load();
  const { udp, handler } = await load.link();
  const into = new Uint8Array(64);
  const turns = 40;
  const operations = 240;
  let least = Infinity;
  // The best of many rounds, as for the serving side.
  for (let round = 0; round < 400 && least >= OPERATION_BYTES_MAX; round++) {
    const before = getHeapStatistics().used_heap_size;
    const told = load.sink.done;
    for (let i = 0; i < turns; i++) {
      load.nowMs += 1;
      for (let k = 0; k < operations; k++) load.start(udp, k, into);
      load.turn(handler);
    }
    expect(load.sink.done - told).toBe(turns * operations);
    const used = getHeapStatistics().used_heap_size - before;
    if (used >= 0) least = Math.min(least, used / (turns * operations));
  }
  expect(least).toBeLessThan(OPERATION_BYTES_MAX);
});
