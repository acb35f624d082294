/** Threads for tests. Both rings carry records of four words. */

import { CONFORMANCE_THREADS } from '../../conformance.js';
import type { ThreadMain } from '../../thread-main.js';
import { runThread } from '../run-thread.js';

const options = { records: 64, recordWords: 4 };

/** Sends every record of the first ring back by the second, blocking in between. */
const echo: ThreadMain = async (runtime, { shared }) => {
  const { threads } = runtime;
  const memory = shared[0] as SharedArrayBuffer;
  const requests = threads.consumer(memory, 0, options);
  const replies = threads.producer(memory, threads.ringBytes(options), options);
  const record = new Int32Array(options.recordWords);
  for (;;) {
    await requests.wait(1000);
    while (requests.take(record)) {
      if (record[0] === -1) return;
      replies.submit(record);
    }
    replies.ring();
  }
};

/** The same with an event loop: it listens. */
const listener: ThreadMain = (runtime, { shared }) => {
  const { threads } = runtime;
  const memory = shared[0] as SharedArrayBuffer;
  const requests = threads.consumer(memory, 0, options);
  const replies = threads.producer(memory, threads.ringBytes(options), options);
  const record = new Int32Array(options.recordWords);
  return new Promise((resolve) => {
    requests.listen(() => {
      while (requests.take(record)) {
        if (record[0] === -1) resolve();
        else replies.submit(record);
      }
      replies.ring();
    });
  });
};

const failing: ThreadMain = async () => {
  throw new Error('as planned');
};

/** Adds to a memory file of the process. */
const adder: ThreadMain = async (runtime, { memory }) => {
  const file = runtime.memory.adopt(memory[0] as number);
  const { wide } = file.map(0, file.bytes);
  for (let i = 0; i < 10_000; i++) Atomics.add(wide, 0, 1n);
};

await runThread({ ...CONFORMANCE_THREADS, echo, listener, failing, adder });
