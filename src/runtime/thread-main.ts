/** What runs in a thread: its own file, because a runtime starts threads and a thread has one. */

import type { Runtime } from './runtime.js';
import type { ThreadStart } from './threads.js';

export type ThreadMain = (runtime: Runtime, start: ThreadStart) => Promise<void>;
