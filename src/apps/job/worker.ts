/** A client process of the main job. Gets one order over its channel, tells how far it is. */

import { endProcess } from '../../runtime/node/end-process.js';
import { connect } from '../library.js';
import type { WorkerMessage, WorkerOrder } from './messages.js';
import { readFiles } from './read-files.js';
import { writeFiles } from './write-files.js';

const TELL_MS = 100;

function tell(message: WorkerMessage): Promise<void> {
  return new Promise((resolve) => process.send?.(message, () => resolve()));
}

async function run(order: WorkerOrder): Promise<void> {
  let untold = 0;
  const timer = setInterval(() => {
    void tell({ kind: 'moved', bytes: untold });
    untold = 0;
  }, TELL_MS);
  const moved = (bytes: number): void => {
    untold += bytes;
  };
  const rack = await connect(order.url);
  try {
    // All begin together: what is measured is the rack, not how long a process takes to start.
    const go = new Promise((resolve) => process.once('message', resolve));
    await tell({ kind: 'ready' });
    await go;
    const work = order.phase === 'write' ? writeFiles : readFiles;
    const result = await work(rack, order, moved);
    clearInterval(timer);
    await tell({ kind: 'moved', bytes: untold });
    await tell({ kind: 'done', result });
  } finally {
    clearInterval(timer);
    await rack.close();
  }
}

process.on('disconnect', () => endProcess(1));
process.once('message', (order) => {
  run(order as WorkerOrder)
    .catch((error: unknown) => tell({ kind: 'failed', message: String(error) }))
    .finally(() => process.disconnect());
});
