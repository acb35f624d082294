/** The mains of the product, as the simulated world starts them: the same as in real processes. */

import { controllerMain } from '../controller/main.js';
import { hostMain } from '../doors/host.js';
import { memoryNodeMain } from '../memory-node/main.js';
import { SLOW_PATH_THREAD } from '../memory-node/slow/records.js';
import { slowPathThread } from '../memory-node/slow/worker.js';
import { supervisorMain } from '../memory-node/supervisor.js';
import type { RoleMain } from '../runtime/runtime.js';
import type { ThreadMain } from '../runtime/thread-main.js';

export const ROLES: Readonly<Record<string, RoleMain<never>>> = {
  controller: controllerMain,
  supervisor: supervisorMain,
  'memory-node': memoryNodeMain,
  host: hostMain,
};

export const THREADS: Readonly<Record<string, ThreadMain>> = {
  [SLOW_PATH_THREAD]: slowPathThread,
};
