/** Conformance: rings and threads. A world registers `CONFORMANCE_THREADS` as its application. */

import type { ThreadMain } from '../thread-main.js';
import type { RingConsumer, RingProducer, Shared, Threads } from '../threads.js';
import { type Case, expectEqual, expectThat, sleepOn, until } from './check.js';

const OPTIONS = { records: 256, recordWords: 4 } as const;
const SMALL = { records: 8, recordWords: 2 } as const;
const STOP = -1;
const PAGE = 4096;

/** Two rings in one stretch of shared bytes: to the thread, and back. */
function ringsOf(threads: Threads, shared: Shared, side: 'main' | 'thread') {
  const [there, back] = [0, threads.ringBytes(OPTIONS)];
  return side === 'main'
    ? {
        out: threads.producer(shared, there, OPTIONS),
        into: threads.consumer(shared, back, OPTIONS),
      }
    : {
        out: threads.producer(shared, back, OPTIONS),
        into: threads.consumer(shared, there, OPTIONS),
      };
}

/** Answers every record with one whose second word is doubled, until a first word is `STOP`. */
const echo: ThreadMain = async (runtime, start) => {
  const { out, into } = ringsOf(runtime.threads, start.shared[0] as Shared, 'thread');
  const record = new Int32Array(OPTIONS.recordWords);
  for (;;) {
    while (into.take(record)) {
      if (record[0] === STOP) return;
      record[1] = 2 * (record[1] ?? 0);
      while (!out.submit(record)) {
        out.ring();
        await runtime.threads.pausePoint();
        await sleepOn(runtime, 0);
      }
    }
    out.ring();
    await into.wait(1_000);
  }
};

/** Writes what it was told into the first page of a memory file, and rings. */
const writer: ThreadMain = async (runtime, start) => {
  const [handle = 0] = start.memory;
  const { byte } = start.arguments as { byte: number };
  runtime.memory.adopt(handle).map(0, PAGE).bytes.fill(byte);
  const { out } = ringsOf(runtime.threads, start.shared[0] as Shared, 'thread');
  out.submit(new Int32Array(OPTIONS.recordWords));
  out.ring();
};

/** What each word of the shared bytes of a blocking thread is for. */
const ASK = 0;
const ANSWER = 1;
const VAIN = 2;
const END = 3;

/** Asks for a number so many times, blocked until each comes, and once for one that never comes. */
const blocker: ThreadMain = async ({ threads, clock }, start) => {
  const words = new Int32Array(start.shared[0] as Shared);
  const { rounds } = start.arguments as { rounds: number };
  const { out } = ringsOf(threads, start.shared[1] as Shared, 'thread');
  const record = new Int32Array(OPTIONS.recordWords);
  for (let round = 1; round <= rounds; round++) {
    Atomics.store(words, ASK, round);
    out.submit(record);
    out.ring();
    if (!threads.block(words, ANSWER, round - 1, 60_000)) return;
    if (Atomics.load(words, ANSWER) !== round) return;
  }
  const before = clock.now();
  const isThere = threads.block(words, VAIN, 0, 20);
  const waitedMs = Math.round(clock.now() - before);
  Atomics.store(words, END, isThere || waitedMs < 19 ? -1 : waitedMs);
};

/** Blocks for longer than anybody waits. */
const stuck: ThreadMain = async ({ threads }, start) => {
  const words = new Int32Array(start.shared[0] as Shared);
  Atomics.store(words, ASK, 1);
  threads.block(words, VAIN, 0, 3_600_000);
  Atomics.store(words, END, 1);
};

export const CONFORMANCE_THREADS: { readonly [name: string]: ThreadMain } = {
  'conformance-echo': echo,
  'conformance-writer': writer,
  'conformance-blocker': blocker,
  'conformance-stuck': stuck,
};

function ringPair(threads: Threads, options: { records: number; recordWords: number }) {
  const offset = 128;
  const shared = threads.share(offset + threads.ringBytes(options));
  return {
    producer: threads.producer(shared, offset, options),
    consumer: threads.consumer(shared, offset, options),
  };
}

