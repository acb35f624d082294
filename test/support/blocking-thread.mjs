// A worker thread that uses a space without an event loop. It tells its parent what it has done.
import { parentPort, workerData } from 'node:worker_threads';
import { joinBlocking } from 'memrack';

const { start, job, at, count, stop } = workerData;
const isStopped = () => Atomics.load(new Int32Array(stop), 0) !== 0;
const space = joinBlocking(start);
const tell = (message) => parentPort.postMessage(message);

/** Until an operation is done without the I/O thread; false: not in time. */
function isDirect(forMs = 10_000) {
  const end = performance.now() + forMs;
  const word = new Uint8Array(8);
  while (performance.now() < end) {
    const { doneAlone } = space;
    space.read(at, word);
    if (space.doneAlone > doneAlone) return true;
  }
  return false;
}

const jobs = {
  /** Adds to one word, and swaps another one up, so many times, or until it is stopped. */
  count() {
    let unknown = 0;
    let failures = 0;
    const attempt = (act) => {
      for (;;) {
        try {
          return act();
        } catch (error) {
          if (error.outcome === 'unknown') unknown += 1;
          else failures += 1;
          if (error.outcome === 'unknown') return undefined;
        }
      }
    };
    let rounds = 0;
    for (; rounds < count && !isStopped(); rounds++) {
      attempt(() => space.fetchAndAdd(at, 1n));
      let expected = attempt(() => space.fetchAndAdd(at + 8, 0n));
      while (expected !== undefined) {
        const seen = attempt(() => space.compareAndSwap(at + 8, expected, expected + 1n));
        if (seen === expected) break;
        expected = seen;
      }
      if (rounds % 100 === 0) tell({ done: rounds });
    }
    const { doneAlone, asked } = space;
    tell({ done: rounds, doneAlone, asked, unknown, failures });
  },

  /** Writes for ever; the first word of what it writes counts. */
  hammer() {
    const bytes = new Uint8Array(65536 / 2);
    const words = new BigUint64Array(bytes.buffer);
    isDirect();
    tell('direct');
    for (let i = 1n; ; i++) {
      words[0] = i;
      space.write(at, bytes);
    }
  },
};

jobs[job]();
space.close();
