/** The entry of every worker thread: runs the main that it was started for. */

import { SLOW_PATH_THREAD } from '../memory-node/slow/records.js';
import { slowPathThread } from '../memory-node/slow/worker.js';
import { runThread } from '../runtime/node/run-thread.js';

await runThread({ [SLOW_PATH_THREAD]: slowPathThread });