const RING_CASES: readonly Case[] = [
  {
    name: 'a ring keeps order and refuses what does not fit',
    async run({ runtime }) {
      const { producer, consumer } = ringPair(runtime.threads, SMALL);
      const record = new Int32Array(2);
      for (let round = 0; round < 20; round++) {
        for (let i = 0; i < 8; i++) {
          expectEqual(producer.room(), 8 - i, 'room');
          expectThat(producer.submit(Int32Array.of(round, i)), 'room for a record');
        }
        expectThat(!producer.submit(record), 'no room for a ninth');
        for (let i = 0; i < 8; i++) {
          expectEqual(consumer.waiting(), 8 - i, 'waiting');
          expectThat(consumer.take(record), 'a record');
          expectEqual([record[0], record[1]], [round, i], 'the record');
        }
        expectThat(!consumer.take(record), 'no ninth record');
      }
    },
  },
  {
    name: 'waiting ends with a record, or in time',
    async run({ runtime }) {
      const { producer, consumer } = ringPair(runtime.threads, SMALL);
      const start = runtime.clock.now();
      await consumer.wait(20);
      const waited = runtime.clock.now() - start;
      expectThat(waited >= 19 && waited < 5_000, `waited ${waited} ms instead of 20`);
      producer.submit(Int32Array.of(1, 2));
      producer.ring();
      await consumer.wait(60_000);
      expectEqual(consumer.waiting(), 1, 'records waiting');
      expectThat(runtime.clock.now() - start < 30_000, 'a record ends the wait at once');
    },
  },
  {
    name: 'a listener is called after a ring, for as long as it is not closed',
    async run({ runtime }) {
      const { producer, consumer } = ringPair(runtime.threads, SMALL);
      const record = new Int32Array(2);
      const seen: number[] = [];
      let inside = false;
      consumer.listen(() => {
        expectThat(!inside, 'the listener is not called from within ring');
        while (consumer.take(record)) seen.push(record[0] ?? 0);
      });
      for (let i = 0; i < 5; i++) {
        inside = true;
        producer.submit(Int32Array.of(i, 0));
        producer.ring();
        inside = false;
        await until(runtime, () => seen.length === i + 1, `record ${i}`);
      }
      expectEqual(seen, [0, 1, 2, 3, 4], 'records');
      consumer.close();
      producer.submit(Int32Array.of(5, 0));
      producer.ring();
      await sleepOn(runtime, 30);
      expectEqual(seen.length, 5, 'records after the close');
    },
  },
];

/** Sends `count` records through the echo thread and checks the answers. */
async function throughThread(
  count: number,
  rings: { out: RingProducer; into: RingConsumer },
  done: () => Promise<void>,
): Promise<void> {
  const record = new Int32Array(OPTIONS.recordWords);
  const answer = new Int32Array(OPTIONS.recordWords);
  let sent = 0;
  let received = 0;
  const turn = (): void => {
    while (rings.into.take(answer)) {
      if (answer[0] !== received || answer[1] !== 2 * received) {
        expectEqual([answer[0], answer[1]], [received, 2 * received], 'an answer');
      }
      received += 1;
    }
    while (sent < count) {
      record[0] = record[1] = sent;
      if (!rings.out.submit(record)) break;
      sent += 1;
    }
    rings.out.ring();
  };
  rings.into.listen(turn);
  turn();
  while (received < count) await done();
  rings.into.close();
}

