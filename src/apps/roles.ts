/** Every role by name: what a child process of ours may be told to be. */

import { memoryNodeMain } from '../memory-node/main.js';
import { supervisorMain } from '../memory-node/supervisor.js';
import type { RoleTable } from '../runtime/node/run-role.js';
import { controllerWithHttp } from './controller-role.js';
import { hostMain } from './host-role.js';

export const ROLES: RoleTable = {
  controller: controllerWithHttp,
  supervisor: supervisorMain,
  'memory-node': memoryNodeMain,
  host: hostMain,
};
