/** Roles for tests of processes. */

import { CONFORMANCE_ROLES } from '../../conformance.js';
import type { RoleMain } from '../../runtime.js';
import { runRole } from '../run-role.js';
import { serveDatagramRequests, serveRequests } from './requests.js';
import { RING_ROLES } from './ring-roles.js';

const idle = { address: '', stop: () => Promise.resolve() };

/** Stays until it is ended. */
const sleeper: RoleMain<unknown> = async (runtime, config) => {
  setInterval(() => {}, 1000);
  runtime.processes.ready({ pid: runtime.processes.pid, config });
  return idle;
};

/** Starts a sleeper and tells its process number. */
const parent: RoleMain<unknown> = async (runtime) => {
  const child = runtime.processes.spawn({ role: 'sleeper', config: null });
  runtime.processes.ready(await child.ready);
  return idle;
};

/** Adds one to the first word of a memory file that was handed over. */
const adder: RoleMain<{ handle: number }> = async (runtime, { handle }) => {
  const file = runtime.memory.adopt(handle);
  const { wide } = file.map(0, file.bytes);
  Atomics.add(wide, 0, 1n);
  runtime.processes.ready({ name: file.name, bytes: file.bytes });
  return idle;
};

/** Ends before it is ready. */
const failing: RoleMain<unknown> = async (runtime) => runtime.processes.exit(7);

/** Answers each request of 48 bytes, or of 64 KiB, with as many bytes as it asks for. */
const server: RoleMain<{ address: string }> = async (runtime, config) => {
  if (config.address.startsWith('udp:')) {
    const { address } = await serveDatagramRequests(runtime, config.address);
    runtime.processes.ready(address);
    return { ...idle, address };
  }
  const listener = await serveRequests(runtime, config.address);
  runtime.processes.ready(listener.address);
  return { address: listener.address, stop: () => listener.close() };
};

await runRole(
  { ...CONFORMANCE_ROLES, ...RING_ROLES, sleeper, parent, adder, failing, server },
  { rolesEntry: process.argv[1] ?? '', logLevel: 'error' },
);