const THREAD_CASES: readonly Case[] = [
  {
    name: '100,000 records through a thread and back',
    needs: 'threads',
    async run({ runtime }) {
      const { threads } = runtime;
      const shared = threads.share(2 * threads.ringBytes(OPTIONS));
      const thread = threads.spawn({
        entry: 'conformance-echo',
        arguments: {},
        shared: [shared],
        memory: [],
      });
      const rings = ringsOf(threads, shared, 'main');
      await throughThread(100_000, rings, () => sleepOn(runtime, 5));
      rings.out.submit(new Int32Array(OPTIONS.recordWords).fill(STOP));
      rings.out.ring();
      const reason = await thread.ended;
      expectThat(reason.length > 0, 'a reason');
    },
  },
  {
    name: 'a sleeping thread is woken',
    needs: 'threads',
    async run({ runtime }) {
      const { threads } = runtime;
      const shared = threads.share(2 * threads.ringBytes(OPTIONS));
      const thread = threads.spawn({
        entry: 'conformance-echo',
        arguments: {},
        shared: [shared],
        memory: [],
      });
      const { out, into } = ringsOf(threads, shared, 'main');
      const record = new Int32Array(OPTIONS.recordWords);
      for (let i = 0; i < 5; i++) {
        await sleepOn(runtime, 20);
        record[0] = record[1] = i;
        out.submit(record);
        out.ring();
        const deadline = runtime.clock.now() + 10_000;
        while (into.waiting() === 0) {
          expectThat(runtime.clock.now() < deadline, 'an answer in time');
          await into.wait(100);
        }
        expectThat(into.take(record), 'an answer');
        expectEqual(record[1], 2 * i, 'the answer');
      }
      thread.terminate();
      thread.terminate();
      await thread.ended;
    },
  },
  {
    name: 'a thread adopts the memory of its process',
    needs: 'threads',
    async run({ runtime }) {
      const { threads, memory } = runtime;
      const file = memory.create('memrack-test', PAGE);
      const { bytes } = file.map(0, PAGE);
      const shared = threads.share(2 * threads.ringBytes(OPTIONS));
      const thread = threads.spawn({
        entry: 'conformance-writer',
        arguments: { byte: 77 },
        shared: [shared],
        memory: [file.handle],
      });
      const { into } = ringsOf(threads, shared, 'main');
      await until(runtime, () => into.waiting() > 0, 'the thread rings');
      expectEqual([bytes[0], bytes[PAGE - 1]], [77, 77], 'bytes that the thread wrote');
      await thread.ended;
      await threads.pausePoint();
    },
  },
];

const BLOCKING_CASES: readonly Case[] = [
  {
    name: 'a blocked thread goes on when the word has changed, and in time when it has not',
    needs: 'threads',
    async run({ runtime }) {
      const { threads } = runtime;
      const shared = threads.share(64);
      const rings = threads.share(2 * threads.ringBytes(OPTIONS));
      const words = new Int32Array(shared);
      const { into } = ringsOf(threads, rings, 'main');
      const record = new Int32Array(OPTIONS.recordWords);
      const rounds = 200;
      const thread = threads.spawn({
        entry: 'conformance-blocker',
        arguments: { rounds },
        shared: [shared, rings],
        memory: [],
      });
      let asked = 0;
      into.listen(() => {
        while (into.take(record)) {
          asked += 1;
          const answer = (): void => {
            Atomics.store(words, ANSWER, Atomics.load(words, ASK));
            threads.unblock(words, ANSWER);
          };
          // Before it sleeps, and while it does.
          if (asked % 2 === 0) answer();
          else runtime.timers.after(asked % 20 === 1 ? 2 : 0, answer);
        }
      });
      await thread.ended;
      into.close();
      expectEqual(asked, rounds, 'rounds');
      const waitedMs = Atomics.load(words, END);
      expectThat(waitedMs >= 19 && waitedMs < 5_000, `waited ${waitedMs} ms in vain, not 20`);
    },
  },
  {
    name: 'a blocked thread can be ended',
    needs: 'threads',
    async run({ runtime }) {
      const { threads } = runtime;
      const shared = threads.share(64);
      const words = new Int32Array(shared);
      const start = { entry: 'conformance-stuck', arguments: {}, shared: [shared], memory: [] };
      const thread = threads.spawn(start);
      await until(runtime, () => Atomics.load(words, ASK) === 1, 'the thread runs');
      await sleepOn(runtime, 5);
      // Told, but nothing has changed.
      threads.unblock(words, VAIN);
      await sleepOn(runtime, 5);
      expectEqual(Atomics.load(words, END), 0, 'the thread is still blocked');
      thread.terminate();
      await thread.ended;
      expectEqual(Atomics.load(words, END), 0, 'the thread has not gone on');
    },
  },
];

export const THREADS_CASES: readonly Case[] = [...RING_CASES, ...THREAD_CASES, ...BLOCKING_CASES];
