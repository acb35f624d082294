/** The beginning of every worker: finds its `ThreadMain` and runs it to its end. */

import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../../base/assert.js';
import type { ThreadMain } from '../thread-main.js';
import { createRuntime, type NodeRuntimeOptions } from './create-runtime.js';
import type { WorkerData } from './node-threads.js';

/**
 * To be called by the file that `threadsEntry` names. `table` holds every `ThreadMain` of the
 * application by its key. The thread ends when its main is done, whatever it left open.
 */
export async function runThread(table: Readonly<Record<string, ThreadMain>>): Promise<void> {
  const { start, options } = workerData as WorkerData;
  const main = table[start.entry];
  assert(main !== undefined, 'no thread of that name is registered');
  // A thread that only listens to rings has nothing else that keeps it alive.
  parentPort?.on('message', () => {});
  const runtime = createRuntime(options as NodeRuntimeOptions);
  await main(runtime, start);
  process.exit(0);
}
