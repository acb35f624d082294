/**
 * Every role by name: what a child process of ours may be told to be. What a role needs is loaded
 * when it begins: a supervisor is small, and a memory node that was killed is back sooner.
 */

import type { RoleMain } from '../runtime/runtime.js';
import type { RoleTable } from '../runtime/node/run-role.js';

/** A main that is loaded when it is called. */
function later(load: () => Promise<RoleMain<never>>): RoleMain<never> {
  return async (runtime, config) => (await load())(runtime, config);
}

export const ROLES: RoleTable = {
  controller: later(async () => (await import('./controller-role.js')).controllerWithHttp),
  supervisor: later(async () => (await import('../memory-node/supervisor.js')).supervisorMain),
  'memory-node': later(async () => (await import('../memory-node/main.js')).memoryNodeMain),
  host: later(async () => (await import('./host-role.js')).hostMain),
};
